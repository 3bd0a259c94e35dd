"""Dumps of raw data that notices ask for: now, or once the burst arrives at our frequencies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darc.config.records import Struct
from darc.model.memory_rows import rows_under
from darc.model.observation import Observation
from darc.model.outside_notice import OutsideNotice
from darc.model.trigger import Trigger
from darc.queues.messages import ContentKind, Put
from darc.queues.plain_connection import pack
from darc.services.alert_listener.dump_trigger import dump_trigger
from darc.services.alert_listener.node_view import DUMPS, NodeView
from darc.services.alert_listener.notice_rules import beam_of
from darc.services.alert_listener.notice_step import NoticeStep
from darc.services.alert_listener.settings import NoticeRule
from darc.services.alert_listener.use_book import USED_BEFORE, UseBook

DUE_DUMP = "due dump "
#: Longest wait for a burst to arrive at our frequencies (s).
LONGEST_WAIT = 3600.0


class DueDump(Struct, frozen=True):
    """A dump of a burst that arrives later at our frequencies.

    :param observation: key of the run
    :param due: Unix s
    """

    key: str
    observation: str
    trigger: Trigger
    due: float

    @property
    def memory_key(self) -> str:
        return f"{DUE_DUMP}{self.key}"

    def to_plain(self) -> list[Any]:
        return [self.key, self.observation, self.trigger.to_plain(), self.due]

    @classmethod
    def from_plain(cls, plain: Any) -> DueDump:
        """
        :raises ValueError: it is something else
        """
        key, observation, trigger, due = plain
        return cls(str(key), str(observation), Trigger.from_plain(trigger), float(due))


class NoticeDumps:
    """The dumps of this node that notices ask for."""

    def __init__(self, view: NodeView, book: UseBook) -> None:
        self._view = view
        self._book = book
        self._dumps: dict[str, DueDump] = {}  # by memory key

    def recover(self, memory: Mapping[str, Any]) -> None:
        """Restore those whose time is to come.

        :raises ValueError: the memory holds something else
        """
        kept = map(DueDump.from_plain, rows_under(memory, DUE_DUMP).values())
        self._dumps = {one.memory_key: one for one in kept}

    @property
    def due(self) -> int:
        """Number of dumps whose time is to come."""
        return len(self._dumps)

    def start(self, rule: NoticeRule, notice: OutsideNotice, step: NoticeStep) -> str:
        """Ask for a dump, once for an event, or note that it is due later; return why not."""
        if self._book.dumped(notice.key):
            return USED_BEFORE
        why = "nothing is observed"
        for observation in list(self._view.observed.values()):
            arrival = notice.arrival(observation.f_reference, rule.frequency)
            if arrival is None:
                return "the frequency of its trigger_time is not known: see `frequency`"
            why = self._not_dumped(rule, notice, observation, arrival, step.now)
            if why:
                continue
            if not self._book.may_use(rule, notice, step):
                return "too many uses"
            self._ask(rule, notice, observation, arrival, step)
            return ""
        return why

    def _not_dumped(
        self,
        rule: NoticeRule,
        notice: OutsideNotice,
        observation: Observation,
        arrival: float,
        now: float,
    ) -> str:
        """Return why there are no data to dump of an observation."""
        if rule.stokes == "IQUV" and not observation.enable_iquv:
            return "the observation has no dumps of IQUV"
        if not observation.start <= arrival < observation.end:
            return "not in the time of the observation"
        kept = self._view.buffer_length
        if now - arrival > kept:
            return f"it arrived {now - arrival:.1f} s ago, and the ring buffer keeps {kept:g} s"
        if arrival - now > LONGEST_WAIT:
            return f"it arrives in {arrival - now:.0f} s"
        return self._view.off(rule, notice, observation, arrival)

    def _ask(
        self,
        rule: NoticeRule,
        notice: OutsideNotice,
        observation: Observation,
        arrival: float,
        step: NoticeStep,
    ) -> None:
        instrument, now = self._view.config.instrument, step.now
        beam = 0
        if instrument.candidate_beams == "compound":
            beam = beam_of(notice, self._view.field(observation, arrival)) or 0
        trigger = dump_trigger(
            notice,
            arrival,
            observation,
            instrument,
            beam=beam,
            window_length=self._view.window_length,
            stokes=rule.stokes,
        )
        if arrival <= now:
            step.puts.append(_request(trigger, observation.key))
            when = f"{now - arrival:.2f} s after it arrived"
        else:
            due = DueDump(notice.key, observation.key, trigger, arrival)
            self._dumps[due.memory_key] = due
            step.memory[due.memory_key] = due.to_plain()
            when = f"due in {arrival - now:.2f} s, when it arrives"
        what = f"dump {trigger.identity}, {when}"
        self._book.note(rule.name, rule.action, notice, what, step)

    def look(self, step: NoticeStep) -> None:
        """Ask for the dumps that are due."""
        for key, due in list(self._dumps.items()):
            if due.due > step.now:
                continue
            if due.observation in self._view.observed:
                step.puts.append(_request(due.trigger, due.observation))
                step.lines.append(f"dump {due.trigger.identity} asked for: it arrives now")
            else:
                step.lines.append(f"no dump {due.trigger.identity}: the observation is over")
            del self._dumps[key]
            step.memory[key] = None

    def retract(self, notice: OutsideNotice, step: NoticeStep) -> None:
        """Drop a dump that is still to come."""
        for due in [one for one in self._dumps.values() if one.key == notice.key]:
            del self._dumps[due.memory_key]
            step.memory[due.memory_key] = None
            step.lines.append(f"no dump {due.trigger.identity}: the notice was retracted")


def _request(trigger: Trigger, observation: str) -> Put:
    return Put((DUMPS,), ContentKind.TRIGGERS, pack([trigger.to_plain()]), observation)
