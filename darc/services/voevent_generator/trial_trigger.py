"""The trigger of a test notice: of no burst."""

from __future__ import annotations

import time

from darc.config.instrument import Instrument
from darc.model.arrival import utc_of
from darc.model.event import Event
from darc.model.trigger import Stages, Trigger

#: In the place of an observation.
OBSERVATION = "test notice"


def trial_trigger(instrument: Instrument) -> Trigger:
    """Return a trigger of no burst: of now, without a position, and marked as a test."""
    now = time.time()
    channel = instrument.bandwidth / instrument.nchan
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
        delta_nu_MHz=channel,
        nu_GHz=(instrument.min_freq + (instrument.bandwidth - channel) / 2) / 1e3,
        test=True,
        nchan=instrument.nchan,
        stages=Stages(),
    )


def is_trial(event: Event) -> bool:
    """Whether an event is a test notice, not a trigger that is a test."""
    return event.trigger.observation == OBSERVATION
