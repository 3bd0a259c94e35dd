"""Test notices: by all roads that tests leave by, at a time of day or when a person asks for one.

Each is followed to its acknowledgement on each road: where that does not come, bursts would not
leave either.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from darc.config.instrument import Instrument
from darc.model.arrival import utc_of
from darc.model.event import Event, RoadName, RoadState
from darc.model.trigger import Stages, Trigger

#: In the place of an observation.
OBSERVATION = "test notice"
#: A test is due within this after its time of day (s): a node that starts later waits for the next.
DUE_SECONDS = 3600.0
DAY = 86400.0
CONFIGURED = "the configured time of day"


def trial_trigger(instrument: Instrument) -> Trigger:
    """Return a trigger of no burst: of now, without a position, and marked as a test."""
    now = time.time()
    return Trigger(
        observation=OBSERVATION,
        window=int(now),
        dm_bin=0,
        name="candidate",
        src_name=None,
        dm=500.0,
        dm_err=1.0,
        dm_cluster=500.0,
        width=1.0,
        downsampling=max(1, round(1e-3 / instrument.tsamp)),
        snr=10.0,
        flux=None,
        ra=None,
        dec=None,
        cb=None,
        sb=0,
        ymw16=None,
        galactic_model=None,
        semiMaj=0.0,
        semiMin=0.0,
        datetimesource=OBSERVATION,
        utc=utc_of(now),
        tarr=0.0,
        count=0,
        importance=0.0,
        dt=instrument.tsamp,
        delta_nu_MHz=instrument.bandwidth / instrument.nchan,
        nu_GHz=(instrument.min_freq + (instrument.bandwidth - _channel(instrument)) / 2) / 1e3,
        test=True,
        nchan=instrument.nchan,
        stages=Stages(),
    )


def _channel(instrument: Instrument) -> float:
    return instrument.bandwidth / instrument.nchan


def is_trial(event: Event) -> bool:
    """Whether an event is a test notice, not a trigger that is a test."""
    return event.trigger.observation == OBSERVATION


def is_due(at: str | None, last: float, now: float) -> bool:
    """Whether a test is due.

    :param at: time of day, HH:MM UTC; None: none is sent by itself
    :param last: when the last one was sent, Unix s
    """
    if at is None:
        return False
    hour, minute = map(int, at.split(":"))
    today = datetime.fromtimestamp(now, UTC).replace(hour=hour, minute=minute, second=0)
    since = (now - today.timestamp()) % DAY
    return since < DUE_SECONDS and now - last > since


def overdue(event: Event, limit: float, now: float) -> list[RoadName]:
    """Return the roads that have not acknowledged a test in time.

    :param limit: s
    """
    if now - event.made < limit:
        return []
    return [
        road
        for road, state in event.first.roads.items()
        if state in (RoadState.WAITING, RoadState.GIVEN_UP)
    ]
