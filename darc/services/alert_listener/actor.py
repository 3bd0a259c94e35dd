"""What follows from a notice by the rules; it decides, and commits nothing itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from darc.config.config import Config, Role
from darc.config.records import Struct, field
from darc.model.event import AlertType
from darc.model.lowered_threshold import LoweredThreshold
from darc.model.observation import Observation
from darc.model.outside_notice import OutsideNotice
from darc.model.sources import SourceList, parse_source_list
from darc.model.trigger import Trigger
from darc.queues.messages import Commit, ContentKind, Put
from darc.queues.plain_connection import pack
from darc.runtime.paths import packaged
from darc.runtime.untrusted_files import MAX_TEXT, read_regular
from darc.services.alert_listener.node_field import field_of
from darc.services.alert_listener.notice_dump import dump_trigger
from darc.services.alert_listener.notice_mail import subject_of, text_of
from darc.services.alert_listener.notice_rules import (
    Field,
    OwnNotices,
    beam_of,
    elsewhere,
    unfit,
    unplaced,
)
from darc.services.alert_listener.settings import (
    DUMP,
    IN_BEAM,
    IQUV,
    KNOWN_SOURCE,
    LOFAR,
    TELL,
    THRESHOLD,
    AlertListenerSettings,
    NoticeRule,
)
from darc.services.alert_listener.use_book import NoticeUse, UseBook
from darc.services.alert_listener.waiting_acts import ActiveLowering, DueDump, recovered
from darc.services.base.mails import Mail, Mails

log = logging.getLogger(__name__)

CLUSTERING, DUMPS = "amber_clustering", "dada_trigger"
#: Who carries out an action on the node.
CARRIED_OUT_BY = {THRESHOLD: CLUSTERING, DUMP: DUMPS}
USED, USED_BEFORE, NO_RULE, OWN = "used", "used before", "no rule", "our own"
OTHER_NODES = "other nodes do that"
#: Longest wait for a burst to arrive at our frequencies (s).
LONGEST_WAIT = 3600.0
#: Lowerings that wait for their place to be observed; the oldest give way.
MOST_LOWERINGS = 200


class NoticeStep(Struct):
    """What follows from some notices, to be committed as one.

    :param lines: for the log, beside the uses
    :param refused: uses beyond the limit: what, and why
    """

    puts: list[Put] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)
    uses: list[NoticeUse] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)

    @property
    def commit(self) -> Commit:
        """The step as a commit."""
        return Commit(puts=tuple(self.puts), memory=self.memory)


class NoticeActor:
    """The rules, what is observed, and what was done."""

    def __init__(self, config: Config, settings: AlertListenerSettings) -> None:
        self.book = UseBook()
        #: What became of the notice of the last `act`.
        self.outcome = NO_RULE
        self._observed: dict[str, Observation] = {}
        self._lowerings: dict[str, ActiveLowering] = {}
        self._dumps: dict[str, DueDump] = {}
        self.use(config, settings)

    def use(self, config: Config, settings: AlertListenerSettings) -> None:
        """Use a configuration from now on."""
        self._config, self._settings = config, settings
        road = config.section("voevent_generator")
        instrument = config.instrument
        self._own = OwnNotices(
            frozenset(filter(None, (road.kafka.topic, road.kafka.test_topic))),
            (instrument.observatory, instrument.backend),
            road.notice_schema,
        )
        places = {rule.where for rule in settings.rules}
        self._sources = self._read_sources() if KNOWN_SOURCE in places else SourceList({}, {})

    def _read_sources(self) -> SourceList:
        path = Path(self._config.section(CLUSTERING).source_file)
        path = path if path.is_absolute() else packaged(f"conf/{path}")
        try:
            return parse_source_list(read_regular(path, MAX_TEXT).decode(), str(path))
        except (OSError, ValueError) as error:
            log.error("%s: no source is known: %s", path, error)
            return SourceList({}, {})

    def recover(self, memory: Mapping[str, Any]) -> None:
        """Restore what was done, and what is not over."""
        self.book.recover(memory)
        lowerings, dumps = recovered(memory)
        self._lowerings = {one.memory_key: one for one in lowerings}
        self._dumps = {one.memory_key: one for one in dumps}

    @property
    def dumps_due(self) -> int:
        """Number of dumps whose time is to come."""
        return len(self._dumps)

    def lowerings(self) -> list[dict[str, Any]]:
        """Return the thresholds that are lowered, or wait for their place to be observed."""
        return [
            {
                "rule": one.rule,
                "topic": one.notice.source,
                "id": one.notice.id,
                "until": one.end,
                "applied": self.book.has(one.rule, one.notice.key),
            }
            for one in list(self._lowerings.values())
        ]

    # -- observations --------------------------------------------------------------------------

    def begin(self, observation: Observation, step: NoticeStep, now: float) -> None:
        """Take an observation up, and lower its thresholds where a notice asks for it."""
        self._observed[observation.key] = observation
        self._expire(step, now)
        for one in list(self._lowerings.values()):
            rule = self._rule(one.rule)
            if rule and not self._place(rule, one.notice, observation, now):
                self._lower(rule, one, observation, step, now)

    def end(self, observation: Observation) -> None:
        """Leave an observation."""
        self._observed.pop(observation.key, None)

    # -- notices -------------------------------------------------------------------------------

    def act(self, notice: OutsideNotice, step: NoticeStep, now: float) -> dict[str, str]:
        """Decide what follows from a notice.

        :param now: Unix s
        :return: by rule, `USED` or why it does not act
        """
        if self._own.include(notice):
            self.outcome = OWN
            return {}
        before = len(step.uses)
        if notice.kind is AlertType.RETRACTION:
            self._retract(notice, step, now)
        verdicts = {
            rule.name: self._by(rule, notice, step, now) or USED for rule in self._settings.rules
        }
        if len(step.uses) > before:
            self.outcome = USED
        else:
            self.outcome = USED_BEFORE if USED_BEFORE in verdicts.values() else NO_RULE
        return verdicts

    def _by(self, rule: NoticeRule, notice: OutsideNotice, step: NoticeStep, now: float) -> str:
        """Act by a rule; return why it does not."""
        if not self._carried_out_here(rule):
            return OTHER_NODES
        if self.book.has(rule.name, notice.key):
            return USED_BEFORE
        if why := unfit(rule, notice, now):
            return why
        if rule.action == THRESHOLD:
            return self._start_lowering(rule, notice, step, now)
        if rule.action == DUMP:
            return self._dump(rule, notice, step, now)
        return self._tell(rule, notice, step, now)

    def _carried_out_here(self, rule: NoticeRule) -> bool:
        """Whether this node does what a rule asks for; people are told by one node of a cluster."""
        if rule.action == TELL:
            return self._config.role is not Role.WORKER
        return CARRIED_OUT_BY[rule.action] in self._config.services()

    def _rule(self, name: str) -> NoticeRule | None:
        return next((rule for rule in self._settings.rules if rule.name == name), None)

    def _field(self, observation: Observation, moment: float) -> Field:
        return field_of(observation, self._config.instrument, moment)

    def _place(
        self,
        rule: NoticeRule,
        notice: OutsideNotice,
        observation: Observation | None,
        moment: float,
    ) -> str:
        """Return why an observation is not of a notice's place, as far as a rule asks for that."""
        seen = None
        if observation and rule.where == IN_BEAM:
            seen = self._field(observation, moment)
        dm_range = self._config.section(CLUSTERING).dm_range
        return elsewhere(rule, notice, seen, self._sources, dm_range)

    def _may_use(
        self, rule: NoticeRule, notice: OutsideNotice, step: NoticeStep, now: float
    ) -> bool:
        """Whether the limit of uses allows another one."""
        limit = self._settings.max_uses_per_hour
        if self.book.in_last_hour(now) < limit:
            return True
        what = f"notice of {notice.source}, id {notice.id}, rule {rule.name}"
        step.refused.append((what, f"{limit} uses in an hour"))
        return False

    def _note(
        self, rule: NoticeRule, notice: OutsideNotice, what: str, step: NoticeStep, now: float
    ) -> None:
        use = NoticeUse(rule.name, rule.action, notice.key, notice.source, notice.id, now, what)
        step.memory |= self.book.add(use)
        step.uses.append(use)

    # -- thresholds ----------------------------------------------------------------------------

    def _start_lowering(
        self, rule: NoticeRule, notice: OutsideNotice, step: NoticeStep, now: float
    ) -> str:
        """Lower the threshold of what is observed, and of what will be while the rule lasts."""
        if rule.where == IN_BEAM and (why := unplaced(rule, notice)):
            return why
        if rule.where == KNOWN_SOURCE and (why := self._place(rule, notice, None, now)):
            return why
        start = min(now, notice.trigger_time or now)
        one = ActiveLowering(rule.name, notice, start, now + rule.duration)
        if known := self._lowerings.get(one.memory_key):
            # An update with a better position; the time does not begin anew.
            one = ActiveLowering(rule.name, notice, known.start, known.end)
        self._lowerings[one.memory_key] = one
        step.memory[one.memory_key] = one.to_plain()
        self._expire(step, now)
        why = "waits for an observation of its place"
        for observation in list(self._observed.values()):
            off = self._place(rule, notice, observation, now)
            if not off:
                why = self._lower(rule, one, observation, step, now)
            elif why:
                why = f"waits: {off}"
        return why

    def _lower(
        self,
        rule: NoticeRule,
        one: ActiveLowering,
        observation: Observation,
        step: NoticeStep,
        now: float,
    ) -> str:
        """Order a lower threshold for an observation; return why not."""
        notice = one.notice
        if rule.snr_min is None or not self._carried_out_here(rule):
            return OTHER_NODES
        order = LoweredThreshold(
            key=f"{notice.key} {rule.name}",
            why=f"notice of {notice.source}, id {notice.id}, rule {rule.name}",
            snr_min=rule.snr_min,
            start=one.start,
            end=one.end,
            iquv=IQUV in rule.searches,
            lofar=LOFAR in rule.searches,
        )
        if not self.book.has(rule.name, notice.key):
            if not self._may_use(rule, notice, step, now):
                return "too many uses"
            what = (
                f"S/N of at least {rule.snr_min:g} triggers {' and '.join(rule.searches)}"
                f" for {one.end - now:.0f} s, in {observation.task_id}"
            )
            self._note(rule, notice, what, step, now)
        else:
            step.lines.append(f"{order.why}: applies to {observation.task_id}, too")
        step.puts.append(_order(order, observation.key))
        return ""

    def _expire(self, step: NoticeStep, now: float) -> None:
        too_many = len(self._lowerings) - MOST_LOWERINGS
        for number, (key, one) in enumerate(list(self._lowerings.items())):
            if one.end <= now or number < too_many:
                del self._lowerings[key]
                step.memory[key] = None

    # -- dumps ---------------------------------------------------------------------------------

    def _dump(self, rule: NoticeRule, notice: OutsideNotice, step: NoticeStep, now: float) -> str:
        """Ask for a dump, once for an event, or note that it is due later; return why not."""
        if self.book.dumped(notice.key):
            return USED_BEFORE
        why = "nothing is observed"
        for observation in list(self._observed.values()):
            arrival = notice.arrival(observation.f_reference, rule.frequency)
            if arrival is None:
                return "the frequency of its trigger_time is not known: see `frequency`"
            why = self._not_dumped(rule, notice, observation, arrival, now)
            if why:
                continue
            if not self._may_use(rule, notice, step, now):
                return "too many uses"
            self._ask(rule, notice, observation, arrival, step, now)
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
        kept: float = self._config.section(DUMPS).buffer_length
        if now - arrival > kept:
            return f"it arrived {now - arrival:.1f} s ago, and the ring buffer keeps {kept:g} s"
        if arrival - now > LONGEST_WAIT:
            return f"it arrives in {arrival - now:.0f} s"
        return self._place(rule, notice, observation, arrival)

    def _ask(
        self,
        rule: NoticeRule,
        notice: OutsideNotice,
        observation: Observation,
        arrival: float,
        step: NoticeStep,
        now: float,
    ) -> None:
        instrument = self._config.instrument
        beam = 0
        if instrument.candidate_beams == "compound":
            beam = beam_of(notice, self._field(observation, arrival)) or 0
        trigger = dump_trigger(
            notice,
            arrival,
            observation,
            instrument,
            beam=beam,
            window_length=self._config.section(CLUSTERING).clustering_window,
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
        self._note(rule, notice, f"dump {trigger.identity}, {when}", step, now)

    def look(self, step: NoticeStep, now: float) -> None:
        """Ask for the dumps that are due, and end what is over."""
        for key, due in list(self._dumps.items()):
            if due.due > now:
                continue
            if due.observation in self._observed:
                step.puts.append(_request(due.trigger, due.observation))
                step.lines.append(f"dump {due.trigger.identity} asked for: it arrives now")
            else:
                step.lines.append(f"no dump {due.trigger.identity}: the observation is over")
            del self._dumps[key]
            step.memory[key] = None
        self._expire(step, now)

    # -- people --------------------------------------------------------------------------------

    def _tell(self, rule: NoticeRule, notice: OutsideNotice, step: NoticeStep, now: float) -> str:
        """Write an e-mail; return why not."""
        observed: list[Observation | None] = [*self._observed.values()]
        places = [self._place(rule, notice, one, now) for one in observed or [None]]
        if all(places):
            return places[0]
        if not self._may_use(rule, notice, step, now):
            return "too many uses"
        self._mail(rule, notice, step, now)
        self._note(rule, notice, f"told {len(self._settings.email_settings.to)}", step, now)
        return ""

    def _mail(self, rule: NoticeRule, notice: OutsideNotice, step: NoticeStep, now: float) -> None:
        beams = (beam_of(notice, self._field(one, now)) for one in self._observed.values())
        beam = next((beam for beam in beams if beam is not None), None)
        mail = Mail(
            subject_of(notice, rule.name),
            text_of(notice, rule.name, self._config.hostname, beam),
            self._settings.email_settings.to,
        )
        step.memory |= Mails.memory(f"{notice.kind} {notice.key} {rule.name}", mail)

    # -- retractions ---------------------------------------------------------------------------

    def _retract(self, notice: OutsideNotice, step: NoticeStep, now: float) -> None:
        """End what an event has started, and tell those who were told of it."""
        for one in self._of_event(notice):
            rule = self._rule(one.rule)
            applied = self.book.has(one.rule, notice.key)
            del self._lowerings[one.memory_key]
            step.memory[one.memory_key] = None
            step.lines.append(f"retracted: notice of {notice.source}, id {notice.id}")
            if rule is None or not applied:
                continue
            order = LoweredThreshold(
                f"{notice.key} {rule.name}", "retracted", rule.snr_min or 0.0, one.start, now
            )
            step.puts += [_order(order, key) for key in self._observed]
        for due in [one for one in self._dumps.values() if one.key == notice.key]:
            del self._dumps[due.memory_key]
            step.memory[due.memory_key] = None
            step.lines.append(f"no dump {due.trigger.identity}: the notice was retracted")
        for rule in self._settings.rules:
            told = rule.action == TELL and self.book.has(rule.name, notice.key)
            again = f"{rule.name} (retracted)"
            if told and not self.book.has(again, notice.key):
                self._mail(rule, notice, step, now)
                use = NoticeUse(
                    again, TELL, notice.key, notice.source, notice.id, now, "told the retraction"
                )
                step.memory |= self.book.add(use)
                step.uses.append(use)

    def _of_event(self, notice: OutsideNotice) -> Iterator[ActiveLowering]:
        yield from [one for one in self._lowerings.values() if one.notice.key == notice.key]


def _order(order: LoweredThreshold, observation: str) -> Put:
    return Put((CLUSTERING,), ContentKind.PLAIN, pack(order.to_plain()), observation)


def _request(trigger: Trigger, observation: str) -> Put:
    return Put((DUMPS,), ContentKind.TRIGGERS, pack([trigger.to_plain()]), observation)
