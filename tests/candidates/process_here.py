"""`darc_process` in the process of the tests, with a pool process that stays.

Starting both takes two seconds of processor time, most of it imports. What is made of files is the
same; a test of signals, a terminal, the environment or a relative path needs the program itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from darc.candidates.pool import LocalPool
from darc.cli.process_file import main

RunHere = Callable[..., CompletedProcess[str]]


class _KeptPool(LocalPool):
    """A pool of one process that works for several runs, one after the other."""

    def close(self) -> None:
        if self.free() == 0:  # what a run that failed has left it to do
            super().close()


@pytest.fixture(scope="module")
def kept_pool() -> Iterator[LocalPool]:
    pool = _KeptPool(1)
    yield pool
    LocalPool.close(pool)


@pytest.fixture
def run_here(
    kept_pool: LocalPool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> RunHere:
    """`darc_process` of some words: ``run_here(file, "--output", path, cwd=directory)``."""
    monkeypatch.setattr("darc.candidates.process_one_file.LocalPool", lambda _size: kept_pool)
    monkeypatch.setenv("MPLBACKEND", "Agg")  # it sets that itself, and the test process keeps it

    def run(*words: object, cwd: Path | None = None) -> CompletedProcess[str]:
        command = ["darc_process", *map(str, words)]
        capsys.readouterr()
        with monkeypatch.context() as for_now:
            for_now.setattr(sys, "argv", command)
            if cwd:
                for_now.chdir(cwd)
            try:
                status = main()
            except SystemExit as error:  # wrong usage
                status = int(error.code or 0)
        return CompletedProcess(command, status, *capsys.readouterr())

    return run
