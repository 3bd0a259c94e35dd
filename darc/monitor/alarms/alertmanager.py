"""Alarms as alerts of Prometheus Alertmanagers (API v2): what is open, again and again.

An Alertmanager takes an alert for resolved when it has not heard of it for `resolve_timeout`. So
all that is open is sent anew every `RESEND_SECONDS`, and the end of what is over until each has it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from darc.config import typed
from darc.config.records import Struct, convert, replace
from darc.delivery.harmless_text import harmless
from darc.delivery.outbox import Outbox
from darc.monitor.alarms import alarm_messages as text
from darc.monitor.alarms.alarm_messages import MessageOrigin
from darc.monitor.alarms.alarm_states import OVER, AlarmMessage
from darc.runtime.clock import Instant

#: A fifth of Alertmanager's usual resolve_timeout (s).
RESEND_SECONDS = 60.0
#: Between attempts, which send what is known by then (s).
LONGEST_DELAY = 30.0
PATH = "/api/v2/alerts"
ALERT_NAME = "DarcAlarm"
_KEY = "alerts"
_MAX_LABEL, _MAX_TEXT = 200, 1000  # characters


class Alert(Struct, frozen=True, array_like=True):
    """An alert; its labels are its identity.

    :param starts: Unix s
    :param ends: likewise; None: it is open
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts: float
    ends: float | None = None

    @property
    def identity(self) -> tuple[tuple[str, str], ...]:
        """Its labels, in order."""
        return tuple(sorted(self.labels.items()))

    def to_json(self, page: str | None) -> dict[str, Any]:
        """Return the alert as Alertmanager reads it.

        :param page: URL of the status page; None: there is none
        """
        # A start after the end, or to come, would be refused with all other alerts, whatever the
        # clock of a host says.
        now = time.time()
        starts = min(max(self.starts, 0.0), now)
        made: dict[str, Any] = {
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "startsAt": _time(starts),
        }
        if self.ends is not None:
            made["endsAt"] = _time(max(min(self.ends, now), starts + 0.001))
        if page:
            made["generatorURL"] = page
        return made


def alert_of(message: AlarmMessage, cluster: str) -> Alert:
    """Return the alert of an open alarm."""
    subject = message.alarm.rpartition("/")[0] or message.alarm
    labels = {
        "alertname": ALERT_NAME,
        "alarm": harmless(subject, _MAX_LABEL),
        "cluster": harmless(cluster, _MAX_LABEL),
        "service": harmless(message.service, _MAX_LABEL),
        "severity": "critical" if message.grave else "warning",
    }
    known = [item.text for item in message.items if item.text]
    commands = [item.command for item in message.items if item.command]
    annotations = {
        "summary": text.plain(message.title),
        "description": harmless("; ".join(known), _MAX_TEXT),
        "hosts": text.plain(", ".join(message.hosts)),
        "command": text.plain("; ".join(commands)),
    }
    return Alert(
        {name: value for name, value in labels.items() if value},
        {name: value for name, value in annotations.items() if value},
        message.time if message.since is None else message.since,
    )


