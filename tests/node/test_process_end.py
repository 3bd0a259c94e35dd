"""End of a process by SIGTERM."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from nodes import patience

PROGRAM = """
import threading, time
from darc.runtime.process_end import end_on_sigterm

def last():
    # the interpreter waits for this thread when it shuts down
    while threading.main_thread().is_alive():
        time.sleep(0.001)
    print("ready", flush=True)
    input()

with end_on_sigterm():
    if {ended}:
        threading.Thread(target=last).start()
    else:
        print("ready", flush=True)
        threading.Event().wait()
"""


@pytest.mark.parametrize("ended", [False, True], ids=["at work", "shutting down"])
def test_sigterm_leaves_no_traceback(ended: bool) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(ended=ended)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate("\n", timeout=60)
    assert (process.returncode, errors) == (0, "")


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=patience(20.0),
        check=True,
    )


SWALLOWED = """
import os, signal, threading
from darc.runtime.process_end import end_on_sigterm

class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass

with end_on_sigterm():
    Last()
    print("goes on", flush=True)
    threading.Event().wait()
"""


def test_a_sigterm_in_a_destructor_ends_it_too() -> None:
    """Python drops the exception there."""
    result = run(SWALLOWED)
    assert result.stdout == "goes on\n"
    assert "Exception ignored in" in result.stderr


CLOSES = """
import os, signal, time
from contextlib import suppress
from darc.runtime import process_end

process_end.AGAIN_SECONDS = 0.05

class Open:
    def __enter__(self):
        pass
    def __exit__(self, *error):
        with suppress(OSError):
            time.sleep(0.3)
            raise OSError
        try:
            raise ValueError
        except ValueError:
            time.sleep(0.3)
        print("closed", flush=True)

with process_end.end_on_sigterm():
    try:
        with Open():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
    finally:
        time.sleep(0.3)
        print("ended", flush=True)
"""


def test_what_closes_is_not_interrupted() -> None:
    result = run(CLOSES)
    assert (result.stdout, result.stderr) == ("closed\nended\n", "")
