"""The trigger by which a notice asks for a dump of raw data."""

from __future__ import annotations

import math

from darc.config.instrument import Instrument
from darc.model.arrival import utc_of
from darc.model.observation import Observation
from darc.model.outside_notice import OutsideNotice
from darc.model.trigger import Trigger
from darc.science import dispersion

#: What its `name` says of it, where others say what kind of source it is.
NAME = "notice"


def dump_trigger(
    notice: OutsideNotice,
    arrival: float,
    observation: Observation,
    instrument: Instrument,
    *,
    beam: int,
    window_length: float,
    stokes: str,
) -> Trigger:
    """Return the trigger; its identity is that of the notice's event, and of nothing else.

    DM bins of triggers of our own are not negative, so it is none of theirs.

    :param arrival: at the centre of the highest channel, Unix s
    :param beam: SB or TAB, or compound beam, that dada_dbevent is told
    :param window_length: of the windows that triggers are counted in, s
    """
    tarr = arrival - observation.start
    dm = notice.dm or 0.0
    centre = dispersion.arrival_at_centre(tarr, dm, observation.f_centre, observation.f_reference)
    return Trigger(
        observation=observation.task_id,
        window=math.floor(tarr / window_length),
        dm_bin=-1 - int(notice.key[:12], 16),
        name=NAME,
        src_name=None,
        dm=dm,
        dm_err=0.0,
        dm_cluster=dm,
        width=observation.tsamp * 1e3,
        downsampling=1,
        snr=min(notice.snr or 0.0, 100_000.0),
        flux=None,
        ra=notice.ra,
        dec=notice.dec,
        cb=observation.beam,
        sb=beam,
        ymw16=None,
        galactic_model=None,
        semiMaj=instrument.beam_semimajor,
        semiMin=instrument.beam_semiminor,
        datetimesource=observation.datetimesource,
        utc=utc_of(observation.start + centre),
        tarr=tarr,
        count=0,
        importance=notice.importance or 0.0,
        dt=observation.tsamp,
        delta_nu_MHz=observation.channel_width,
        nu_GHz=observation.f_centre / 1e3,
        stokes=stokes,
        nchan=observation.nchan,
    )
