"""The alarm manager: finds alarms and sends notifications, in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from darc.config.config import Config, Role
from darc.config.config_layers import expand_hosts
from darc.config.records import Struct, replace
from darc.monitor.alarms.alarm_delivery import AlarmDeliveries, receivers
from darc.monitor.alarms.alarm_messages import MessageOrigin
from darc.monitor.alarms.alarm_rules import select_alarms, stopped_on_purpose
from darc.monitor.alarms.alarm_states import AlarmStates
from darc.monitor.page.publisher import Publisher
from darc.runtime.clock import Since

log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
#: A larger difference between the time of day and the time elapsed means that it was set (s).
SET_SECONDS = 2.0


class AlarmSnapshot(Struct, frozen=True):
    """Memory to be committed, and its number."""

    number: int
    memory: dict[str, Any]


class AlarmManager:
    """Alarms of a cluster; its service commits what has to survive a restart.

    :param source: called in each round, as a reload replaces the source
    """

    def __init__(self, config: Config, source: Callable[[], Publisher]) -> None:
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._source = source
        self._deliveries = AlarmDeliveries(self._woken.set)
        self._states = AlarmStates(config.alarms)
        self._stopped_nodes: set[str] = set()
        self._said = ""
        self._given_up: list[tuple[str, str]] = []
        self._last_check: Since | None = None
        self._number = self._remembered = 0
        self._configure(config)
        self._plain = self._to_plain()
        self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)

    def start(self, memory: Mapping[str, Any]) -> None:
        """Start the thread.

        :param memory: content of the last snapshot committed; empty: none
        """
        with self._lock:
            if memory:
                self._recall(memory)
            self._plain = self._to_plain()
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and the deliveries; queued messages stay in the memory."""
        self._stopped.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)
        self._deliveries.close()

    def reconfigure(self, config: Config) -> None:
        """Use another configuration from now on."""
        with self._lock:
            self._configure(config)
        self._woken.set()

    def unsaved(self) -> AlarmSnapshot | None:
        """Return the snapshot to commit; None: nothing has changed."""
        with self._lock:
            is_new = self._number > self._remembered
            return AlarmSnapshot(self._number, self._plain) if is_new else None

    def remembered(self, unsaved: AlarmSnapshot) -> None:
        """Acknowledge that a snapshot was committed, so that its messages can be sent."""
        with self._lock:
            self._remembered = unsaved.number
        self._woken.set()

    def given_up(self) -> list[tuple[str, str]]:
        """Return the messages given up since the last call, and why."""
        with self._lock:
            given_up, self._given_up = self._given_up, []
        return given_up

    def shown(self) -> dict[str, list[str]]:
        """Return the open alarms and the queued messages, as text."""
        with self._lock:
            titles = [
                f"{title} (since {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(since))} UTC)"
                for title, since in self._states.open()
            ]
            return {"open": titles, "waiting": self._deliveries.waiting()}

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.check()
            # A defect here must not stop the status page; it is logged once.
            except Exception as error:
                if repr(error) != self._said:
                    log.exception("the alarms cannot be updated")
                self._said = repr(error)
            self._woken.wait(CHECK_SECONDS)
            self._woken.clear()

    def check(self) -> None:
        """Take in the current problems and the outcomes of deliveries."""
        cluster, findings = self._source().findings()
        with self._lock:
            if not self._settings.enabled:
                return
            for node in cluster.nodes:
                purpose = stopped_on_purpose(node)
                if purpose is not None:
                    (self._stopped_nodes.add if purpose else self._stopped_nodes.discard)(node.name)
            self._follow_clock(cluster.time)
            sight = select_alarms(
                cluster, findings, self._settings, self._ignored, self._stopped_nodes
            )
            give_up_after = self._settings.give_up_after
            for message in self._states.update(sight):
                log.warning("%s: %s", message.kind, message.title)
                self._deliveries.add(message, give_up_after)
            # Once for the outcomes since the last round, and once for what may be sent now.
            self._given_up += self._deliveries.pump(self._remembered, give_up_after)
            plain = self._to_plain()
            if plain != self._plain:
                self._plain = plain
                self._number += 1
            self._deliveries.mark_remembered_by(self._number)

    def _follow_clock(self, now: float) -> None:
        """Shift the alarm times (Unix s) when the clock was set."""
        last, self._last_check = self._last_check, replace(Since.now(), unix=now)
        step = 0.0 if last is None else now - last.unix - last.age()
        if abs(step) > SET_SECONDS:
            log.info("the clock was set by %.1f s", step)
            self._states.clock_was_set(step)

    # -- settings and memory -----------------------------------------------------------------------

    def _configure(self, config: Config) -> None:
        settings = self._settings = self._states.settings = config.alarms
        alone = config.role is Role.STANDALONE
        cluster = (config.hostname if alone else config.nodes()[0]).partition(".")[0]
        self._ignored = frozenset(expand_hosts(settings.ignore))

        def origin() -> MessageOrigin:
            return MessageOrigin(cluster, settings.page_url or self._source().url)

        self._deliveries.configure(receivers(config, origin))
        self._deliveries.alertmanagers.configure(settings.alertmanagers, settings.timeout, origin)

    def _to_plain(self) -> dict[str, Any]:
        return {
            "book": self._states.to_plain(),
            "deliveries": self._deliveries.to_plain(),
            "stopped": sorted(self._stopped_nodes),
            "history": self._source().history.to_plain(),
        }

    def _recall(self, memory: Mapping[str, Any]) -> None:
        try:
            self._states.recall(memory["book"], time.time())
            self._deliveries.recall(memory["deliveries"])
            self._stopped_nodes = set(memory["stopped"])
            self._source().history.recall(memory["history"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            log.error("which alarms were open cannot be read, so they may come again: %r", error)
