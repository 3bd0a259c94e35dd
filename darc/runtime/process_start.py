"""A process that supervisord started and that cannot begin: it tries again, or gives up."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

from darc.model.service_state import GAVE_UP

log = logging.getLogger(__name__)

#: As supervisord does by `startretries`.
RETRIES = 3
#: s; half of `startsecs`. What ends when it is younger than that is tried again by supervisord.
YOUNG_SECONDS = 0.5
_TRY = "DARC_START_TRY"


class CannotStartError(Exception):
    """Something outside is in the way; the text says what."""


def has_begun() -> None:
    """The next start is a first one; what this process starts is none of its tries."""
    os.environ.pop(_TRY, None)


def end_or_try_again() -> NoReturn:
    """Called where the work cannot begin, and the log says why.

    supervisord takes a process that ended soon for a start that failed, tries it some times more
    and gives up. Where importing alone takes that long, each would be a process that ran and died,
    to be started again for ever. An older process therefore tries again itself.
    """
    if "SUPERVISOR_ENABLED" not in os.environ or (_age() or 0.0) < YOUNG_SECONDS:
        sys.exit(1)
    tried = int(os.environ.get(_TRY, "1"))
    if tried > RETRIES:
        log.critical("gives up after %d tries; start it again when that is mended", tried)
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
