"""What a loss of power costs the journal: nothing that somebody waited for, and nothing later."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import wait_for

from darc.queues import write_behind
from darc.queues.journal import Journal
from darc.queues.messages import Commit, ContentKind, Put, QueueEntry

NAME = "journal.sqlite"


class Disk:
    """A directory whose copy holds what had been brought to the disk, and no more.

    The main file is copied along: SQLite syncs it whenever it has changed it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "written"
        self.directory.mkdir()
        self._on_disk = directory / "on disk"
        self.hold = threading.Event()
        self.syncs = 0

    def sync(self, number: int) -> None:
        os.fsync(number)
        if Path(f"/proc/self/fd/{number}").readlink().parent != self.directory:
            return  # a journal that was found after a cut
        wait_for(lambda: not self.hold.is_set())
        shutil.copytree(self.directory, self._on_disk, dirs_exist_ok=True)
        self.syncs += 1

    def cut_power(self) -> Journal:
        """The journal as it is found afterwards."""
        found = self._on_disk.with_name("found")
        shutil.copytree(self._on_disk, found)
        return Journal(found / NAME)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk(tmp_path)
    monkeypatch.setattr(write_behind.os, "fdatasync", made.sync)
    return made


@pytest.fixture
def journal(disk: Disk) -> Iterator[Journal]:
    made = Journal(disk.directory / NAME)
    yield made
    disk.hold.clear()
    made.close()


def put(journal: Journal, content: bytes) -> None:
    journal.put(Put(("one",), ContentKind.PLAIN, content))


def entries(journal: Journal) -> list[QueueEntry]:
    return journal.take("one", 0, 1000, 2**20)


def contents(journal: Journal) -> list[bytes]:
    return [entry.content for entry in entries(journal)]


def test_what_somebody_waited_for_is_on_the_disk_with_all_before_it(
    journal: Journal, disk: Disk
) -> None:
    holder, _ = journal.attach("one")
    for number in range(20):
        put(journal, b"%d" % number)
    journal.commit("one", holder, 1, Commit(memory={"about to send": 1}))
    journal.flush()
    found = disk.cut_power()
    assert contents(found) == [b"%d" % number for number in range(20)]
    assert found.memory("one", "") == {"about to send": 1}
    found.close()


def test_what_nobody_waits_for_follows_soon(journal: Journal, disk: Disk) -> None:
    journal.flush()
    before = disk.syncs
    put(journal, b"x")
    wait_for(lambda: disk.syncs > before)
    found = disk.cut_power()
    assert contents(found) == [b"x"]
    found.close()


def test_one_sync_serves_all_who_wait(journal: Journal, disk: Disk) -> None:
    journal.flush()
    before = disk.syncs
    disk.hold.set()
    waiting = []
    for number in range(20):
        put(journal, b"%d" % number)
        waiting.append(threading.Thread(target=journal.flush))
        waiting[-1].start()
    disk.hold.clear()
    for thread in waiting:
        thread.join()
    assert disk.syncs - before <= 3
    found = disk.cut_power()
    assert len(contents(found)) == 20
    found.close()


def test_a_number_that_is_given_again_is_of_another_sender(journal: Journal, disk: Disk) -> None:
    """Who keeps the last number of each sender drops nothing, and takes nothing twice."""
    put(journal, b"kept")
    journal.flush()
    disk.hold.set()
    put(journal, b"lost")
    kept, lost = entries(journal)
    assert kept.sender == lost.sender != ""
    found = disk.cut_power()
    disk.hold.clear()
    put(found, b"new")
    (again, new) = entries(found)
    assert (again.id, again.sender) == (kept.id, kept.sender)
    assert new.id == lost.id
    assert new.sender != lost.sender
    found.close()