class AlertBook:
    """The alerts that are open, and those whose end is not acknowledged yet. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, Alert] = {}  # by the id of the alarm
        self._ended: dict[tuple[tuple[str, str], ...], tuple[int, Alert]] = {}
        #: Increased by each change.
        self.number = 0

    def add(self, message: AlarmMessage, cluster: str) -> None:
        """Take a message about an alarm."""
        with self._lock:
            self.number += 1
            before = self._open.pop(message.alarm, None)
            if message.kind == OVER:
                if before:
                    self._end(before, message.time)
                return
            alert = alert_of(message, cluster)
            # Its start stays the same, so that it is one alert.
            now = replace(alert, starts=before.starts) if before else alert
            self._open[message.alarm] = now
            self._ended.pop(now.identity, None)
            if before and before.identity != now.identity:  # it is more grave than before
                self._end(before, message.time)

    def _end(self, alert: Alert, at: float) -> None:
        if all(one.identity != alert.identity for one in self._open.values()):
            self._ended[alert.identity] = self.number, replace(alert, ends=at)

    def snapshot(self) -> tuple[int, tuple[Alert, ...]]:
        """Return the number of the state, and its alerts."""
        with self._lock:
            ended = (alert for _, alert in self._ended.values())
            return self.number, (*self._open.values(), *ended)

    def acknowledged(self, number: int) -> None:
        """Forget what had ended by a state that all receivers have."""
        with self._lock:
            self._ended = {key: one for key, one in self._ended.items() if one[0] > number}

    def to_plain(self) -> list[Any]:
        """Return the state to save."""
        with self._lock:
            every = [*self._open.items(), *(("", alert) for _, alert in self._ended.values())]
            return [[alarm, *typed.to_plain(one)] for alarm, one in every]

    def recall(self, plain: Sequence[Any]) -> None:
        """Restore a saved state; all of it is sent again."""
        with self._lock:
            self.number += 1
            for alarm, *values in plain:
                one = convert(values, Alert)
                if one.ends is None:
                    self._open[str(alarm)] = one
                else:
                    self._ended[one.identity] = self.number, one


class Alertmanager:
    """An Alertmanager: it is sent the book, in a thread of its own.

    :param on_outcome: called, in that thread, when it has taken it or was given up
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        book: AlertBook,
        page: Callable[[], str | None],
        on_outcome: Callable[[], None],
    ) -> None:
        from darc.delivery import webhook  # noqa: PLC0415 - see alarm_delivery

        self.name = f"Alertmanager at {webhook.host_of(url)}"
        self.timeout = timeout  # s
        self.taken = -1  # number of the state that it has
        self._url = url.rstrip("/") + ("" if url.rstrip("/").endswith(PATH) else PATH)
        self._book = book
        self._page = page
        self._sent: Instant | None = None
        self._outbox: Outbox[None] = Outbox(
            self.name, self._attempt, longest_delay=LONGEST_DELAY, on_outcome=on_outcome
        )

    def _attempt(self, item: None) -> None:
        """Send what is known now."""
        from darc.delivery import webhook  # noqa: PLC0415

        number, alerts = self._book.snapshot()
        page = self._page()
        body = json.dumps([one.to_json(page) for one in alerts]).encode()
        webhook.post_body(self._url, body, self.timeout, what="Alertmanager")
        self.taken, self._sent = number, Instant.now()

    def pump(self, give_up_after: float) -> list[tuple[str, str]]:
        """Send where something is due; return what was given up, and why.

        :param give_up_after: s
        """
        given_up = [
            (f"{self.name}: alarms", one.error)
            for one in self._outbox.outcomes()
            if one.delivered_at is None
        ]
        number, alerts = self._book.snapshot()
        is_due = self._sent is None or self._sent.age() >= RESEND_SECONDS
        if alerts and (is_due or number > self.taken):
            self._outbox.submit(_KEY, None, give_up_after=give_up_after)
        return given_up

    @property
    def error(self) -> str | None:
        """Why it does not have the alarms; empty: they are on their way; None: it has them."""
        waiting = self._outbox.waiting
        return waiting[0].error if waiting else None

    def close(self) -> None:
        """Stop sending."""
        self._outbox.withdraw()
        self._outbox.close()


class Alertmanagers:
    """All of a configuration. For one thread.

    :param on_outcome: see :class:`Alertmanager`
    """

    def __init__(self, on_outcome: Callable[[], None]) -> None:
        self._on_outcome = on_outcome
        #: What they are told.
        self.book = AlertBook()
        self._managers: dict[str, Alertmanager] = {}
        self._origin: Callable[[], MessageOrigin] = lambda: MessageOrigin("", None)

    def configure(
        self, urls: Sequence[str], timeout: float, origin: Callable[[], MessageOrigin]
    ) -> None:
        """Use these from now on; what is open is sent to new ones, too.

        :param timeout: of an attempt, s
        """
        self._origin = origin
        for url in [url for url in self._managers if url not in urls]:
            self._managers.pop(url).close()
        for url in urls:
            if url not in self._managers:
                self._managers[url] = Alertmanager(
                    url, timeout, self.book, lambda: self._origin().page, self._on_outcome
                )
            self._managers[url].timeout = timeout

    def add(self, message: AlarmMessage) -> None:
        """Take a message about an alarm."""
        self.book.add(message, self._origin().cluster)

    def pump(self, give_up_after: float) -> list[tuple[str, str]]:
        """Send what is due; return what was given up, and why."""
        managers = self._managers.values()
        self.book.acknowledged(min((one.taken for one in managers), default=self.book.number))
        return [gone for one in managers for gone in one.pump(give_up_after)]

    def waiting(self) -> list[str]:
        """Return those that do not have the alarms as they are, with the reason."""
        errors = ((one.name, one.error) for one in self._managers.values())
        return [f"{name}: {error or 'under way'}" for name, error in errors if error is not None]

    def close(self) -> None:
        """Stop sending; what is open stays in the memory."""
        for one in self._managers.values():
            one.close()


def _time(unix: float) -> str:
    moment = datetime.fromtimestamp(unix, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
