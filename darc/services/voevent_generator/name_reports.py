"""Reports of events to the Transient Name Server, by a person's word alone.

A report is in the memory of the service before it is sent, and until it has a name, was refused, or
was given up. The event keeps what became of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from darc.config.records import replace
from darc.config.typed import to_plain
from darc.delivery.credentials import CredentialsError
from darc.delivery.outbox import DeliveryOutcome, Outbox
from darc.model.event import Event
from darc.model.finding import AlertOrder
from darc.model.name_report import LIVE, SANDBOX, NameReport, ReportState
from darc.model.tns_report import TnsIds, internal_name, make_report
from darc.queues.messages import Commit
from darc.runtime.clock import Since
from darc.runtime.fault_points import fault_point
from darc.runtime.log import about
from darc.services.base.alerts import Alerts
from darc.services.voevent_generator.alert_losses import REPORT_NOT_ANSWERED, REPORT_REFUSED
from darc.services.voevent_generator.composer import Composer
from darc.services.voevent_generator.event_book import EventBook
from darc.services.voevent_generator.pending_report import (
    UNREADABLE,
    PendingReport,
    agreed,
    read_reports,
)
from darc.services.voevent_generator.reportable import why_not_reported
from darc.services.voevent_generator.reporting import Reporter, api_key, not_configured
from darc.services.voevent_generator.settings import VOEventGeneratorSettings
from darc.services.voevent_generator.switches import TNS, WaySwitches

log = logging.getLogger(__name__)

#: Between attempts (s), also between two questions for the answer.
FIRST_DELAY, LONGEST_DELAY = 2.0, 300.0
#: How long the answer to a report is asked for after a start, however late that is (s).
ASK_AT_LEAST = 300.0
DISABLED = "reports are disabled; darc alerts enable tns"
OFF = "sending is disabled"


class NameReports:
    """Reports of a service. The service's loop alone changes them, but for attempts."""

    def __init__(
        self, service: Alerts[VOEventGeneratorSettings], book: EventBook, ways: WaySwitches
    ) -> None:
        self._service = service
        self._book = book
        self._ways = ways
        self._reporter = Reporter(lambda: service.settings.tns, self._why_not)
        self._outbox: Outbox[PendingReport] | None = None  # with a thread, once there is a report
        # Replaced as a whole, as other threads read it.
        self._pending: Mapping[str, PendingReport] = {}  # by key
        self._new: list[PendingReport] = []

    # -- what can be reported ------------------------------------------------------------------

    def refusals(self) -> dict[str, dict[str, str]]:
        """Return why events cannot be reported, by server and event; under "": none can."""
        return {
            server: {"": why} if (why := self._why_none(live=live)) else dict(self._why_each(live))
            for server, live in ((LIVE, True), (SANDBOX, False))
        }

    def _why_each(self, live: bool) -> Iterator[tuple[str, str]]:
        for event in self._book:
            if why := why_not_reported(event, live=live):
                yield event.id, why

    def _why_none(self, *, live: bool) -> str:
        """Return why no event can be reported to a server; empty: nothing is against it."""
        settings = self._service.settings.tns
        if not self._ways.is_on(TNS):
            return DISABLED
        if settings.missing:
            return not_configured(settings)
        if settings.url(live=live) is None:
            only = "voevent_generator.tns.live_url is null: there is the sandbox alone"
            return f"{only} (docs/tns.md)"
        try:
            api_key(str(settings.credentials))
        except CredentialsError as error:
            return str(error)
        return ""

    def _why_not(self, item: PendingReport) -> str:
        """Return why a report may not go on; empty: it may."""
        service = self._service
        if not self._ways.may_leave_by(TNS):
            return DISABLED
        if not service.may_leave:
            return OFF
        if service.settings.tns.url(live=item.live) != item.url:
            return "voevent_generator.tns names another server now"
        event = self._book.find(item.event_id)
        if event is not None and event.is_retracted and not item.number:
            return "the event was retracted"
        return ""

    # -- orders --------------------------------------------------------------------------------

    def ordered(self, order: AlertOrder, event: Event) -> Event:
        """Return an event with the report that a person wants; it leaves by :meth:`begin`.

        :raises ValueError: it cannot be reported; the text says why
        """
        live = order.live
        before = event.report_to(live=live)
        if before is not None and before.state.is_under_way:
            # Said twice, before either was acted upon: what is wanted is done.
            text = "event %s: is being reported to the TNS (%s) already; said again by %s"
            log.warning(text, event.id, before.server, order.by)
            return event
        why = self._why_none(live=live) or why_not_reported(event, live=live)
        if why:
            raise ValueError(f"event {event.id} is not reported to the TNS: {why}")
        item = self._composed(order, event)
        # What was refused may have been sent before, without an answer.
        if before is not None and before.state is not ReportState.WITHDRAWN:
            self._reporter.doubt(item)
        self._new.append(item)
        report = NameReport(live, ReportState.WAITING, order.at, order.by, item.internal_name)
        text = "event %s: to be reported to the TNS (%s), by %s"
        log.warning(text, event.id, report.server, order.by)
        return event.with_report(report)

    def _composed(self, order: AlertOrder, event: Event) -> PendingReport:
        from darc.science.barycentric_arrival import tdb_at_barycentre  # noqa: PLC0415 - erfa

        service, settings = self._service, self._service.settings.tns
        told = Composer(service.config, service.settings).told(event)
        infinite = datetime.fromisoformat(told["trigger_time_inf_freq"]).timestamp()
        place = service.config.instrument.position
        name = internal_name(service.config.instrument.backend, event.id)
        ids = TnsIds(
            settings.reporter or "",
            settings.reporting_group or 0,
            settings.discovery_group or 0,
            settings.instrument or 0,
            settings.filter or 0,
        )
        at_barycentre = tdb_at_barycentre(infinite, told["ra"], told["dec"], place)
        content = make_report(told, ids, name, at_barycentre=at_barycentre)
        about = event.id, event.trigger.observation, order.live
        url = settings.url(live=order.live) or ""
        return PendingReport(*about, url, name, content, order.at, Since.now())

    def to_commit(self) -> dict[str, Any]:
        """Return the memory of new reports, which is to be on the disk before :meth:`begin`."""
        return {item.key: to_plain(item) for item in self._new}

    def begin(self) -> None:
        """Send what was committed."""
        new, self._new = self._new, []
        for item in new:
            self._try(item)

    def _try(self, item: PendingReport, at_least: float = 0.0) -> None:
        """Go on with a report, for as long as it has left, and at least for some time (s)."""
        settings = self._service.settings.tns
        limit = settings.answer_within if item.number else settings.give_up_after
        left = max(limit - item.since.age(), at_least)
        self._pending = {**self._pending, item.key: item}
        if self._outbox is None:
            self._outbox = Outbox(
                "report to the TNS",
                self._attempt,
                first_delay=FIRST_DELAY,
                longest_delay=LONGEST_DELAY,
            )
        with about(item.observation):
            self._outbox.submit(item.part, item, give_up_after=left)

    def _attempt(self, item: PendingReport) -> None:
        self._reporter.attempt(item)
        fault_point("voevent_generator.after reporting")

    def recover(self, memory: Mapping[str, Any]) -> None:
        """Go on with the reports of an earlier process, which may have left."""
        for item in read_reports(memory):
            self._reporter.doubt(item)
            with about(item.observation):
                log.warning("goes on being reported to the TNS: %s", item.event_id)
            # The answer may be there since the service was stopped.
            self._try(item, at_least=ASK_AT_LEAST if item.number else 0.0)
        for event in self._book:
            changed = agreed(event, self._pending.values())
            for report in changed.reports:
                if report.why == UNREADABLE and report not in event.reports:
                    what = f"{event.id} ({report.server})"
                    self._service.lost(REPORT_NOT_ANSWERED, what, report.why)
            if changed != event:
                self._service.commit(Commit(memory=self._book.put(changed)))

    # -- what became of them -------------------------------------------------------------------

    def errors(self) -> dict[tuple[str, bool], str]:
        """Return the errors of the last attempts, by event and whether to the live server."""
        outbox = self._outbox
        errors = {one.key: one.error for one in outbox.waiting} if outbox else {}
        items = self._pending.values()
        return {(item.event_id, item.live): errors.get(item.part, "") for item in items}

    def described(self) -> list[str]:
        """Return the reports that are under way, with the reason."""
        return [
            f"{event} ({LIVE if live else SANDBOX}): {error or 'under way'}"
            for (event, live), error in self.errors().items()
        ]

    def look(self) -> None:
        """Note what became of reports, and withdraw those that may not go on."""
        for outcome in self._outbox.outcomes() if self._outbox else ():
            item = next((one for one in self._pending.values() if one.part == outcome.key), None)
            if item is not None:
                with about(item.observation):
                    self._concluded(item, outcome)
        for item in list(self._pending.values()):
            if why := self._why_not(item):
                self._withdraw(item, why)

    def withdraw(self, why: str) -> None:
        """Go on with no report: what is being tried has an outcome all the same."""
        for item in list(self._pending.values()):
            self._withdraw(item, why)

    def _withdraw(self, item: PendingReport, why: str) -> None:
        if self._outbox is None or not self._outbox.drop(item.part):
            return
        left = self._reporter.may_have_left(item)
        self._reporter.step(item.part)
        with about(item.observation):
            self._end(item, _ended(left=left), why, lost=False)

    def _concluded(self, item: PendingReport, outcome: DeliveryOutcome) -> None:
        left = self._reporter.may_have_left(item)
        kept_back = self._reporter.why_kept_back(item.part)
        step = self._reporter.step(item.part)
        if step is None:
            # It may be enabled again by now.
            why = kept_back or self._why_not(item) or (OFF if outcome.withdrawn else "")
            self._end(item, _ended(left=left), why or outcome.error, lost=not why)
        elif step.state is ReportState.SUBMITTED:
            log.warning("event %s: its report has number %s at the TNS", item.event_id, step.text)
            submitted = replace(item, number=step.text, since=Since.now())
            memory = {submitted.key: to_plain(submitted)}
            self._note(item, memory, state=ReportState.SUBMITTED, number=step.text)
            self._try(submitted)
        else:
            self._end(item, step.state, step.text)

    def _end(
        self, item: PendingReport, state: ReportState, text: str, *, lost: bool = True
    ) -> None:
        """End a report.

        :param text: the name, or why there is none
        :param lost: a report without a name is a loss
        """
        self._pending = {key: one for key, one in self._pending.items() if key != item.key}
        server = LIVE if item.live else SANDBOX
        if state is ReportState.NAMED:
            log.warning("event %s: the TNS (%s) names it %s", item.event_id, server, text)
        else:
            why = f"event %s: its report to the TNS (%s) is {state}: %s"
            log.log(logging.ERROR if lost else logging.WARNING, why, item.event_id, server, text)
        if lost and state is not ReportState.NAMED:
            refused = state is ReportState.REFUSED
            kind = REPORT_REFUSED if refused else REPORT_NOT_ANSWERED
            self._service.lost(kind, f"{item.event_id} ({server})", text)
        said = {"name": text, "why": ""} if state is ReportState.NAMED else {"why": text}
        self._note(item, {item.key: None}, state=state, **said)

    def _note(self, item: PendingReport, memory: dict[str, Any], **changes: Any) -> None:
        """Commit what became of a report, with its event, which may have been forgotten."""
        event = self._book.find(item.event_id)
        report = event.report_to(live=item.live) if event else None
        if event is not None and report is not None:
            memory = memory | self._book.put(event.with_report(replace(report, **changes)))
        self._service.commit(Commit(memory=memory))


def _ended(*, left: bool) -> ReportState:
    return ReportState.UNANSWERED if left else ReportState.WITHDRAWN
