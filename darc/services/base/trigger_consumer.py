"""Base of the services that receive triggers."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any, ClassVar, Generic, TypeVar

from darc.model.counters import TriggerOutcome, plain_counts
from darc.model.finding import is_about_event
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

    :return: the valid ones, and the error of each of the others
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


def has_findings(entry: QueueEntry) -> bool:
    """Whether an entry has nothing but findings about events, and no triggers."""
    try:
        plain = unpack(entry.content)
    except ValueError:
        return False
    return isinstance(plain, list) and bool(plain) and all(map(is_about_event, plain))


class TriggerConsumer(Consumer[S], Generic[S]):
    """Service that receives triggers, passes them to :meth:`act`, and completes their entry.

    Actions of act() may be repeated if the process crashes before the commit: see docs/services.md.
    """

    attributes: ClassVar[tuple[str, ...]] = (
        "triggers_received",
        "bad_entries",
        "outcomes",
        "latency",
        "latency_histograms",
    )

    #: Whether it has a use for triggers of injections; others drop them.
    takes_injections: ClassVar[bool] = False
    loss_kinds: ClassVar[tuple[LossKind, ...]] = (TRIGGERS_UNUSABLE,)

    def prepare(self) -> None:
        """Set the counters to 0."""
        self.triggers_received = 0
        self._outcomes: Counter[str] = Counter()
        self.latencies = Latencies()

    @property
    def outcomes(self) -> dict[str, int]:
        """Number of triggers by outcome, since this process was started."""
        return plain_counts(self._outcomes)

    @property
    def latency(self) -> dict[str, dict[str, float]]:
        """Distribution of latencies over the latest triggers, by stage (ms)."""
        return self.latencies.summary()

    @property
    def latency_histograms(self) -> dict[str, tuple[list[int], float]]:
        """Histograms of latencies since this process was started, by stage."""
        return self.latencies.histograms()

    def take_triggers(self, entry: QueueEntry) -> list[Trigger]:
        """Return the triggers of an entry, logged; invalid ones are logged and counted.

        Those of injections are dropped, and counted, where the service does not take them.
        """
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
        if self.takes_injections:
            return triggers
        wanted = [trigger for trigger in triggers if not trigger.injection]
        if dropped := len(triggers) - len(wanted):
            self._outcomes[TriggerOutcome.INJECTION] += dropped
        return wanted

    def count_outcome(self, outcome: TriggerOutcome) -> None:
        """Count what became of a trigger."""
        self._outcomes[outcome] += 1

    def act(self, triggers: list[Trigger], observation: Observation | None) -> None:
        """Act on triggers; to be overridden."""

    def work(self, entry: QueueEntry, observation: Observation | None) -> None:
        """Act on the entry's triggers, and complete it."""
        self.act(self.take_triggers(entry), observation)
        self.commit(Commit(entry.observation, completed=(entry.id,)))


def describe(trigger: Trigger) -> str:
    """Describe a trigger in a few words, for the log."""
    of = "injection" if trigger.injection else trigger.src_name or trigger.name
    return (
        f"{trigger.identity}: {of}, DM {trigger.dm:.2f},"
        f" S/N {trigger.snr:.1f}, width {trigger.width:.2f} ms, beam {trigger.sb}"
    )


def plain_times(times: dict[str, float]) -> dict[str, Any]:
    """Return stage times for the summary of an observation, rounded to microseconds."""
    return {name: round(time, 6) for name, time in times.items()}
