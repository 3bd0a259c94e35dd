"""Where a node looks: the beams of an observation on the sky, at a moment."""

from __future__ import annotations

from darc.config.instrument import Instrument
from darc.model.observation import Observation
from darc.science import sky
from darc.services.alert_listener.notice_rules import Field


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
