"""What the services that take triggers have in common."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any, ClassVar, Generic, TypeVar

from darc.model.observation import Observation
from darc.model.trigger import Trigger
from darc.queues.messages import Commit, Entry, Kind
from darc.queues.plain import unpack
from darc.services.base import Consumer

log = logging.getLogger(__name__)
S = TypeVar("S")

RECEIVED = "trigger "


def triggers_of(entry: Entry) -> list[Trigger]:
    """Decode an entry's triggers.

    :raises ValueError: it has none, or one of them is wrong
    """
    if entry.kind not in (Kind.TRIGGERS, Kind.PLAIN):
        raise ValueError(f"{entry.kind} where triggers are expected")
    plain = unpack(entry.content)
    if not isinstance(plain, list):
        raise ValueError(f"{type(plain).__name__} where a list of triggers is expected")
    return [Trigger.from_plain(trigger) for trigger in plain]


class TriggerConsumer(Consumer[S], Generic[S]):
    """Takes triggers, hands them to :meth:`act`, counts them, and completes their entry.

    What act() does may be done twice if the process dies before the commit: see docs/services.md.
    """

    attributes: ClassVar[tuple[str, ...]] = ("triggers_received", "bad_entries")

    triggers_received = 0
    bad_entries = 0

    def prepare(self) -> None:
        self._received: dict[str, Counter[str]] = {}  # by observation and identity

    def start_observation(self, observation: Observation, memory: dict[str, Any]) -> None:
        known = {key: number for key, number in memory.items() if key.startswith(RECEIVED)}
        self._received[observation.task_id] = Counter(known)

    def abort_observation(self, observation: Observation) -> None:
        self._received.pop(observation.task_id, None)

    def end(self, entry: Entry, observation: Observation) -> None:
        super().end(entry, observation)
        self._received.pop(observation.task_id, None)

    def act(self, triggers: list[Trigger], observation: Observation | None) -> None:
        """Do what the service is for."""
        raise NotImplementedError

    def work(self, entry: Entry, observation: Observation | None) -> None:
        memory: dict[str, int] = {}
        try:
            triggers = triggers_of(entry)
        except ValueError as error:
            self.bad_entries += 1
            log.error("entry %d is no trigger, dropped: %s", entry.id, error)
        else:
            self.triggers_received += len(triggers)
            for trigger in triggers:
                log.info(
                    "trigger %s: %s, DM %.2f, S/N %.1f, width %.2f ms, beam %d",
                    *(trigger.identity, trigger.src_name or trigger.name, trigger.dm),
                    *(trigger.snr, trigger.width, trigger.sb),
                )
            self.act(triggers, observation)
            memory = self._count(entry.observation, triggers)
        self.commit(Commit(entry.observation, completed=(entry.id,), memory=memory))

    def _count(self, task_id: str, triggers: list[Trigger]) -> dict[str, int]:
        """How often each trigger was received: the observation's books show that none was twice."""
        received = self._received.get(task_id)
        if received is None:
            return {}
        keys = [f"{RECEIVED}{trigger.identity}" for trigger in triggers]
        received.update(keys)
        return {key: received[key] for key in keys}
