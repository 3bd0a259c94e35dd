"""Settings of alert_listener."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated

from darc.config import ranges
from darc.config.kafka_secrets import secrets_in_client
from darc.config.records import Struct
from darc.config.settings import EmailSettings, Names, PlacePath, Text
from darc.config.typed import (
    AsText,
    Contradiction,
    CrossChecked,
    NotEmpty,
    OneOf,
    OneOrMore,
    Range,
    UpTo,
)
from darc.model.event import AlertType
from darc.model.notice_words import CURRENT, TENSES

THRESHOLD, DUMP, TELL = "threshold", "dump", "tell"
IN_BEAM, KNOWN_SOURCE, ANYWHERE = "in_beam", "known_source", "anywhere"
IQUV, LOFAR = "iquv", "lofar"

_SNR = Annotated[float, ranges.SNR]
_Seconds = Annotated[float, Range(0.01, 604_800)]
_Kinds = tuple[Annotated[str, OneOf(*AlertType)], ...]
_OF_EVENTS = (AlertType.INITIAL, AlertType.SUBSEQUENT, AlertType.UPDATE)


class NoticeRule(CrossChecked, Struct, frozen=True):
    """Which notices are acted upon, and how; an entry of `rules`.

    A limit on a value that a notice does not state is not met.
    """

    name: Annotated[str, NotEmpty(), UpTo(60)]
    action: Annotated[str, OneOf(THRESHOLD, DUMP, TELL)]
    where: Annotated[str, OneOf(IN_BEAM, KNOWN_SOURCE, ANYWHERE)]
    topics: Annotated[Names, OneOrMore()] = ()  # empty: all
    types: Annotated[_Kinds, OneOrMore()] = tuple(map(str, _OF_EVENTS))
    tenses: Annotated[tuple[Annotated[str, OneOf(*TENSES)], ...], OneOrMore()] = (CURRENT,)
    within: _Seconds = 600.0  # s, age of the trigger time when the notice comes
    importance_min: Annotated[float, Range(0, 1)] | None = None
    notice_snr_min: _SNR | None = None
    far_max: Annotated[float, Range(0, 1e9)] | None = None  # Hz
    error_max: Annotated[float, Range(0, 360)] = 2.0  # deg, of the position, where that is asked
    snr_min: _SNR | None = None  # threshold: the lowest S/N that triggers
    searches: Annotated[tuple[Annotated[str, OneOf(IQUV, LOFAR)], ...], OneOrMore()] = (IQUV,)
    duration: _Seconds = 3600.0  # s of a lowered threshold
    stokes: Annotated[str, OneOf("IQUV", "I")] = "IQUV"  # dump
    frequency: Annotated[float, ranges.RECEIVED] | None = None  # MHz, of trigger times with a DM

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield what the action lacks."""
        if self.action == THRESHOLD and self.snr_min is None:
            yield Contradiction("snr_min", "missing", "the S/N that a threshold is lowered to")
        if AlertType.RETRACTION in self.types and self.action != TELL:
            what = f"a retraction is no reason for a {self.action}"
            yield Contradiction("types", what, "other types; what it retracts ends by itself")


class AlertListenerSettings(CrossChecked, Struct, frozen=True):
    """Section `alert_listener`."""

    log_file: PlacePath
    topics: Annotated[Names, OneOrMore()]
    domain: Text
    credentials: PlacePath | None
    client: Mapping[str, Annotated[str, AsText()]]
    group: Text  # under which the broker keeps how far this node has read
    max_bytes: Annotated[int, Range(1024, 64 * 2**20)]  # of a notice
    max_per_second: Annotated[float, Range(0.1, 10_000)]  # notices of a topic
    max_uses_per_hour: Annotated[int, Range(1, 10_000)]
    rules: tuple[NoticeRule, ...]
    email_settings: EmailSettings
    chat: Annotated[Names, OneOrMore()]  # names of targets in chat.targets

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield secrets that others could read, and rules that can never act."""
        yield from secrets_in_client(self.client)
        names = Counter(rule.name for rule in self.rules)
        for name in [name for name, count in names.items() if count > 1]:
            yield Contradiction("rules", f"two are called {name!r}", "a name for each")
        for rule in self.rules:
            for topic in sorted({*rule.topics} - {*self.topics}):
                what = f"{rule.name!r} waits for {topic!r}, which is not read"
                yield Contradiction("rules", what, "topics of alert_listener.topics")
            if rule.action == TELL and not (self.email_settings.to or self.chat):
                what = f"{rule.name!r} tells nobody: email_settings.to and chat are empty"
                yield Contradiction("rules", what, "rules of other actions, addresses or targets")

    @property
    def is_on(self) -> bool:
        """Whether anything is read at all."""
        return bool(self.topics and self.rules)
