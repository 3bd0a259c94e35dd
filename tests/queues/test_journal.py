"""What the journal holds is there again after any death, once, and goes when it is dealt with."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from nodes import PYTHON

from darc.queues import journal as journal_module
from darc.queues.journal import CLEAR_ENTRIES, Journal
from darc.queues.journal_limit import DiskReserve
from darc.queues.journal_store import MAX_CONTENT_BYTES
from darc.queues.messages import (
    Commit,
    ContentKind,
    FencedError,
    FullError,
    OutOfStepError,
    Put,
    QueueError,
    ReadProgress,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    made = Journal(path)
    yield made
    made.close()


def put(content: bytes, *queues: str, observation: str = "") -> Put:
    return Put(queues, ContentKind.PLAIN, content, observation)


def contents(journal: Journal, queue: str, after: int = 0) -> list[bytes]:
    return [entry.content for entry in journal.take(queue, after, 1000, 2**20)]


def bodies(path: Path) -> int:
    with sqlite3.connect(path) as database:
        return int(database.execute("SELECT count(*) FROM body").fetchone()[0])


def test_entries_survive_reopening(journal: Journal, path: Path) -> None:
    journal.put(Put(("one",), ContentKind.CANDIDATES, b"\x00\xff", "190518009", 12.5))
    journal.close()
    again = Journal(path)
    (entry,) = again.take("one", 0, 10, 1000)
    assert (entry.kind, entry.content) == (ContentKind.CANDIDATES, b"\x00\xff")
    assert (entry.observation, entry.watermark) == ("190518009", 12.5)
    again.close()


def test_what_was_put_survives_the_death_of_its_process(path: Path) -> None:
    code = (
        "import os, pathlib, sys\n"
        "from darc.queues.journal import Journal\n"
        "from darc.queues.messages import ContentKind, Put\n"
        "journal = Journal(pathlib.Path(sys.argv[1]))\n"
        "journal.put(Put(('one',), ContentKind.PLAIN, b'held'))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([PYTHON, "-c", code, str(path)], check=False).returncode == -9
    journal = Journal(path)
    assert contents(journal, "one") == [b"held"]
    journal.close()


def test_entries_stay_until_they_are_completed(journal: Journal) -> None:
    holder, _ = journal.attach("one")
    for content in (b"a", b"b", b"c"):
        journal.put(put(content, "one"))
    assert contents(journal, "one") == contents(journal, "one") == [b"a", b"b", b"c"]
    first = journal.take("one", 0, 1, 1000)[0]
    assert contents(journal, "one", after=first.id) == [b"b", b"c"]
    journal.commit("one", holder, 1, Commit(completed=(first.id,)))
    assert contents(journal, "one") == [b"b", b"c"]


def test_a_take_is_limited_and_never_empty(journal: Journal) -> None:
    for content in (b"a" * 50, b"b" * 50, b"c"):
        journal.put(put(content, "one"))
    assert len(journal.take("one", 0, 2, 1000)) == 2
    assert len(journal.take("one", 0, 10, 100)) == 2
    assert len(journal.take("one", 0, 10, 10)) == 1


def test_a_body_goes_with_its_last_reader(journal: Journal, path: Path) -> None:
    journal.put(put(b"shared", "one", "two"))
    assert bodies(path) == 1
    (entry,) = journal.take("one", 0, 10, 1000)
    for queue, left in (("one", 1), ("one", 1), ("two", 0)):
        holder, _ = journal.attach(queue)
        journal.commit(queue, holder, 1, Commit(completed=(entry.id,)))
        assert bodies(path) == left
    assert journal.depths() == []


def test_nobody_completes_what_is_in_anothers_queue(journal: Journal) -> None:
    journal.put(put(b"mine", "one"))
    (entry,) = journal.take("one", 0, 10, 1000)
    holder, _ = journal.attach("two")
    journal.commit("two", holder, 1, Commit(completed=(entry.id,)))
    assert contents(journal, "one") == [b"mine"]


def test_a_commit_is_done_as_a_whole_or_not_at_all(journal: Journal) -> None:
    holder, _ = journal.attach("one")
    journal.put(put(b"input", "one"))
    (entry,) = journal.take("one", 0, 10, 1000)
    wrong = (
        Commit("o", (entry.id,), (put(b"out", "two"), put(b"x" * (MAX_CONTENT_BYTES + 1), "two"))),
        Commit("o", (entry.id,), (put(b"out", "two"),), (ReadProgress("file", 5, 9),)),
        # a queue named twice breaks a constraint of the database
        Commit("o", (entry.id,), (put(b"out", "two", "two"),), (ReadProgress("file", 0, 9),)),
        Commit("o", (entry.id,), (put(b"out", "two"),), memory={"key": object()}),
    )
    for commit in wrong:
        with pytest.raises((QueueError, sqlite3.Error, TypeError)):
            journal.commit("one", holder, 1, commit)
        assert contents(journal, "one") == [b"input"]
        assert contents(journal, "two") == []
        assert journal.progress("o") == {}
        assert journal.memory("one", "o") == {}
        assert journal.check_holder("one", holder) == 0


def test_a_full_journal_lets_what_is_there_be_completed_and_takes_in_nothing_new(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path / "small", max_bytes=2**18, reserve_bytes=2**17)
    holder, _ = journal.attach("one")
    big = Commit("o", puts=(put(b"x" * 2**16, "two"),))
    taken = 2
    assert journal.commit("one", holder, 1, big)
    assert journal.commit("one", holder, 2, big)
    with pytest.raises(FullError):
        journal.commit("one", holder, 3, Commit(puts=(put(b"x" * 2**18, "two"),)))
    assert len(contents(journal, "two")) == taken  # what failed left nothing behind
    assert not (tmp_path / "small.reserve").exists()
    with pytest.raises(FullError):
        journal.put(put(b"small", "two"))
    # A reader completes, and its outputs find room in the reserve.
    reader, _ = journal.attach("two")
    entries = journal.take("two", 0, 100, 2**30)
    for number, entry in enumerate(entries, 1):
        step = Commit("o", completed=(entry.id,), puts=(put(b"out", "three"),))
        assert journal.commit("two", reader, number, step)
    assert journal.full
    journal.check_room()
    assert not journal.full
    assert (tmp_path / "small.reserve").stat().st_size == 2**17
    assert journal.commit("one", holder, taken + 1, Commit(puts=(put(b"again", "two"),)))


def test_a_disk_without_room_for_the_reserve_takes_in_nothing_until_there_is(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path / "small", max_bytes=2**18, reserve_bytes=2**17)
    with pytest.raises(FullError):
        journal.put(put(b"x" * 2**19, "two"))
    (tmp_path / "small.reserve").mkdir()  # as good as no room for it
    with pytest.raises(OSError, match="small"):
        journal.check_room()
    assert journal.full
    (tmp_path / "small.reserve").rmdir()
    journal.check_room()
    journal.put(put(b"x", "two"))


# -- a full disk -------------------------------------------------------------------------------

MIB = 2**20
RESERVE = 8 * MIB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no small disk: {error}")
    if mounted.returncode != 0:
        pytest.skip(f"no small disk: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(journal: Journal, content_bytes: int = MIB) -> int:
    """Put until nothing more is taken in; returns how many were."""
    count = 0
    with contextlib.suppress(FullError):
        while count < 1000:
            journal.put(put(b"x" * content_bytes, "two"))
            count += 1
    assert journal.full
    return count


def drain(journal: Journal) -> None:
    """Complete everything, with an output each, as a service does."""
    holder, _ = journal.attach("two")
    number = 0
    while entries := journal.take("two", 0, 1, 1):
        number += 1
        step = Commit(completed=(entries[0].id,), puts=(put(b"out", "three"),))
        assert journal.commit("two", holder, number, step)


def looks(journal: Journal, count: int) -> list[bool]:
    """Whether it was full after each of some looks."""
    seen = []
    for _ in range(count):
        journal.check_room()
        seen.append(journal.full)
    return seen


def test_a_disk_that_the_journal_filled_heals_when_the_queues_are_empty(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "darc.queues.journal_limit")
    journal = Journal(small_disk / "journal.sqlite", reserve_bytes=RESERVE)
    reserve = small_disk / "journal.reserve"
    for _ in range(3):
        caplog.clear()
        assert reserve.stat().st_size == RESERVE
        assert fill(journal) > 30
        assert looks(journal, 5) == [True] * 5  # what was given up is no room
        with pytest.raises(FullError):
            journal.put(put(b"small", "two"))
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "two holds most" in caplog.text
        drain(journal)
        journal.clear("three", "")
        assert not any(looks(journal, 10))
        assert [record.message for record in caplog.records[1:]] == ["the journal has room again"]
    journal.put(put(b"x", "two"))
    journal.close()


@pytest.mark.parametrize("can_shrink", [True, False])
def test_free_pages_in_the_file_are_room_while_others_fill_the_disk(
    small_disk: Path, can_shrink: bool
) -> None:
    path = small_disk / "journal.sqlite"
    if not can_shrink:  # made by an earlier version
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.executescript("PRAGMA journal_mode=WAL; CREATE TABLE old (a)")
    journal = Journal(path, reserve_bytes=RESERVE)
    for _ in range(30):
        journal.put(put(b"x" * MIB, "two"))
    with (small_disk / "others").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * MIB)
    held = 30 + fill(journal)
    drain(journal)
    assert looks(journal, 5) == [False] * 5
    # A file that cannot shrink has no reserve now, and does not grow into what is left for it.
    assert (small_disk / "journal.reserve").exists() is can_shrink
    size = path.stat().st_size
    again = fill(journal)
    assert again > (5 if can_shrink else held - 5)
    assert can_shrink or path.stat().st_size == size
    assert looks(journal, 5) == [True] * 5
    drain(journal)
    assert looks(journal, 5) == [False] * 5
    (small_disk / "others").unlink()
    journal.check_room()
    assert (small_disk / "journal.reserve").stat().st_size == RESERVE
    journal.close()


def test_the_reserve_that_was_given_up_is_no_room(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "darc.queues.journal_limit")
    free = 2**17 + 1000
    monkeypatch.setattr(DiskReserve, "disk_free", lambda reserve: free)
    journal = Journal(path, max_bytes=2**18, reserve_bytes=2**17)
    with pytest.raises(FullError):
        journal.put(put(b"x" * 2**18, "two"))
    assert looks(journal, 3) == [True] * 3
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "all queues are empty" in caplog.text
    free = 2**18
    assert looks(journal, 3) == [False] * 3
    journal.close()


def test_a_journal_at_its_limit_has_room_again_well_below_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "darc.queues.journal_limit")
    journal = Journal(tmp_path / "small", max_bytes=4 * MIB, reserve_bytes=2**17)
    count = fill(journal, 2**15)
    assert looks(journal, 3) == [True] * 3
    entries = journal.take("two", 0, 1000, 2**30)
    seen = []
    for entry in entries:
        journal.remove("two", [entry.id])
        seen += looks(journal, 1)
    still_full = seen.index(False)
    assert still_full > count * 0.05
    assert not any(seen[still_full:])
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert f"two holds most, {count} entries with {count / 32:.1f} MiB" in caplog.text
    journal.close()


def test_without_disk_for_the_reserve_a_journal_starts_full(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiskReserve, "take", lambda reserve: False)
    monkeypatch.setattr(DiskReserve, "disk_free", lambda reserve: 0)
    journal = Journal(path, reserve_bytes=2**17)
    assert journal.full
    monkeypatch.undo()
    journal.check_room()
    assert not journal.full
    journal.close()


def test_a_repeated_step_is_ignored(journal: Journal) -> None:
    holder, sequence = journal.attach("one")
    assert sequence == 0
    commit = Commit("o", puts=(put(b"out", "two"),), progress=(ReadProgress("file", 0, 10),))
    assert journal.commit("one", holder, 1, commit)
    assert not journal.commit("one", holder, 1, commit)
    assert contents(journal, "two") == [b"out"]
    for sequence in (0, 3):
        with pytest.raises(OutOfStepError):
            journal.commit("one", holder, sequence, commit)
    assert journal.check_holder("one", holder) == 1


def test_an_earlier_holder_is_fenced_off(journal: Journal) -> None:
    first, _ = journal.attach("one")
    second, sequence = journal.attach("one")
    assert (second, sequence) == (first + 1, 0)
    with pytest.raises(FencedError):
        journal.commit("one", first, 1, Commit(puts=(put(b"late", "two"),)))
    with pytest.raises(FencedError):
        journal.check_holder("one", first)
    with pytest.raises(QueueError):
        journal.commit("never", 1, 1, Commit())
    assert contents(journal, "two") == []
    assert journal.commit("one", second, 1, Commit(puts=(put(b"now", "two"),)))
    assert contents(journal, "two") == [b"now"]


def test_progress_goes_on_where_it_ended(journal: Journal) -> None:
    holder, _ = journal.attach("one")
    journal.commit("one", holder, 1, Commit("o", progress=(ReadProgress("file", 0, 10),)))
    for start, end in ((0, 10), (9, 12), (11, 12)):
        with pytest.raises(OutOfStepError, match="held to 10"):
            journal.commit(
                "one", holder, 2, Commit("o", progress=(ReadProgress("file", start, end),))
            )
    journal.commit("one", holder, 2, Commit("o", progress=(ReadProgress("file", 10, 12),)))
    assert journal.progress("o") == {"file": 12}
    assert journal.progress("another") == {}


def test_memory_is_recalled_until_forgotten(journal: Journal, path: Path) -> None:
    holder, _ = journal.attach("one")
    journal.commit("one", holder, 1, Commit("o", memory={"a": (1, [2]), "b": "x"}))
    journal.commit("one", holder, 2, Commit("o", memory={"b": b"y"}))
    journal.remember("one", "", "switch", True)
    journal.close()
    again = Journal(path)
    assert again.memory("one", "o") == {"a": (1, [2]), "b": b"y"}
    assert again.memory("two", "o") == {}
    again.forget("o")
    assert again.memory("one", "o") == {}
    assert again.memory("one", "") == {"switch": True}
    again.close()


def test_clear_counts_and_spares_the_rest(journal: Journal, path: Path) -> None:
    for _ in range(3):
        journal.put(put(b"x", "one", "two", observation="old"))
    journal.put(put(b"y", "one", observation="new"))
    assert journal.observations() == {"old", "new"}
    assert journal.clear("old", kept=("two",)) == {"one": 3}
    assert journal.clear("old", kept=("two",)) == {}
    assert contents(journal, "one") == [b"y"]
    assert contents(journal, "two") == [b"x"] * 3
    assert journal.clear("old") == {"two": 3}
    assert bodies(path) == 1
    assert journal.observations() == {"new"}


def test_every_observation_of_which_anything_is_kept_is_known(journal: Journal) -> None:
    holder, _ = journal.attach("one")
    journal.commit("one", holder, 1, Commit("memory", memory={"a": 1, "b": 2}))
    journal.commit("one", holder, 2, Commit("progress", progress=(ReadProgress("file", 0, 1),)))
    journal.put(put(b"x", "one", observation="entry"))
    journal.put(put(b"x", "one"))
    assert journal.observations() == {"memory", "progress", "entry", ""}
    for observation in ("memory", "progress"):
        journal.forget(observation)
    assert journal.observations() == {"entry", ""}


def test_what_an_earlier_version_kept_under_a_name_goes_on_under_the_key_of_a_run(
    journal: Journal,
) -> None:
    holder, _ = journal.attach("one")
    told = Commit(
        "190518009",
        puts=(put(b"x", "one", observation="190518009"),),
        progress=(ReadProgress("file", 0, 7),),
        memory={"a": 1},
    )
    journal.commit("one", holder, 1, told)
    journal.adopt("190518009", "190518009#1f")
    assert [entry.observation for entry in journal.take("one", 0, 9, 99)] == ["190518009#1f"]
    assert journal.progress("190518009#1f") == {"file": 7}
    assert journal.memory("one", "190518009#1f") == {"a": 1}
    assert journal.observations() == {"190518009#1f"}


def test_memory_comes_in_pages_and_goes_in_portions(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much there is, no answer and no transaction is too large."""
    holder, _ = journal.attach("one")
    memory = {f"row {number}": "x" * 50 for number in range(2500)}
    journal.commit("one", holder, 1, Commit("o", memory=memory))
    monkeypatch.setattr(journal_module, "PAGE_BYTES", 10_000)
    page = journal.recall("one", "o")
    assert 0 < len(page) < 300
    assert journal.memory("one", "o") == memory
    assert journal.memories("o") == {"one": memory}
    monkeypatch.setattr(journal_module, "CLEAR_ROWS", 100)
    pauses: list[float] = []
    monkeypatch.setattr(journal_module.time, "sleep", pauses.append)
    journal.forget("o")
    assert len(pauses) > 25
    assert journal.memory("one", "o") == {}


