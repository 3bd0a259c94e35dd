"""Where the tests' time goes: processor time by file or directory, with all that they start.

    python tests/cpu_seconds.py tests/node/test_*.py tests/queues

A node outlives the command that starts it, so its time is no child's of the tests: orphans come to
this process, which waits for them.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import time

_PR_SET_CHILD_SUBREAPER = 36
#: For what is left when the tests have ended, s.
_LEFT_SECONDS = 5.0


def measure(target: str) -> tuple[float, float, str]:
    """Processor time and time (s) of a run of pytest, and its summary."""
    before, began = os.times(), time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-n0", target]
    with tempfile.TemporaryFile("w+") as output:
        tests = os.posix_spawn(
            *(sys.executable, command, os.environ),
            file_actions=[(os.POSIX_SPAWN_DUP2, output.fileno(), 1)],
        )
        while _wait(0) != tests:
            pass  # an orphan has ended
        seconds = time.monotonic() - began
        output.seek(0)
        summary = (output.read().strip().splitlines() or [""])[-1]
    deadline = time.monotonic() + _LEFT_SECONDS
    while (ended := _wait(os.WNOHANG)) is not None and time.monotonic() < deadline:
        if not ended:
            time.sleep(0.05)
    after = os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    return used, seconds, summary


def _wait(options: int) -> int | None:
    """Take the next child that has ended: its pid, 0 where all run, None where there is none."""
    try:
        return os.waitpid(-1, options)[0]
    except ChildProcessError:
        return None


def main() -> int:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    print("processor s   s  tests")
    for target in sys.argv[1:]:
        used, seconds, summary = measure(target)
        print(f"{used:11.0f} {seconds:3.0f}  {target}: {summary}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
