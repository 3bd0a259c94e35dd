"""Reason why a service does not run: how it exited, or what its log says."""

from __future__ import annotations

import re

from darc.model.overview import ServiceOverview
from darc.monitor.findings import STOPPED, STOPPING, UNRESPONSIVE

#: An error logged at most so long (s) before the exit is related to it.
RELATED_SECONDS = 30.0
_BY_SIGNAL = "terminated by "
_DATED = re.compile(r"\d{4}-\d\d-\d\d ", re.ASCII)


def why_ended(service: ServiceOverview, ended: float | None, state: str) -> str:
    """Return why a service does not run; empty if unknown.

    :param ended: when it exited (Unix s, by the clock of its node)
    :param state: as shown
    """
    how = service.how
    if state in (STOPPED, STOPPING) and not how:
        return "" if how is None else "Somebody stopped it."
    if how and how.startswith(_BY_SIGNAL):  # its log then contains no reason
        signal = how.removeprefix(_BY_SIGNAL)
        whose = " by somebody, or by the kernel, for want of memory" if "KILL" in signal else ""
        return f"It was ended with {signal}{whose}."
    error = service.last_error
    if error is not None and not _is_long_before(error.time, ended):
        return error.text
    if not how or state == UNRESPONSIVE:
        return ""
    last = service.log_end[-1] if service.log_end else ""
    if last and not _DATED.match(last):  # not a line of a log
        return f"It ended with {how}; its log ends with: {last}"
    return f"It ended with {how}; its log does not say why."


def _is_long_before(said: float | None, ended: float | None) -> bool:
    return said is not None and ended is not None and ended - said > RELATED_SECONDS