def test_others_get_in_between_while_a_backlog_is_cleared(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2 * CLEAR_ENTRIES + 1):
        journal.put(put(b"x", "one", observation="old"))
    left: list[int] = []

    def look(_seconds: float) -> None:
        left.append(sum(depth.entries for depth in journal.depths()))

    monkeypatch.setattr(journal_module.time, "sleep", look)
    assert journal.clear("old") == {"one": 2 * CLEAR_ENTRIES + 1}
    assert left == [CLEAR_ENTRIES + 1, 1, 0]
    left.clear()
    monkeypatch.setattr(journal_module, "CLEAR_BYTES", 100)
    for _ in range(4):
        journal.put(put(b"x" * 60, "one", observation="old"))
    assert journal.clear("old") == {"one": 4}
    assert left == [2, 0]


def test_a_cursor_never_meets_a_number_twice(journal: Journal, path: Path) -> None:
    journal.put(put(b"first", "one"))
    (entry,) = journal.take("one", 0, 10, 1000)
    journal.remove("one", [entry.id])
    journal.close()
    again = Journal(path)
    again.put(put(b"second", "one"))
    assert contents(again, "one", after=entry.id) == [b"second"]
    again.close()


def test_what_could_not_come_out_does_not_go_in(journal: Journal) -> None:
    with pytest.raises(QueueError, match="limit"):
        journal.put(put(b"x" * (MAX_CONTENT_BYTES + 1), "one"))
    journal.put(put(b"x" * MAX_CONTENT_BYTES, "one"))
    assert journal.depths()[0].content_bytes == MAX_CONTENT_BYTES


