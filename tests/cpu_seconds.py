"""Where the tests' time goes: processor time by file or directory, with all that they start.

    python tests/cpu_seconds.py tests/node/test_*.py tests/queues
    python tests/cpu_seconds.py --each tests/queues

A node outlives the command that starts it, so its time is no child's of the tests: orphans come to
this process, which waits for them. With --each, tests follow that took a second or more; what the
tests of a module share counts for the last of them, as its time is known when it has ended.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
#: For what is left when the tests have ended, s.
_LEFT_SECONDS = 5.0
#: The file for what each test took, for the process with the tests.
_EACH = "DARC_CPU_SECONDS"
_SHOWN_SECONDS = 1.0


def measure(target: str, each: Path | None) -> tuple[float, float, str]:
    """Processor time and time (s) of a run of pytest, and its summary.

    :param each: where lines with the time of each test are written
    """
    before, began = os.times(), time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-n0", target]
    environment = dict(os.environ)
    if each:
        command += ["-p", Path(__file__).stem]
        environment |= {_EACH: str(each), "PYTHONPATH": str(Path(__file__).parent)}
    with tempfile.TemporaryFile("w+") as output:
        redirected = [(os.POSIX_SPAWN_DUP2, output.fileno(), 1)]
        tests = os.posix_spawn(sys.executable, command, environment, file_actions=redirected)
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


# -- in the process with the tests, as pytest's plugin ---------------------------------------------


def _used_so_far() -> float:
    """Processor seconds of this process, and of all that has ended: here, or as an orphan."""
    ticks = 0
    for process, first in (("self", 11), (str(os.getppid()), 13)):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[first:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


_noted = [_used_so_far()] if _EACH in os.environ else []


def pytest_runtest_logfinish(nodeid: str) -> None:
    """Note what was used since the test before."""
    if _noted:
        _noted.append(_used_so_far())
        with Path(os.environ[_EACH]).open("a") as file:
            file.write(f"{_noted[-1] - _noted[-2]:.2f} {nodeid}\n")


def main() -> int:
    targets = [word for word in sys.argv[1:] if word != "--each"]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    print("processor s   s  tests")
    with tempfile.TemporaryDirectory() as directory:
        for number, target in enumerate(targets):
            each = Path(directory) / str(number) if "--each" in sys.argv else None
            used, seconds, summary = measure(target, each)
            print(f"{used:11.0f} {seconds:3.0f}  {target}: {summary}", flush=True)
            lines = each.read_text().splitlines() if each and each.exists() else []
            rows = [(float(line.split()[0]), line.partition(" ")[2]) for line in lines]
            for took, name in sorted(rows, reverse=True):
                if took >= _SHOWN_SECONDS:
                    print(f"{took:11.1f}      {name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
