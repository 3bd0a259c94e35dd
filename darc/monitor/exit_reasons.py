"""Why a service does not run, in words: how it ended, or what its log said then."""

from __future__ import annotations

import re

from darc.model.overview import ServiceOverview
from darc.monitor.findings import STOPPED, STOPPING, UNRESPONSIVE

#: An error said so long before (s) has to do with a service's end.
RELATED_SECONDS = 30.0
_BY_SIGNAL = "terminated by "
_DATED = re.compile(r"\d{4}-\d\d-\d\d ", re.ASCII)


def why_ended(service: ServiceOverview, ended: float | None, state: str) -> str:
    """Why it does not run; empty where nothing tells.

    :param ended: when it did (Unix s, by the clock of its node)
    :param state: as it is shown
    """
    how = service.how
    if state in (STOPPED, STOPPING) and not how:
        return "" if how is None else "Somebody stopped it."
    if how and how.startswith(_BY_SIGNAL):  # then its log says nothing of it
        signal = how.removeprefix(_BY_SIGNAL)
        whose = " by somebody, or by the kernel, for want of memory" if "KILL" in signal else ""
        return f"It was ended with {signal}{whose}."
    error = service.last_error
    if error is not None and not _is_long_before(error.time, ended):
        return error.text
    if not how or state == UNRESPONSIVE:
        return ""
    last = service.log_end[-1] if service.log_end else ""
    if last and not _DATED.match(last):  # what wrote it is no log
        return f"It ended with {how}; its log ends with: {last}"
    return f"It ended with {how}; its log does not say why."


def _is_long_before(said: float | None, ended: float | None) -> bool:
    return said is not None and ended is not None and ended - said > RELATED_SECONDS
