"""End of a process by SIGTERM."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

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
