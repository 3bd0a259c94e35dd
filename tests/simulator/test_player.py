"""The player writes what is due, when it is due, in order; with a clock that the test moves."""

from __future__ import annotations

import math
import os
import threading
from pathlib import Path

import pytest
from nodes import patience

from simulator import player
from simulator.amber_files import format_header
from simulator.player import Player, TimedFile, WrittenLines, read_recorded

SAMPLES = Path(__file__).parents[3] / "shared/data/amber"
HEADER = format_header()


class Clock:
    """Time passes only while the player waits; `seen` is what was in a file at each wait."""

    def __init__(self, path: Path | None = None, wake_after: float = math.inf) -> None:
        self.now = 100.0
        self.seen: list[tuple[float, bytes | None]] = []
        self._path = path
        self._wake_after = wake_after

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        if self._path:
            content = self._path.read_bytes() if self._path.exists() else None
            self.seen.append((round(self.now - 100, 6), content))
        self.now += seconds
        return self.now - 100 > self._wake_after


def timed(name: str, *lines: tuple[float, bytes]) -> TimedFile:
    return TimedFile(name, HEADER, lines)


def test_lines_are_written_when_due(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "a")
    file = timed("a", (1.0, b"one\n"), (1.0, b"two\n"), (3.0, b"three\n"))
    log: list[WrittenLines] = []
    assert Player(tmp_path, [file], monotonic=clock.monotonic, wait=clock.wait, log=log).play()
    assert clock.seen == [(0.0, HEADER), (1.0, HEADER + b"one\ntwo\n")]
    assert (tmp_path / "a").read_bytes() == HEADER + b"one\ntwo\nthree\n"
    assert [(w.due, w.lines, w.end, w.monotonic) for w in log] == [
        (1.0, 2, len(HEADER) + 8, 101.0),
        (3.0, 1, len(HEADER) + 14, 103.0),
    ]


def test_files_are_played_side_by_side(tmp_path: Path) -> None:
    clock = Clock()
    files = [timed("a", (1.0, b"1\n"), (3.0, b"3\n")), timed("b", (2.0, b"2\n"))]
    log: list[WrittenLines] = []
    Player(tmp_path, files, monotonic=clock.monotonic, wait=clock.wait, log=log).play()
    assert [(w.path.name, w.monotonic - 100) for w in log] == [("a", 1), ("b", 2), ("a", 3)]


@pytest.mark.parametrize(("speed", "end"), [(1.0, 8.0), (4.0, 2.0), (math.inf, 0.0)])
def test_speed(tmp_path: Path, speed: float, end: float) -> None:
    clock = Clock()
    file = timed("a", (4.0, b"1\n"), (8.0, b"2\n"))
    Player(tmp_path, [file], speed=speed, monotonic=clock.monotonic, wait=clock.wait).play()
    assert clock.now - 100 == end
    assert (tmp_path / "a").read_bytes() == HEADER + b"1\n2\n"


