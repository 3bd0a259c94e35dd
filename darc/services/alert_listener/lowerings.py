"""Thresholds that notices lower: of what is observed, and of what will be until they end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darc.config import ranges
from darc.config.records import Struct, convert, to_builtins
from darc.model.lowered_threshold import LoweredThreshold
from darc.model.memory_rows import rows_under
from darc.model.observation import Observation
from darc.model.outside_notice import OutsideNotice
from darc.queues.messages import ContentKind, Put
from darc.queues.plain_connection import pack
from darc.services.alert_listener.node_view import CLUSTERING, NodeView
from darc.services.alert_listener.notice_rules import unplaced
from darc.services.alert_listener.notice_step import NoticeStep
from darc.services.alert_listener.settings import IN_BEAM, IQUV, KNOWN_SOURCE, LOFAR, NoticeRule
from darc.services.alert_listener.use_book import UseBook

LOWERED = "lowered "
#: Lowerings that wait for their place to be observed; the oldest give way.
MOST_LOWERINGS = 200


class ActiveLowering(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A rule that lowers a threshold wherever its notice's place is observed, until it ends.

    :param start: of the data, Unix s, as is `end`
    """

    rule: str
    notice: OutsideNotice
    start: float
    end: float

    @property
    def memory_key(self) -> str:
        return f"{LOWERED}{self.notice.key} {self.rule}"


class Lowerings:
    """The lowered thresholds of this node."""

    def __init__(self, view: NodeView, book: UseBook) -> None:
        self._view = view
        self._book = book
        self._lowerings: dict[str, ActiveLowering] = {}  # by memory key

    def recover(self, memory: Mapping[str, Any]) -> None:
        """Restore what is not over.

        :raises ValueError: the memory holds something else
        """
        kept = (convert(plain, ActiveLowering) for plain in rows_under(memory, LOWERED).values())
        self._lowerings = {one.memory_key: one for one in kept}

    def told(self) -> list[dict[str, Any]]:
        """Return those that are, or wait for their place to be observed, as plain values."""
        return [
            {
                "rule": one.rule,
                "topic": one.notice.source,
                "id": one.notice.id,
                "until": one.end,
                "applied": self._book.has(one.rule, one.notice.key),
            }
            for one in list(self._lowerings.values())
        ]

    def begin(self, observation: Observation, step: NoticeStep) -> None:
        """Lower an observation's thresholds where a notice asks for it."""
        self.expire(step)
        for one in list(self._lowerings.values()):
            rule = self._view.rule(one.rule)
            if rule and not self._off(rule, one, observation, step.now):
                self._lower(rule, one, observation, step)

    def start(self, rule: NoticeRule, notice: OutsideNotice, step: NoticeStep) -> str:
        """Lower the threshold of what is observed, and of what will be while the rule lasts.

        :return: why nothing is lowered now; empty: something is
        """
        if rule.where == IN_BEAM and (why := unplaced(rule, notice)):
            return why
        now = step.now
        if rule.where == KNOWN_SOURCE and (why := self._view.off(rule, notice, None, now)):
            return why
        start = min(now, notice.trigger_time or now)
        one = ActiveLowering(rule.name, notice, start, now + rule.duration)
        if known := self._lowerings.get(one.memory_key):
            # An update with a better position; the time does not begin anew.
            one = ActiveLowering(rule.name, notice, known.start, known.end)
        self._lowerings[one.memory_key] = one
        step.memory[one.memory_key] = to_builtins(one)
        self.expire(step)
        why = "waits for an observation of its place"
        for observation in list(self._view.observed.values()):
            off = self._off(rule, one, observation, now)
            if not off:
                why = self._lower(rule, one, observation, step)
            elif why:
                why = f"waits: {off}"
        return why

    def _off(
        self, rule: NoticeRule, one: ActiveLowering, observation: Observation, now: float
    ) -> str:
        """Return why an observation is none of those that a threshold is lowered for."""
        if not (observation.start < one.end and one.start < observation.end):
            return "not in the time of the observation"
        return self._view.off(rule, one.notice, observation, now)

    def _lower(
        self, rule: NoticeRule, one: ActiveLowering, observation: Observation, step: NoticeStep
    ) -> str:
        """Order a lower threshold for an observation; return why not."""
        notice = one.notice
        if rule.snr_min is None or not self._view.carries_out(rule):
            return "other nodes do that"
        order = LoweredThreshold(
            key=f"{notice.key} {rule.name}",
            why=f"notice of {notice.source}, id {notice.id}, rule {rule.name}",
            snr_min=rule.snr_min,
            start=one.start,
            end=one.end,
            iquv=IQUV in rule.searches,
            lofar=LOFAR in rule.searches,
        )
        if not self._book.has(rule.name, notice.key):
            if not self._book.may_use(rule, notice, step):
                # Refused is refused: it does not wait for the next observation.
                self._forget(one, step)
                return "too many uses"
            what = (
                f"S/N of at least {rule.snr_min:g} triggers {' and '.join(rule.searches)}"
                f" for {one.end - step.now:.0f} s, in {observation.task_id}"
            )
            self._book.note(rule.name, rule.action, notice, what, step)
        else:
            step.lines.append(f"{order.why}: applies to {observation.task_id}, too")
        step.puts.append(_order(order, observation.key))
        return ""

    def expire(self, step: NoticeStep) -> None:
        """Forget what is over, and what is too much."""
        too_many = len(self._lowerings) - MOST_LOWERINGS
        for number, one in enumerate(list(self._lowerings.values())):
            if one.end <= step.now or number < too_many:
                self._forget(one, step)

    def _forget(self, one: ActiveLowering, step: NoticeStep) -> None:
        self._lowerings.pop(one.memory_key, None)
        step.memory[one.memory_key] = None

    def retract(self, notice: OutsideNotice, step: NoticeStep) -> None:
        """End what an event has lowered."""
        for one in [one for one in self._lowerings.values() if one.notice.key == notice.key]:
            rule = self._view.rule(one.rule)
            applied = self._book.has(one.rule, notice.key)
            self._forget(one, step)
            step.lines.append(f"retracted: notice of {notice.source}, id {notice.id}")
            if not applied:
                continue
            # Also where the rule is gone meanwhile, as amber_clustering has its order; no limit is
            # raised by so high a one.
            least = rule.snr_min if rule and rule.snr_min is not None else float(ranges.SNR.high)
            key = f"{notice.key} {one.rule}"
            order = LoweredThreshold(key, "retracted", least, one.start, step.now)
            step.puts += [_order(order, key) for key in self._view.observed]


def _order(order: LoweredThreshold, observation: str) -> Put:
    return Put((CLUSTERING,), ContentKind.PLAIN, pack(order.to_plain()), observation)
