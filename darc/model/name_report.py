"""A report of a burst to the Transient Name Server (TNS), and what became of it.

::

    waiting ──► submitted ──► named
       │            ├───────► refused (with the reason; it can be reported again)
       ├────────────┴───────► unanswered (the TNS may have it; likewise)
       └────────────────────► withdrawn (it never left)
"""

from __future__ import annotations

import enum

from darc.config.records import Struct

LIVE, SANDBOX = "live", "sandbox"


class ReportState(enum.StrEnum):
    """What became of a report."""

    WAITING = "waiting"  # on the disk; the TNS has not said that it has it
    SUBMITTED = "submitted"
    NAMED = "named"
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    WITHDRAWN = "withdrawn"

    @property
    def is_under_way(self) -> bool:
        return self in (ReportState.WAITING, ReportState.SUBMITTED)


class NameReport(Struct, frozen=True, array_like=True):
    """A report of an event.

    :param live: to the live server; False: to the sandbox, whose names mean nothing
    :param at: when a person asked for it, Unix s
    :param by: who that was
    :param internal_name: under which it was reported
    :param number: of the report at the TNS; empty: it has given none
    :param name: that it gave, as in FRB 20261122A
    :param why: it was refused, or there is no answer
    """

    live: bool
    state: ReportState
    at: float
    by: str
    internal_name: str
    number: str = ""
    name: str = ""
    why: str = ""

    @property
    def server(self) -> str:
        """Which server it goes to."""
        return LIVE if self.live else SANDBOX
