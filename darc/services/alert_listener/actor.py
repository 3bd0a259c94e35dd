"""What follows from a notice by the rules; it decides, and commits nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darc.config.config import Config
from darc.model.event import AlertType
from darc.model.observation import Observation
from darc.model.outside_notice import OutsideNotice
from darc.services.alert_listener.lowerings import Lowerings
from darc.services.alert_listener.node_view import NodeView
from darc.services.alert_listener.notice_dumps import NoticeDumps
from darc.services.alert_listener.notice_mail import subject_of, text_of
from darc.services.alert_listener.notice_rules import beam_of, unfit
from darc.services.alert_listener.notice_step import NoticeStep
from darc.services.alert_listener.retracted_events import RetractedEvents
from darc.services.alert_listener.settings import (
    DUMP,
    TELL,
    THRESHOLD,
    AlertListenerSettings,
    NoticeRule,
)
from darc.services.alert_listener.use_book import USED_BEFORE, UseBook
from darc.services.base.chats import Chats
from darc.services.base.mails import Mail, Mails

USED, NO_RULE, OWN = "used", "no rule", "our own"
#: Why no rule acts upon what comes after an event's retraction.
RETRACTED_BEFORE = "retracted before"


class NoticeActor:
    """The rules, what is observed, and what was done."""

    def __init__(self, config: Config, settings: AlertListenerSettings) -> None:
        self._view = NodeView(config, settings)
        self.book = UseBook(self._view)
        self._retracted = RetractedEvents()
        #: What became of the notice of the last `act`.
        self.outcome = NO_RULE
        self._lowerings = Lowerings(self._view, self.book)
        self._dumps = NoticeDumps(self._view, self.book)

    def use(self, config: Config, settings: AlertListenerSettings) -> None:
        """Use a configuration from now on."""
        self._view.use(config, settings)

    def recover(self, memory: Mapping[str, Any]) -> None:
        """Restore what was done, and what is not over."""
        self.book.recover(memory)
        self._retracted.recover(memory)
        self._lowerings.recover(memory)
        self._dumps.recover(memory)

    @property
    def sources_problem(self) -> str:
        """Why rules do not go by the known sources as they are listed; empty: they do."""
        return self._view.sources_problem

    @property
    def dumps_due(self) -> int:
        """Number of dumps whose time is to come."""
        return self._dumps.due

    def lowerings(self) -> list[dict[str, Any]]:
        """Return the thresholds that are lowered, or wait for their place to be observed."""
        return self._lowerings.told()

    def begin(self, observation: Observation, step: NoticeStep) -> None:
        """Take an observation up, and lower its thresholds where a notice asks for it."""
        self._view.observed[observation.key] = observation
        self._lowerings.begin(observation, step)

    def end(self, observation: Observation) -> None:
        """Leave an observation."""
        self._view.observed.pop(observation.key, None)

    def look(self, step: NoticeStep) -> None:
        """Do what is due, and end what is over."""
        self._dumps.look(step)
        self._lowerings.expire(step)

    # -- notices -------------------------------------------------------------------------------

    def act(self, notice: OutsideNotice, step: NoticeStep) -> dict[str, str]:
        """Decide what follows from a notice.

        :return: by rule, `USED` or why it does not act
        """
        if self._view.own.include(notice):
            self.outcome = OWN
            return {}
        before = len(step.uses)
        if notice.kind is AlertType.RETRACTION:
            self._lowerings.retract(notice, step)
            self._dumps.retract(notice, step)
            self._tell_retraction(notice, step)
            step.memory |= self._retracted.add(notice.key, step.now)
        verdicts = {
            rule.name: self._by(rule, notice, step) or USED for rule in self._view.settings.rules
        }
        if len(step.uses) > before:
            self.outcome = USED
        else:
            known = (USED_BEFORE, RETRACTED_BEFORE)
            self.outcome = next((why for why in known if why in verdicts.values()), NO_RULE)
        return verdicts

    def _by(self, rule: NoticeRule, notice: OutsideNotice, step: NoticeStep) -> str:
        """Act by a rule; return why it does not."""
        if not self._view.carries_out(rule):
            return "other nodes do that"
        if self.book.has(rule.name, notice.key):
            return USED_BEFORE
        if notice.kind is not AlertType.RETRACTION and notice.key in self._retracted:
            return RETRACTED_BEFORE
        if why := unfit(rule, notice, step.now):
            return why
        acts = {THRESHOLD: self._lowerings.start, DUMP: self._dumps.start, TELL: self._tell}
        return acts[rule.action](rule, notice, step)

    # -- people --------------------------------------------------------------------------------

    def _tell(self, rule: NoticeRule, notice: OutsideNotice, step: NoticeStep) -> str:
        """Write to people; return why not."""
        observed: list[Observation | None] = [*self._view.observed.values()]
        places = [self._view.off(rule, notice, one, step.now) for one in observed or [None]]
        if all(places):
            return places[0]
        if not self.book.may_use(rule, notice, step):
            return "too many uses"
        self._write(rule, notice, step)
        settings = self._view.settings
        told = f"told {len(settings.email_settings.to) + len(settings.chat)}"
        self.book.note(rule.name, TELL, notice, told, step)
        return ""

    def _write(self, rule: NoticeRule, notice: OutsideNotice, step: NoticeStep) -> None:
        beams = (
            beam_of(notice, self._view.field(one, step.now)) for one in self._view.observed.values()
        )
        beam = next((beam for beam in beams if beam is not None), None)
        subject = subject_of(notice, rule.name)
        text = text_of(notice, rule.name, self._view.config.hostname, beam)
        identity = f"{notice.kind} {notice.key} {rule.name}"
        settings = self._view.settings
        step.memory |= Mails.memory(identity, Mail(subject, text, settings.email_settings.to))
        step.memory |= Chats.memory(identity, subject, text, settings.chat)

    def _tell_retraction(self, notice: OutsideNotice, step: NoticeStep) -> None:
        """Tell those who were told of an event, once."""
        for rule in self._view.settings.rules:
            told = rule.action == TELL and self.book.has(rule.name, notice.key)
            again = f"{rule.name} (retracted)"
            if told and not self.book.has(again, notice.key):
                self._write(rule, notice, step)
                self.book.note(again, TELL, notice, "told the retraction", step)
