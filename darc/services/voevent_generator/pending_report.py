"""A report to the Transient Name Server that is under way: on the disk before it is sent."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from darc.config.records import Struct, convert, replace
from darc.model.event import Event
from darc.model.name_report import LIVE, SANDBOX, NameReport, ReportState
from darc.runtime.clock import Since

log = logging.getLogger(__name__)

#: Prefix of their keys in the memory of the service.
REPORTING = "reporting "
UNREADABLE = "the report that was under way cannot be read, as the log says"


class PendingReport(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A report, the same bytes at each attempt.

    :param observation: of the event, for log lines
    :param url: of the server that was meant
    :param content: JSON
    :param at: when a person asked for it, Unix s
    :param since: when its present part began, to hand it in or to wait for the answer
    :param number: of the report at the TNS; empty: it was not handed in, as far as is known
    """

    event_id: str
    observation: str
    live: bool
    url: str
    internal_name: str
    content: bytes
    at: float
    since: Since
    number: str = ""

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.at, self.since.unix, self.since.seconds))):
            raise ValueError("a time is not finite")

    @property
    def key(self) -> str:
        """Key in the memory: one for each event and server."""
        return _key(self.event_id, live=self.live)

    @property
    def part(self) -> str:
        """Key of its present part, of which an earlier report of the event has none."""
        return f"{self.key} {self.at:.6f} {self.number or 'hand in'}"


def _key(event_id: str, *, live: bool) -> str:
    return f"{REPORTING}{LIVE if live else SANDBOX} {event_id}"


def read_reports(memory: Mapping[str, Any]) -> Iterator[PendingReport]:
    """Yield the reports in a memory.

    What cannot be read is logged, and stays on the disk: a later version may have written it.
    """
    for key, plain in memory.items():
        if key.startswith(REPORTING):
            try:
                yield convert(plain, PendingReport, builtin_types=(bytes,))
            except ValueError as error:
                log.error("not reported, as it cannot be read: %s: %r", key, error)


def agreed(event: Event, pending: Collection[PendingReport]) -> Event:
    """Return an event whose reports are under way where they are, and nowhere else.

    Both may differ where another version has written one of them.
    """
    ours = [one for one in pending if one.event_id == event.id]
    for one in ours:
        if event.report_to(live=one.live) is None:
            state = ReportState.SUBMITTED if one.number else ReportState.WAITING
            origin = one.at, "somebody", one.internal_name, one.number
            event = event.with_report(NameReport(one.live, state, *origin))
    keys = {one.key for one in ours}
    for report in event.reports:
        if report.state.is_under_way and _key(event.id, live=report.live) not in keys:
            ended = replace(report, state=ReportState.UNANSWERED, why=UNREADABLE)
            event = event.with_report(ended)
    return event
