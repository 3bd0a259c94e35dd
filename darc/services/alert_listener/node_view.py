"""What a node observes, and what its configuration says of that."""

from __future__ import annotations

import logging

from darc.config.config import Config, Role
from darc.config.instrument import Instrument
from darc.model.observation import Observation
from darc.model.outside_notice import OutsideNotice
from darc.model.sources import SourceList
from darc.node.source_lists import read_source_list
from darc.runtime.paths import configured_file
from darc.science import sky
from darc.services.alert_listener.notice_rules import Field, OwnNotices, elsewhere
from darc.services.alert_listener.settings import (
    DUMP,
    IN_BEAM,
    KNOWN_SOURCE,
    TELL,
    THRESHOLD,
    AlertListenerSettings,
    NoticeRule,
)

log = logging.getLogger(__name__)

CLUSTERING, DUMPS = "amber_clustering", "dada_trigger"
#: Who carries out an action on the node.
CARRIED_OUT_BY = {THRESHOLD: CLUSTERING, DUMP: DUMPS}


class NodeView:
    """Observations that run, and the configuration."""

    def __init__(self, config: Config, settings: AlertListenerSettings) -> None:
        self.observed: dict[str, Observation] = {}  # by key
        #: Why the sources are none, or those of before; empty: they are as listed.
        self.sources_problem = ""
        self._sources = SourceList({}, {})
        self.use(config, settings)

    def use(self, config: Config, settings: AlertListenerSettings) -> None:
        """Use a configuration from now on."""
        self.config, self.settings = config, settings
        road = config.section("voevent_generator")
        instrument = config.instrument
        self.own = OwnNotices(
            frozenset(filter(None, (road.kafka.topic, road.kafka.test_topic))),
            (instrument.observatory, instrument.backend),
            road.notice_schema,
        )
        places = {rule.where for rule in settings.rules}
        if KNOWN_SOURCE in places:
            self._read_sources()

    def _read_sources(self) -> None:
        path = configured_file(self.config.section(CLUSTERING).source_file)
        try:
            self._sources, self.sources_problem = read_source_list(path), ""
        except (OSError, ValueError) as error:
            self.sources_problem = f"{path}: {error}"
            log.error("rules use the known sources that were read before: %s", self.sources_problem)

    @property
    def buffer_length(self) -> float:
        """What the ring buffer of raw data holds (s)."""
        return float(self.config.section(DUMPS).buffer_length)

    @property
    def window_length(self) -> float:
        """Length of the windows that triggers are counted in (s)."""
        return float(self.config.section(CLUSTERING).clustering_window)

    def carries_out(self, rule: NoticeRule) -> bool:
        """Whether this node does what a rule asks for; people are told by one node of a cluster."""
        if rule.action == TELL:
            return self.config.role is not Role.WORKER
        return CARRIED_OUT_BY[rule.action] in self.config.services()

    def rule(self, name: str) -> NoticeRule | None:
        return next((rule for rule in self.settings.rules if rule.name == name), None)

    def field(self, observation: Observation, moment: float) -> Field:
        """Return where an observation looks at a moment (Unix s)."""
        return field_of(observation, self.config.instrument, moment)

    def off(
        self,
        rule: NoticeRule,
        notice: OutsideNotice,
        observation: Observation | None,
        moment: float,
    ) -> str:
        """Return why an observation is not of a notice's place, as far as a rule asks for that."""
        seen = None
        if observation and rule.where == IN_BEAM:
            seen = self.field(observation, moment)
        dm_range = self.config.section(CLUSTERING).dm_range
        return elsewhere(rule, notice, seen, self._sources, dm_range)


def field_of(observation: Observation, instrument: Instrument, moment: float) -> Field:
    """Return the beams that this node searches: its own on a worker, else all of them.

    Beams at a fixed hour angle move over the sky: where they are at the moment counts, or at the
    observation's start or end, if it is before or after.

    :param moment: Unix s
    """
    moment = min(max(moment, observation.start), observation.end)
    every = observation.beam is None or instrument.candidate_beams == "compound"
    beams = []
    for one in observation.pointings:
        if every or one.beam == observation.beam:
            at = None if observation.hour_angle_at is None else moment
            beams.append((one.beam, *sky.icrs_of(one, at, instrument.position)))
    radius = max(instrument.beam_semimajor, instrument.beam_semiminor) / 60
    return Field(tuple(beams), radius)
