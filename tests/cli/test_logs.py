"""``darc logs``: what it reads, and that it follows without losing or doubling a line."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodes import SCRIPTS, Node, patience
from supervisor.loggers import RotatingFileHandler

from darc.cli import log_files
from darc.cli.log_files import (
    GAP,
    FollowedLog,
    file_size,
    lines_backwards,
    lines_forwards,
    open_files,
)
from darc.cli.log_records import head_of, parse_since, records, records_backwards
from darc.runtime.log import JsonFormatter

HOST = "loghost"
LINE = "2026-11-22 01:{minute:02d}:{second:02d}.{ms:03d} {level} {service}: {text}"


class Home:
    """A home with logs of services that do not run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "log").mkdir(parents=True)
        self.environment = {**os.environ, "DARC_HOME": str(path), "DARC_HOSTNAME": HOST}
        self.environment.pop("DARC_CONFIG", None)

    def log(self, service: str) -> Path:
        return self.path / "log" / f"{service}.{HOST}.log"

    def write(self, service: str, *texts: tuple[int, str], number: int = 0) -> None:
        """Entries, each with its second; number: of a rotated file."""
        path = self.log(service)
        path = path.with_name(f"{path.name}.{number}") if number else path
        with path.open("a") as file:
            for second, text in texts:
                at = {"minute": second // 60, "second": second % 60, "ms": 0}
                file.write(LINE.format(level="INFO", service=service, text=text, **at) + "\n")

    def logs(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(SCRIPTS / "darc"), "logs", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=patience(60),
            check=False,
        )

    def texts(self, *words: str) -> list[str]:
        result = self.logs(*words)
        assert result.returncode == 0, result.stderr
        return [line.split(": ", 1)[-1] for line in result.stdout.splitlines()]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def follow(home: Home) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start to follow: the program, which is gone afterwards."""
    started = []

    def start(*words: str) -> subprocess.Popen[str]:
        program = subprocess.Popen(
            [str(SCRIPTS / "darc"), "logs", *words],
            env=home.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        return program

    yield start
    for program in started:
        if program.poll() is None:
            program.kill()
        program.communicate()


def test_rotated_files_are_read_and_services_merged_in_the_order_of_time(home: Home) -> None:
    home.write("processor", (1, "a"), (4, "d"), number=2)
    home.write("processor", (5, "e"), number=1)
    home.write("processor", (8, "h"))
    home.write("dada_trigger", (2, "b"), (3, "c"), (7, "g"), number=1)
    home.write("dada_trigger", (6, "f"))  # its clock went back
    everything = home.texts("all", "-n", "all")
    assert sorted(everything) == list("abcdefgh")
    assert [text for text in everything if text in "bcgf"] == list("bcgf")
    assert home.texts("processor", "-n", "3") == list("deh")
    assert home.texts("processor", "--since", "2026-11-22T01:00:05") == list("eh")
    assert home.texts("processor", "--since", "2026-11-22T02:00:05+01:00", "-n", "1") == ["h"]
    assert home.texts("processor", "dada_trigger", "-n", "all", "--grep", "B") == ["b"]
    assert home.texts("processor", "--since", "1h") == []


def test_a_service_that_does_not_exist_is_refused_with_those_that_do(home: Home) -> None:
    result = home.logs("procesor")
    assert result.returncode == 1
    assert result.stdout == ""
    assert "no service procesor on loghost; there are: " in result.stderr
    assert "processor, " in result.stderr
    assert "Traceback" not in result.stderr
    assert home.logs("all", "--since", "yesterday").returncode == 2
    assert home.logs("all", "-n", "-4").returncode == 2
    result = home.logs("all", "--host", "nobody")
    assert (result.returncode, "nobody" in result.stderr) == (1, True)


def test_nothing_reaches_the_terminal_that_it_would_obey(home: Home) -> None:
    raw = b"\x1b[2Jgone\x07\r\x9b31m\xff\n"
    home.log("processor").write_bytes(b"2026-11-22 01:00:00.000 INFO processor: \x1b]0;x\n" + raw)
    result = home.logs("processor")
    assert result.returncode == 0
    assert all(letter.isprintable() or letter == "\n" for letter in result.stdout)
    assert r"processor: \x1b]0;x" in result.stdout
    assert r"\x1b[2Jgone\x07" in result.stdout


def test_both_forms_of_lines_and_what_belongs_to_them(home: Home) -> None:
    formatter = JsonFormatter("dada_trigger")
    try:
        raise ValueError("broken\x1b[m")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "why", (), sys.exc_info())
    record.created = datetime(2026, 11, 22, 1, 0, 2, 250_000, UTC).timestamp()
    home.log("dada_trigger").write_text(formatter.format(record) + "\n")
    home.write("processor", (1, "first"), (3, "last"))
    with home.log("processor").open("a") as file:
        file.write("    of the last\n")
    lines = home.logs("all").stdout.splitlines()
    assert lines[0].endswith("processor: first")
    assert lines[1] == "2026-11-22 01:00:02.250 ERROR dada_trigger: why"
    assert lines[2].startswith("    Traceback")
    assert lines[-3].endswith(r"ValueError: broken\x1b[m")
    assert lines[-2:] == ["2026-11-22 01:00:03.000 INFO processor: last", "    of the last"]
    assert home.logs("all", "-n", "1").stdout.splitlines() == lines[-2:]
    assert home.logs("all", "--grep", "the LAST").stdout.splitlines() == lines[-2:]


def test_head_ends_it_quietly(home: Home) -> None:
    home.write("processor", *((number % 3600, "x" * 200) for number in range(5000)))
    words = f"{SCRIPTS / 'darc'} logs processor -n all"
    for tail in ("", " -f"):
        result = subprocess.run(
            ["bash", "-c", f"{words}{tail} | head -2; exit ${{PIPESTATUS[0]}}"],
            env=home.environment,
            capture_output=True,
            text=True,
            timeout=patience(60),
            check=False,
        )
        assert (len(result.stdout.splitlines()), result.stderr) == (2, "")
        assert result.returncode in (0, 141)


def write_rotated(path: Path, n: int, backups: int, seed: int) -> None:
    """What supervisord does with a service's output, in pieces that are cut anywhere."""
    handler = RotatingFileHandler(str(path), maxBytes=3000, backupCount=backups)
    text = "".join(
        LINE.format(minute=0, second=0, ms=0, level="INFO", service="processor", text=number) + "\n"
        for number in range(n)
    ).encode()
    choice = random.Random(seed)
    while text:
        length = choice.randint(1, 400)
        handler.stream.write(text[:length])
        handler.stream.flush()
        handler.doRollover()
        text = text[length:]
        if choice.random() < 0.05:
            time.sleep(0.01)
    handler.close()


def numbers(lines: list[str]) -> list[int]:
    return [int(line.rsplit(": ", 1)[1]) for line in lines]


def test_following_across_rotation_loses_and_doubles_nothing(
    home: Home, follow: Callable[..., subprocess.Popen[str]]
) -> None:
    home.write("processor", (0, "-1"))
    program = follow("processor", "-f")
    assert program.stdout
    assert program.stdout.readline().endswith(": -1\n")
    # The last of the old file, whatever of it has been read already.
    write_rotated(home.log("processor"), 1500, 1000, seed=1)
    home.write("processor", (1, "1500"))
    seen = [program.stdout.readline() for _ in range(1501)]
    assert numbers(seen) == list(range(1501))
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=patience(30))
    assert (program.returncode, out, err) == (130, "", "")


