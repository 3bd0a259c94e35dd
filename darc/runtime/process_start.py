"""Retries of a process that supervisord started and that cannot start working."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

from darc.model.service_state import GAVE_UP

log = logging.getLogger(__name__)

#: Retries, as `startretries` of supervisord.
RETRIES = 3
#: s; half of `startsecs`. supervisord itself retries a process that exits before that age.
YOUNG_SECONDS = 0.5
_TRY = "DARC_START_TRY"


class CannotStartError(Exception):
    """A service cannot start for an external reason; the message says why."""


def has_begun() -> None:
    """Reset the count of tries, for this process and those it starts."""
    os.environ.pop(_TRY, None)


def end_or_try_again() -> NoReturn:
    """End this process, or start it again; called after the reason was logged.

    supervisord counts an early exit as a failed start, retries a few times, and gives up. If
    imports alone take that long, each try would count as a crash of a running process, and be
    restarted for ever. A process of that age therefore retries by itself.
    """
    if "SUPERVISOR_ENABLED" not in os.environ or (_age() or 0.0) < YOUNG_SECONDS:
        sys.exit(1)
    tried = int(os.environ.get(_TRY, "1"))
    if tried > RETRIES:
        log.critical("giving up after %d tries; start it again when the problem is fixed", tried)
        sys.exit(GAVE_UP)
    time.sleep(tried)
    os.environ[_TRY] = str(tried + 1)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def started_at(pid: int) -> float | None:
    """When a process began (Unix s); None: it is gone."""
    age = _age(str(pid))
    return None if age is None else time.time() - age


def _age(pid: str = "self") -> float | None:
    """How long a process has been there, s; what it runs may have been another program."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name of the program, in parentheses, may have blanks. proc_pid_stat(5), starttime.
    fields = text.rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