@pytest.mark.parametrize("speed", [0.0, -1.0, math.nan])
def test_a_speed_that_is_none_is_refused(tmp_path: Path, speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        Player(tmp_path, [], speed=speed)


def test_a_file_can_appear_late(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "a")
    file = timed("a", (1.0, b"1\n"), (9.0, b"9\n"))
    Player(tmp_path, [file], late=5, monotonic=clock.monotonic, wait=clock.wait).play()
    assert clock.seen == [(0.0, None), (5.0, HEADER + b"1\n")]


def test_the_start_can_be_given(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "a")
    file = timed("a", (1.0, b"1\n"))
    Player(tmp_path, [file], monotonic=clock.monotonic, wait=clock.wait).play(start=107.0)
    assert clock.seen == [(0.0, None), (7.0, HEADER)]


def test_half_lines_on_request(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "a")
    file = timed("a", (0.0, b"first\n"), (0.0, b"second\n"))
    log: list[WrittenLines] = []
    Player(
        tmp_path, [file], split_pause=0.5, monotonic=clock.monotonic, wait=clock.wait, log=log
    ).play()
    assert clock.seen == [(0.0, HEADER + b"first\nsec")]
    assert (tmp_path / "a").read_bytes() == HEADER + b"first\nsecond\n"
    assert [w.monotonic for w in log] == [100.5]  # when the line was whole


def test_stop_ends_it_between_groups(tmp_path: Path) -> None:
    clock = Clock(wake_after=2.0)
    file = timed("a", (1.0, b"1\n"), (2.0, b"2\n"), (3.0, b"3\n"))
    assert not Player(tmp_path, [file], monotonic=clock.monotonic, wait=clock.wait).play()
    assert (tmp_path / "a").read_bytes() == HEADER + b"1\n2\n"


def test_an_event_stops_it_even_when_nothing_is_waited_for(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    assert not Player(tmp_path, [timed("a", (1.0, b"1\n"))], speed=math.inf).play(stop)
    assert (tmp_path / "a").read_bytes() == HEADER


def test_an_event_wakes_it(tmp_path: Path) -> None:
    stop = threading.Event()
    done: list[bool] = []
    long = Player(tmp_path, [timed("a", (3600.0, b"1\n"))])
    thread = threading.Thread(target=lambda: done.append(long.play(stop)))
    thread.start()
    stop.set()
    thread.join(patience(20))
    assert done == [False]


def test_what_is_there_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        Player(tmp_path, [timed("a", (0.0, b"1\n"))], speed=math.inf).play()
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_group_is_one_write_to_a_file_opened_for_appending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: dict[int, int] = {}
    written: list[bytes] = []
    real_open, real_write = os.open, os.write

    def spy_open(path: Path, flags: int, mode: int) -> int:
        descriptor = real_open(path, flags, mode)
        opened[descriptor] = flags
        return descriptor

    def spy_write(descriptor: int, data: bytes) -> int:
        if descriptor in opened:
            written.append(data)
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "open", spy_open)
    monkeypatch.setattr(os, "write", spy_write)
    file = timed("a", (1.0, b"1\n"), (1.0, b"2\n"), (2.0, b"3\n"))
    Player(tmp_path, [file], speed=math.inf).play()
    assert [bool(flags & os.O_APPEND) for flags in opened.values()] == [True]
    assert written == [HEADER, b"1\n2\n", b"3\n"]


def test_a_short_write_is_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[:5]))
    Player(tmp_path, [timed("a", (1.0, b"a longer line\n"))], speed=math.inf).play()
    monkeypatch.undo()
    assert (tmp_path / "a").read_bytes() == HEADER + b"a longer line\n"


# Recorded files


def test_a_recorded_file_keeps_its_order(tmp_path: Path) -> None:
    def line(time: str) -> bytes:
        return b"0 0 299 1 2 %s 283 56.6 10 18.4666\n" % time.encode()

    other = b"# time beam_id integration_step DM SNR\n"
    lines = [line("2"), line("5"), line("3"), b"bad\n", line("inf"), line("9"), other,
             b"11 0 1 56.6 20\n", b"12 half a l"]  # fmt: skip
    path = tmp_path / "CB00_step1.trigger"
    path.write_bytes(HEADER + b"".join(lines))
    file = read_recorded(path)
    assert file.header == HEADER
    assert [line for _, line in file.lines] == lines
    assert [due for due, _ in file.lines] == [2, 5, 5, 5, 5, 9, 9, 11, 12]


@pytest.mark.parametrize("content", [b"", b"0 0 1\n"])
def test_a_file_without_header_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "CB00_step1.trigger"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"CB00_step1\.trigger: not a header"):
        read_recorded(path)


def test_the_command_copies_the_sample(tmp_path: Path) -> None:
    if not SAMPLES.exists():
        pytest.skip(f"{SAMPLES} is not here")
    player.main(["--from", str(SAMPLES), "--to", str(tmp_path / "new"), "--speed", "inf"])
    for path in SAMPLES.glob("*.trigger"):
        assert (tmp_path / "new" / path.name).read_bytes() == path.read_bytes()


def test_the_command_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        player.main(["--from", str(tmp_path), "--to", str(tmp_path), "--beam", "3"])
    assert exit_info.value.code == 1
    assert "no CB03_step*.trigger" in capsys.readouterr().err
