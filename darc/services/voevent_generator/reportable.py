"""Which events can be reported to the Transient Name Server."""

from __future__ import annotations

from datetime import UTC, datetime

from darc.model.event import Event, Tense
from darc.model.name_report import ReportState


def why_not_reported(event: Event, *, live: bool) -> str:
    """Return why an event cannot be reported; empty: it can."""
    trigger = event.trigger
    reasons = {
        f"it is no burst: {event.tense}": event.tense is not Tense.CURRENT,
        "it was retracted": event.is_retracted,
        f"it is of the pulsar {trigger.src_name}: the TNS names bursts": trigger.name == "pulsar",
        "it has no position": trigger.ra is None or trigger.dec is None,
        "its position has no error: the size of the beam is not known": not (
            trigger.semiMaj > 0 and trigger.semiMin > 0
        ),
        _why_not_again(event, live=live): True,
    }
    return next(why for why, holds in reasons.items() if holds)


def _why_not_again(event: Event, *, live: bool) -> str:
    report = event.report_to(live=live)
    if report is None:
        return ""
    when = f"{datetime.fromtimestamp(report.at, UTC):%Y-%m-%d %H:%M:%S} UTC by {report.by}"
    if report.state is ReportState.NAMED:
        return f"it was reported {when}, and is named {report.name}"
    if report.state.is_under_way:
        return f"it was reported {when}, and that is under way"
    return ""
