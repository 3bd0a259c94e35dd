"""What the services that take triggers have in common."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any, ClassVar, Generic, TypeVar

from darc.model.counters import TriggerOutcome, plain_counts
from darc.model.latency import Latencies
from darc.model.observation import Observation
from darc.model.trigger import Trigger
from darc.node.losses import LossKind
from darc.queues.messages import Commit, ContentKind, QueueEntry
from darc.queues.plain_connection import unpack
from darc.runtime.log import ABOUT_TRIGGER, about
from darc.services.base.service import Consumer

log = logging.getLogger(__name__)
S = TypeVar("S")

TRIGGERS_UNUSABLE = LossKind(
    "triggers_unusable",
    "triggers could not be read, and were dropped",
    "What put them is wrong: the log of the service names each first problem.",
)


def triggers_of(entry: QueueEntry) -> tuple[list[Trigger], list[str]]:
    """Decode an entry's triggers.

    :return: the good ones, and what is wrong with each of the others
    """
    if entry.kind not in (ContentKind.TRIGGERS, ContentKind.PLAIN):
        return [], [f"{entry.kind} where triggers are expected"]
    try:
        plain = unpack(entry.content)
    except ValueError as error:
        return [], [str(error)]
    if not isinstance(plain, list):
        return [], [f"{type(plain).__name__} where a list of triggers is expected"]
    good, problems = [], []
    for trigger in plain:
        try:
            good.append(Trigger.from_plain(trigger))
        except ValueError as error:
            problems.append(str(error).replace("\n", "; "))
    return good, problems


class TriggerConsumer(Consumer[S], Generic[S]):
    """Takes triggers, hands them to :meth:`act`, and completes their entry.

    What act() does may be done twice if the process dies before the commit: see docs/services.md.
    """

    attributes: ClassVar[tuple[str, ...]] = (
        "triggers_received",
        "bad_entries",
        "outcomes",
        "latency",
        "latency_histograms",
    )

    loss_kinds: ClassVar[tuple[LossKind, ...]] = (TRIGGERS_UNUSABLE,)

    def prepare(self) -> None:
        self.triggers_received = 0
        self._outcomes: Counter[str] = Counter()
        self.bad_entries = 0
        self._latencies = Latencies()

    @property
    def outcomes(self) -> dict[str, int]:
        """How many triggers went which way, since this process was started."""
        return plain_counts(self._outcomes)

    @property
    def latency(self) -> dict[str, dict[str, float]]:
        """By stage, in ms: the distribution over the last triggers."""
        return self._latencies.summary()

    @property
    def latency_histograms(self) -> dict[str, tuple[list[int], float]]:
        """By stage, over all triggers since this process was started."""
        return self._latencies.histograms()

    def take_triggers(self, entry: QueueEntry) -> list[Trigger]:
        """The triggers of an entry, logged; those that are none are named and counted."""
        triggers, problems = triggers_of(entry)
        if problems:
            self.bad_entries += 1
            self._outcomes[TriggerOutcome.UNUSABLE] += len(problems)
            log.error(
                "entry %d: %d unusable, dropped; the first: %s",
                entry.id,
                len(problems),
                problems[0],
            )
            self.lost(TRIGGERS_UNUSABLE, f"entry {entry.id}", problems[0], len(problems))
        self.triggers_received += len(triggers)
        for trigger in triggers:
            with about(trigger.observation):
                log.info("trigger %s", describe(trigger), extra=ABOUT_TRIGGER)
        return triggers

    def act(self, triggers: list[Trigger], observation: Observation | None) -> None:
        """Do what the service is for."""

    def work(self, entry: QueueEntry, observation: Observation | None) -> None:
        self.act(self.take_triggers(entry), observation)
        self.commit(Commit(entry.observation, completed=(entry.id,)))


def describe(trigger: Trigger) -> str:
    """A trigger in a few words, for the log."""
    return (
        f"{trigger.identity}: {trigger.src_name or trigger.name}, DM {trigger.dm:.2f},"
        f" S/N {trigger.snr:.1f}, width {trigger.width:.2f} ms, beam {trigger.sb}"
    )


def plain_times(times: dict[str, float]) -> dict[str, Any]:
    """Stage times for the books, to the microsecond."""
    return {name: round(time, 6) for name, time in times.items()}
