"""Commands about announced events and the roads by which they leave.

A retraction is in the journal before its command is answered: it is sent whatever dies meanwhile.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from darc.config.config import Config, Role
from darc.master.service_control import ServiceControl
from darc.model.event import OWED, AlertType, RoadName
from darc.model.finding import MAX_NAME, MAX_REASON, AlertOrder
from darc.model.message import Reply, Request
from darc.model.name_report import LIVE, SANDBOX
from darc.queues.messages import QueueError
from darc.runtime.service_traits import known_traits

log = logging.getLogger(__name__)

#: What has a switch of its own, beside all: the roads, what is sent by itself after a burst, and
#: reports to the Transient Name Server.
SWITCHES = ("vtp", "kafka", "webhook", "file", "chat", "updates", "tns")
DISABLED = "sending is disabled; voevent_enable enables it"
NO_TEST_ROAD = (
    "no test notice leaves: no road that is enabled has an address for tests (docs/alerts.md)"
)
NOT_HERE = "Failed: should run on master node"


class AlertingNode(Protocol):
    """Node that these commands act on."""

    config: Config
    services: ServiceControl


class _RefusedError(Exception):
    """A command is refused; the reply says why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


class AlertCommands:
    """Commands about events."""

    def __init__(self, node: AlertingNode) -> None:
        self._node = node
        self._service = next(name for name, one in known_traits().items() if one.announces)
        commands: dict[str, Callable[[Request], str]] = {
            "alerts_retract": self._retract,
            "alerts_confirm": self._confirm,
            "alerts_report": self._report,
            "alerts_test": self._test,
            "alerts_enable": lambda request: self._switch(request, True),
            "alerts_disable": lambda request: self._switch(request, False),
        }
        self.commands = {name: partial(_replied, command) for name, command in commands.items()}

    def _retract(self, request: Request) -> str:
        event, _, reason = request.attribute.partition(" ")
        if not event or not reason.strip():
            raise _error("alerts_retract needs the id of an event, and the reason")
        return self._order("retract", event, reason, request)

    def _confirm(self, request: Request) -> str:
        event, _, verdict = request.attribute.partition(" ")
        if not event:
            raise _error("alerts_confirm needs the id of an event")
        return self._order("confirm", event, verdict, request)

    def _report(self, request: Request) -> str:
        event, _, server = request.attribute.partition(" ")
        server = server.strip() or SANDBOX
        if not event or server not in (LIVE, SANDBOX):
            needs = f"the id of an event, and for the live server the word {LIVE}"
            raise _error(f"alerts_report needs {needs}")
        self._refuse_where_nothing_leaves()
        self._state_of(event)
        refusals = self._asked("not_reportable")
        here = refusals.get(server, {}) if isinstance(refusals, dict) else {}
        if refused := here.get("") or here.get(event):
            raise _error(f"Event {event} is not reported: {refused}")
        self._put("report", event, "", request, live=server == LIVE)
        where = "live server" if server == LIVE else "sandbox"
        text = f"The report of {event} to the TNS ({where}) is on its way"
        return f"{text}; see: darc alerts show {event}"

    def _test(self, request: Request) -> str:
        self._refuse_where_nothing_leaves()
        if not self._asked("test_roads"):
            raise _failed(NO_TEST_ROAD)
        self._put("test", "", "", request)
        return "A test notice leaves by all roads of tests; see: darc alerts"

    def _order(self, action: str, event: str, reason: str, request: Request) -> str:
        """Hand on what a person says of an event."""
        reason = " ".join(reason.split())
        if len(reason) > MAX_REASON:
            raise _error(f"a reason has up to {MAX_REASON} characters")
        if not reason.isprintable():  # as it is published
            raise _error("a reason has characters that can be printed, and no others")
        what = "retraction" if action == "retract" else "confirmation"
        if self._is_away():
            self._put(action, event, reason, request)
            return (
                f"{self._service} is not running: the {what} of {event} is kept for its start."
                " Whether there is such an event is seen then"
            )
        if action != "retract":
            self._refuse_where_nothing_leaves()
        self._refuse_elsewhere()
        state = self._state_of(event)
        again = action == "retract" and state == OWED
        if state in (AlertType.RETRACTION, OWED) and not again:
            raise _error(f"Event {event} has been retracted: nothing follows that")
        # Asked before: once the order is in the journal, the answer is that it is.
        is_sending = self._asked("send_events") is True
        self._put(action, event, reason, request)
        # What has left is to be taken back; what cannot be now is owed.
        if not is_sending:
            return f"The retraction of {event} is noted, and waits: {DISABLED}"
        return f"The {what} of {event} is on its way; see: darc alerts show {event}"

    def _switch(self, request: Request, wanted: bool) -> str:
        name, able = request.attribute, "enabled" if wanted else "disabled"
        if name not in SWITCHES:
            raise _error(f"No such switch: {name}; there are {', '.join(SWITCHES)}")
        origin = f"by {request.command} from {request.origin}"
        services, switch = self._node.services, f"send_{name}"
        if not wanted and self._is_away():
            done = services.remember_switch(self._service, switch, wanted, origin)
            # A process that has not found this master yet, which is new, has to hear it.
            is_heard = done and services.is_starting(self._service)
            is_heard = is_heard and services.pass_on(self._service, switch, wanted, origin)
            when = "" if is_heard else f" from the next start of {self._service} on"
        else:
            self._refuse_elsewhere()
            done, when = services.switch(self._service, switch, wanted, origin), ""
        if not done:
            raise _failed(f"Failed: {name} could not be {able} for good")
        roads = map(str, self._node.config.section(self._service).road_names)
        if wanted and name in list(RoadName) and name not in roads:
            return f"Alerts: {name} {able}, but it is not one of {self._service}.roads"
        return f"Alerts: {name} {able}{when}"

    # -- the service ---------------------------------------------------------------------------

    def _asked(self, attribute: str) -> Any:
        """Return an attribute of the service."""
        answer = self._node.services.attribute(self._service, attribute)
        if answer.error is not None:
            raise _failed(answer.to_text())
        return answer.value

    def _state_of(self, event: str) -> str:
        states = self._asked("event_states")
        if not isinstance(states, dict) or event not in states:
            raise _error(f"No such event: {event}; darc alerts lists those remembered")
        return str(states[event])

    def _put(
        self, action: str, event: str, reason: str, request: Request, *, live: bool = False
    ) -> None:
        by = (request.origin or "an unknown person")[:MAX_NAME]
        order = AlertOrder(action, event[:MAX_NAME], reason, by, time.time(), live)
        try:
            self._node.services.put(self._service, [order.to_plain()])
        except (QueueError, sqlite3.Error) as error:
            log.error("%s by %s: not on the disk: %s", request.command, by, error)
            text = f"not done, give the command again when this is mended: {error}"
            raise _failed(text) from error

    def _refuse_elsewhere(self) -> None:
        """Refuse where the service does not run."""
        if self._node.config.role is Role.WORKER:
            raise _failed(NOT_HERE)
        if not self._node.services.runs(self._service):
            raise _failed(f"{self._service} is not running")

    def _refuse_where_nothing_leaves(self) -> None:
        """Refuse where nothing can be sent."""
        self._refuse_elsewhere()
        if self._asked("send_events") is not True:
            raise _failed(DISABLED)

    def _is_away(self) -> bool:
        """Whether the service is one of this node, and does not run now."""
        services, role = self._node.services, self._node.config.role
        is_here = self._service in services.names
        return is_here and role is not Role.WORKER and not services.runs(self._service)


def _error(text: str) -> _RefusedError:
    return _RefusedError(Reply.error(text))


def _failed(text: str) -> _RefusedError:
    return _RefusedError(Reply.failed(text))


def _replied(command: Callable[[Request], str], request: Request) -> Reply:
    try:
        return Reply.success(command(request))
    except _RefusedError as refused:
        return refused.reply
