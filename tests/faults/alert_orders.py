"""What people say to a node about bursts while faults strike: orders, tests and switches."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from faults.alert_record import ASKED, RETRACTION, UPDATE, Announced, Arrived, Switched
from faults.alert_roads import AlertRoads
from faults.fault_plan import MEASURE, RELOADING, Fault, Kind
from nodes import Node, patience, wait_for

from darc.model.counters import TriggerOutcome
from darc.model.finding import BurstFinding
from darc.node.command_client import exchange_messages
from darc.node.secret import read_secret
from darc.queues.client import QueueClient
from darc.queues.messages import QueueError

SERVICE = "voevent_generator"
#: For a burst to be there of which something can be said (s).
EVENT_SECONDS = 3.0
ANSWER_SECONDS = 60.0
#: Between two tries of a command (s).
AGAIN_SECONDS = 0.1
ALL = "all"
#: The master, or the service, does not answer now.
UNANSWERED = (OSError, QueueError, ValueError, KeyError, TypeError, SyntaxError)


class AlertOrders:
    """Says it, and remembers what was accepted.

    :param directory: of the notices that the node writes as files
    """

    def __init__(self, node: Node, roads: AlertRoads, directory: Path) -> None:
        self._node, self._roads, self._directory = node, roads, directory
        self._known: set[str] = set()
        self._disabled = 0
        self._now = Announced()
        self._measured = 0

    def begin(self, faults: Sequence[Fault]) -> None:
        """Another observation."""
        self._roads.begin()
        self._known = {event["id"] for event in self._events()}
        self._disabled = self._count_disabled()
        self._now = Announced(
            clock_is_right=all(fault.kind is not Kind.CLOCK_STEP for fault in faults),
            is_reloaded=any(
                fault.kind in RELOADING or "reload" in fault.target for fault in faults
            ),
        )
        self._measured = 0

    def is_done(self) -> bool:
        """Whether no retraction is owed to anybody."""
        return not any(event["owed"] for event in self._new_events())

    def announced(self, events: Callable[[], list[Arrived]]) -> Announced:
        """What was announced since `begin`.

        :param events: returns the VOEvents that came since; those that were acknowledged may be on
            their way still
        """
        found = self._now
        found.events = self._new_events()
        expected = {
            notice["ivorn"].encode()
            for event in found.events
            for notice in event["notices"]
            if notice["roads"].get("vtp") == "acknowledged"
        }

        def have_come() -> bool:
            texts = b"".join(one.content for one in events())
            return all(ivorn in texts for ivorn in expected)

        with contextlib.suppress(AssertionError):  # `problems` says of each that it has not come
            wait_for(have_come, 10.0)
        found.arrived = events() + self._roads.arrived(self._directory)
        found.disabled = self._count_disabled() - self._disabled
        return found

    # -- what is said --------------------------------------------------------------------------

    def say(self, action: str, seed: str) -> None:
        """Retract, confirm or measure a burst, one of those there are."""
        rng = random.Random(seed)
        deadline = time.monotonic() + patience(EVENT_SECONDS)
        while time.monotonic() < deadline:
            with contextlib.suppress(*UNANSWERED):
                event = self._any_event(rng)
                if event and (
                    self._measure(event) if action == MEASURE else self._say(action, event)
                ):
                    return
            time.sleep(AGAIN_SECONDS)

    def _any_event(self, rng: random.Random) -> dict[str, Any] | None:
        events = [
            event
            for event in self._new_events()
            if event["tense"] == "current" and event["state"] != RETRACTION
        ]
        return rng.choice(events) if events else None

    def _say(self, action: str, event: dict[str, Any]) -> bool:
        said = self._now.ordered.setdefault(event["id"], set())
        said.add(ASKED)  # the answer may get lost, and the order not
        command = f"alerts_{action} {event['id']} said by a person"
        if self._reply(command)["status"] != "Success":
            return False
        said.add(RETRACTION if action == "retract" else UPDATE)
        return True

    def _measure(self, event: dict[str, Any]) -> bool:
        """Hand in what another worker's processor has measured."""
        self._measured += 1
        finding = BurstFinding(
            observation=event["trigger"].split("/")[0],
            cb=event["beam"],
            sb=0,
            arrival=event["arrival"],
            dm=event["dm"],
            snr=100.0 * 1.2**self._measured,
            width=event["width"],
            probability=0.9,
            host="arts007",
            identity=event["trigger"],
        )
        address = "127.0.0.1", self._node.config[SERVICE]["server_port"]
        secret = read_secret(self._node.run_dir / "secret")
        said = self._now.ordered.setdefault(event["id"], set())
        with contextlib.closing(QueueClient(address, secret, "arts007", patience(10.0))) as client:
            client.call("put", [finding.to_plain()])
        said.add(UPDATE)
        return True

    def test(self) -> None:
        """Ask for a test notice, if somebody listens."""
        with contextlib.suppress(OSError, ValueError):
            self._reply("alerts_test")

    def switch(self, road: str, duration: float) -> None:
        """Disable a road, or all, for a while (s)."""
        off, on = (
            f"voevent_{what}" if road == ALL else f"alerts_{what} {road}"
            for what in ("disable", "enable")
        )
        self._until_accepted(off)
        begin = time.time()
        time.sleep(duration)
        self._now.switched.append(Switched(road, begin, time.time()))
        self._until_accepted(on)

    def _until_accepted(self, command: str) -> None:
        def accepted() -> bool:
            try:
                return bool(self._reply(command)["status"] == "Success")
            except (OSError, ValueError):
                return False

        wait_for(accepted, ANSWER_SECONDS, f"{command} accepted")

    # -- the node ------------------------------------------------------------------------------

    def _reply(self, command: str) -> dict[str, Any]:
        secret = self._node.run_dir / "secret"
        return exchange_messages(
            "127.0.0.1", self._node.port, {"command": command}, patience(10.0), secret
        )

    def _events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._node.value(SERVICE, "events")
        return found

    def _new_events(self) -> list[dict[str, Any]]:
        return [event for event in self._events() if event["id"] not in self._known]

    def _count_disabled(self) -> int:
        counts: dict[str, int] = self._node.value(SERVICE, "outcomes")
        return counts.get(TriggerOutcome.DISABLED.words, 0)