def test_following_several_that_come_and_a_log_that_is_not_there_yet(
    home: Home, follow: Callable[..., subprocess.Popen[str]]
) -> None:
    home.write("dada_trigger", (0, "old"), (1, "last"))
    program = follow("all", "-f", "-n", "1", "--grep", "a")
    assert program.stdout
    assert program.stdout.readline().endswith("dada_trigger: last\n")
    home.write("processor", (2, "not this"), (3, "that"))
    with home.log("processor").open("a") as file:
        file.write("    below that\n2026-11-22 01:00:04.000 INFO processor: h")
        file.flush()
        assert program.stdout.readline().endswith("processor: that\n")
        assert program.stdout.readline() == "    below that\n"
        file.write("alf\n")
    assert program.stdout.readline().endswith("processor: half\n")


def test_a_log_that_is_emptied_or_removed_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("a\nb\n")
    (tmp_path / "x.log.1").write_text("before\n")
    files = open_files(path)
    followed = FollowedLog(path, files, file_size(files[0]))
    assert followed.read() == []
    os.truncate(path, 0)
    with path.open("a") as file:
        file.write("c\n")
    assert followed.read() == [b"c"]
    path.unlink()
    path.write_text("d\n")
    assert followed.read() == [b"d"]  # and nothing of x.log.1 again
    followed.close()
    files[1].close()


