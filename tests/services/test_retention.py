"""Files of which there are many: the newest stay."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from nodes import wait_for

from darc.runtime.retention import NewestFiles, remove_unfinished

PATTERN = r"\d{4}-.*\.xml"


def idle() -> bool:
    return all(one.name != "retention" for one in threading.enumerate())


def test_the_oldest_go_and_only_those_that_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for name in ("notes.xml", "1999-01-01.txt", ".1999-01-01.xml"):
        (tmp_path / name).write_text("mine")
    for number in range(2000, 2500):
        (tmp_path / f"{number}-01-01.xml").write_text("")
    files = NewestFiles(PATTERN)
    files.added(tmp_path, 200)  # what was left by processes before
    wait_for(idle)
    assert sorted(path.name[:4] for path in tmp_path.glob("2*.xml")) == [
        str(number) for number in range(2300, 2500)
    ]
    assert "300 files removed from" in caplog.text
    for number in range(2500, 2600):
        (tmp_path / f"{number}-01-01.xml").write_text("")
        files.added(tmp_path, 200)
        wait_for(idle)
        assert len(list(tmp_path.glob("2*.xml"))) <= 200 + 2
    assert (tmp_path / "2599-01-01.xml").exists()
    assert {path.name for path in tmp_path.iterdir() if path.read_text() == "mine"} == {
        *("notes.xml", "1999-01-01.txt", ".1999-01-01.xml")
    }


def test_fewer_than_are_kept_stay(tmp_path: Path) -> None:
    (tmp_path / "2000-01-01.xml").write_text("")
    NewestFiles(PATTERN).added(tmp_path, 5)
    wait_for(idle)
    assert (tmp_path / "2000-01-01.xml").exists()


def test_a_directory_that_cannot_be_read_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    NewestFiles(PATTERN).added(tmp_path / "none", 5)
    wait_for(lambda: "old files cannot be removed: [Errno 2]" in caplog.text)
    remove_unfinished(tmp_path / "none")