QUEUES = ("one", "two")


class JournalModel(RuleBasedStateMachine):
    """The journal against lists in memory, through reopenings."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile  # noqa: PLC0415

        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "journal.sqlite"
        self.journal = Journal(self.path)
        self.queues: dict[str, list[bytes]] = {queue: [] for queue in QUEUES}
        self.holders = {queue: self.journal.attach(queue)[0] for queue in QUEUES}
        self.sequences = dict.fromkeys(QUEUES, 0)
        self.count = 0

    def teardown(self) -> None:
        self.journal.close()
        self.directory.cleanup()

    def new(self, size: int) -> bytes:
        self.count += 1
        return b"%d" % self.count + b"x" * size

    @rule(
        queue=st.sampled_from(QUEUES),
        done=st.sets(st.integers(0, 5)),
        outputs=st.lists(st.sets(st.sampled_from(QUEUES), min_size=1), max_size=3),
        again=st.booleans(),
    )
    def commit(self, queue: str, done: set[int], outputs: list[set[str]], again: bool) -> None:
        entries = self.journal.take(queue, 0, 100, 2**20)
        completed = [entries[index] for index in done if index < len(entries)]
        puts = [put(self.new(3), *sorted(names)) for names in outputs]
        commit = Commit("", tuple(entry.id for entry in completed), tuple(puts))
        self.sequences[queue] += 1
        where = (queue, self.holders[queue], self.sequences[queue], commit)
        assert self.journal.commit(*where)
        if again:
            assert not self.journal.commit(*where)
        for entry in completed:
            self.queues[queue].remove(entry.content)
        for one in puts:
            for name in one.queues:
                self.queues[name].append(one.content)

    @rule(queue=st.sampled_from(QUEUES))
    def replace_holder(self, queue: str) -> None:
        old = self.holders[queue]
        self.holders[queue], self.sequences[queue] = self.journal.attach(queue)
        with pytest.raises(FencedError):
            self.journal.commit(queue, old, 1, Commit(puts=(put(b"never", *QUEUES),)))

    @rule()
    def reopen(self) -> None:
        self.journal.close()
        self.journal = Journal(self.path)

    @precondition(lambda self: any(self.queues.values()))
    @rule(queue=st.sampled_from(QUEUES))
    def clear(self, queue: str) -> None:
        held = len(self.queues[queue])
        dropped = self.journal.clear("", kept=[one for one in QUEUES if one != queue])
        assert dropped == ({queue: held} if held else {})
        self.queues[queue].clear()

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        for queue in QUEUES:
            assert contents(self.journal, queue) == self.queues[queue]
        depths = {
            depth.queue: (depth.entries, depth.content_bytes) for depth in self.journal.depths()
        }
        assert depths == {
            name: (len(held), sum(map(len, held))) for name, held in self.queues.items() if held
        }
        assert bodies(self.path) == len({body for held in self.queues.values() for body in held})


JournalModel.TestCase.settings = settings(
    max_examples=25, stateful_step_count=15, deadline=None, database=None
)
TestJournalAgainstModel = JournalModel.TestCase
