"""Commands about announced events and the roads by which they leave.

A retraction is in the journal before its command is answered: it is sent whatever dies meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from darc.config.config import Config, Role
from darc.master.service_control import ServiceControl
from darc.model.event import OWED, AlertType
from darc.model.finding import MAX_NAME, MAX_REASON, AlertOrder
from darc.model.message import Reply, Request
from darc.model.name_report import LIVE, SANDBOX
from darc.model.service_state import ServiceState
from darc.runtime.service_traits import known_traits

log = logging.getLogger(__name__)

#: What has a switch of its own, beside all: the roads, what is sent by itself after a burst, and
#: reports to the Transient Name Server.
SWITCHES = ("vtp", "kafka", "webhook", "file", "chat", "updates", "tns")
NOT_HERE = "Failed: should run on master node"


class AlertingNode(Protocol):
    """Node that these commands act on."""

    config: Config
    services: ServiceControl


class AlertCommands:
    """Commands about events."""

    def __init__(self, node: AlertingNode) -> None:
        self._node = node
        self._service = next(name for name, one in known_traits().items() if one.announces)
        self.commands: dict[str, Callable[[Request], Reply]] = {
            "alerts_retract": self._retract,
            "alerts_confirm": self._confirm,
            "alerts_report": self._report,
            "alerts_test": self._test,
            "alerts_enable": lambda request: self._switch(request, True),
            "alerts_disable": lambda request: self._switch(request, False),
        }

    def _retract(self, request: Request) -> Reply:
        event, _, reason = request.attribute.partition(" ")
        if not event or not reason.strip():
            return Reply.error("alerts_retract needs the id of an event, and the reason")
        return self._order("retract", event, reason.strip(), request)

    def _confirm(self, request: Request) -> Reply:
        event, _, verdict = request.attribute.partition(" ")
        if not event:
            return Reply.error("alerts_confirm needs the id of an event")
        return self._order("confirm", event, verdict.strip(), request)

    def _report(self, request: Request) -> Reply:
        event, _, server = request.attribute.partition(" ")
        server = server.strip() or SANDBOX
        if not event or server not in (LIVE, SANDBOX):
            needs = f"the id of an event, and for the live server the word {LIVE}"
            return Reply.error(f"alerts_report needs {needs}")
        if why := self._why_not():
            return Reply.failed(why)
        if why := self._why_unknown(event)[1]:
            return Reply.error(why)
        answer = self._node.services.attributes([self._service], "not_reportable")[self._service]
        if answer.error is not None:
            return Reply.failed(answer.to_text())
        refusals = answer.value.get(server, {}) if isinstance(answer.value, dict) else {}
        if refused := refusals.get("") or refusals.get(event):
            return Reply.error(f"Event {event} is not reported: {refused}")
        self._put("report", event, "", request, live=server == LIVE)
        where = "live server" if server == LIVE else "sandbox"
        text = f"The report of {event} to the TNS ({where}) is on its way"
        return Reply.success(f"{text}; see: darc alerts show {event}")

    def _test(self, request: Request) -> Reply:
        if reason := self._why_not():
            return Reply.failed(reason)
        self._put("test", "", "", request)
        return Reply.success("A test notice leaves by all roads of tests; see: darc alerts")

    def _order(self, action: str, event: str, reason: str, request: Request) -> Reply:
        if why := self._why_not():
            return Reply.failed(why)
        if len(reason) > MAX_REASON:
            return Reply.error(f"a reason has up to {MAX_REASON} characters")
        state, why = self._why_unknown(event)
        if why:
            return Reply.error(why)
        again = action == "retract" and state == OWED
        if state in (AlertType.RETRACTION, OWED) and not again:
            return Reply.error(f"Event {event} has been retracted: nothing follows that")
        self._put(action, event, reason, request)
        what = "retraction" if action == "retract" else "confirmation"
        return Reply.success(f"The {what} of {event} is on its way; see: darc alerts show {event}")

    def _why_unknown(self, event: str) -> tuple[str, str]:
        """Return the state of an event, and why there is none; the second is empty if there is."""
        answer = self._node.services.attributes([self._service], "event_states")[self._service]
        if answer.error is not None:
            return "", answer.to_text()
        states = answer.value if isinstance(answer.value, dict) else {}
        if event not in states:
            return "", f"No such event: {event}; darc alerts lists those remembered"
        return str(states[event]), ""

    def _put(
        self, action: str, event: str, reason: str, request: Request, *, live: bool = False
    ) -> None:
        by = (request.origin or "an unknown person")[:MAX_NAME]
        order = AlertOrder(action, event, reason, by, time.time(), live)
        self._node.services.put(self._service, [order.to_plain()])

    def _why_not(self) -> str:
        """Return why nothing can be sent; empty if it can."""
        services = self._node.services
        if self._node.config.role is Role.WORKER:
            return NOT_HERE
        if not self._runs():
            return f"{self._service} is not running"
        answer = services.attributes([self._service], "send_events")[self._service]
        if answer.error is not None:
            return answer.to_text()
        return "" if answer.value is True else "sending is disabled; voevent_enable enables it"

    def _runs(self) -> bool:
        services = self._node.services
        return (
            self._service in services.names
            and services.states([self._service])[self._service] is ServiceState.RUNNING
        )

    def _switch(self, request: Request, wanted: bool) -> Reply:
        name, able = request.attribute, "enabled" if wanted else "disabled"
        if name not in SWITCHES:
            return Reply.error(f"No such switch: {name}; there are {', '.join(SWITCHES)}")
        if self._node.config.role is Role.WORKER:
            return Reply.failed(NOT_HERE)
        if not self._runs():
            return Reply.failed(f"{self._service} is not running")
        origin = f"by {request.command} from {request.origin}"
        if not self._node.services.switch(self._service, f"send_{name}", wanted, origin):
            return Reply.failed(f"Failed: {name} could not be {able} for good")
        return Reply.success(f"Alerts: {name} {able}")