def test_the_last_line_before_a_rotation_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "x.log"

    class RotatedMeanwhile(FollowedLog):
        """Between reading to the end and the look at the name."""

        def _is_current(self) -> bool:
            if not (tmp_path / "x.log.1").exists():
                with path.open("a") as file:
                    file.write("last, ha")
                path.rename(tmp_path / "x.log.1")
                path.write_text("lf\nfirst\n")
            return super()._is_current()

    path.write_text("a\n")
    followed = RotatedMeanwhile(path, open_files(path), 0)
    assert followed.read() == [b"a", b"last, half", b"first"]
    followed.close()


def test_what_was_rotated_away_unread_is_said_to_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("a\n")
    files = open_files(path)
    followed = FollowedLog(path, files, file_size(files[0]))
    for text in "bcd":
        for number in (1, 0):
            older = tmp_path / (f"x.log.{number}" if number else "x.log")
            if older.exists():
                older.rename(tmp_path / f"x.log.{number + 1}")
        path.write_text(f"{text}\n")
    (tmp_path / "x.log.2").unlink()
    assert followed.read() == [b"", GAP, b"c", b"d"]
    followed.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(max_size=300), max_size=5),
    st.integers(1, 64),
)
def test_both_directions_give_the_same_lines(parts: list[bytes], block: int) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_files, "BLOCK", block)
        path = Path(directory) / "x.log"
        for number, part in enumerate(parts):
            place = path.with_name(f"x.log.{number}") if number else path
            place.write_bytes(part)
        files = open_files(path)
        size = file_size(files[0]) if files else 0
        text = b"".join(reversed(parts))
        expected = text.removesuffix(b"\n").split(b"\n") if text else []
        assert list(lines_forwards(files, size)) == expected
        assert list(lines_backwards(files, size))[::-1] == expected
        there = list(records(expected, "x"))
        back = list(records_backwards(expected[::-1], "x"))[::-1]
        assert there == back
        for file in files:
            file.close()


@given(st.text())
def test_any_line_is_understood_or_not(text: str) -> None:
    for line in (text, "{" + text, f'{{"time": "{text}"}}', f"2026-11-22 01:00:00.000 INFO {text}"):
        head = head_of(line)
        assert head is None or isinstance(head[0], float)


@given(st.text())
def test_any_moment_is_understood_or_refused(text: str) -> None:
    try:
        moment: float | None = parse_since(text, 1e9)
    except ValueError:
        moment = None
    assert moment is None or isinstance(moment, float)


def test_moments() -> None:
    assert parse_since("10m", 1000.0) == 400.0
    assert parse_since("1.5h", 10_000.0) == 4600.0
    known = datetime(2026, 11, 22, 1, 13, 22, tzinfo=UTC).timestamp()
    assert parse_since("2026-11-22T01:13:22", 0.0) == known
    assert parse_since("2026-11-22 01:13:22Z", 0.0) == known


RUNNING_SERVICES = ("lofar_trigger", "processor")


def test_the_logs_of_a_real_node(running_node: Node) -> None:
    logged = running_node.run("darc", "logs", "all", "-n", "all")
    assert logged.returncode == 0
    for service in running_node.states():
        assert f" {service}: " in logged.stdout
    assert " INFO spawned: 'darc_master'" in logged.stdout
    said = [line[:23].replace(",", ".") for line in logged.stdout.splitlines() if line[:2] == "20"]
    times = [datetime.fromisoformat(text) for text in said]
    # Of two threads one may have looked at the clock before the other, and be written after it.
    assert all(later > earlier - timedelta(seconds=1) for earlier, later in pairwise(times))
