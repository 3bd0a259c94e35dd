"""What the darc command carries, typed many times a night."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from nodes import free_port, patience

#: Runs a command, and prints what that imported beside what it cannot do without.
IMPORTED = """
import argparse, json, socket, sys
before = set(sys.modules)
from darc.control import main
assert main(sys.argv[1:]) == 1
print("imported:", *sorted(name for name in set(sys.modules) - before if name[:4] != "darc"))
"""


#: Each costs a command a tenth of its time, or more.
COSTLY = {"typing", "dataclasses", "shutil", "encodings.idna", "enum", "inspect", "logging"}
COSTLY |= {"subprocess", "tempfile", "threading", "http", "email", "ssl", "asyncio", "yaml"}


def environment(home: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "DARC_HOME": str(home), "DARC_HOSTNAME": "here", **more}


def test_a_command_imports_argparse_json_and_socket(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-P", "-c", IMPORTED, "--port", str(free_port()), "lofar_status"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
        timeout=patience(20.0),
    )
    assert result.stdout.startswith("Failed to connect to DARC master")
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("imported:")]
    assert not COSTLY & set(line.split())


def run(home: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "darc.control", *words],
        env=environment(home, **more),
        capture_output=True,
        text=True,
        check=False,
        timeout=patience(20.0),
    )


def test_its_quick_end_keeps_status_and_output(tmp_path: Path) -> None:
    result = run(tmp_path, "--port", str(free_port()), "lofar_status")
    assert result.returncode == 1
    assert result.stdout.startswith("Failed to connect to DARC master")
    assert result.stderr == ""


def test_the_help_is_as_wide_as_the_terminal(tmp_path: Path) -> None:
    narrow = run(tmp_path, "--help", COLUMNS="60").stdout
    wide = run(tmp_path, "--help", COLUMNS="200").stdout
    other = run(tmp_path, "--help", COLUMNS="0").stdout
    usage = [text.partition("\n\n")[0].splitlines() for text in (narrow, wide, other)]
    assert max(map(len, usage[0])) <= 58
    assert 80 < max(map(len, usage[1])) <= 198
    assert max(map(len, usage[2])) <= 78
