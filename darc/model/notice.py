"""GCN notices: JSON about an event, by the schema of conf/gcn_frb.schema.json.

Times are those of the arrival at the top of the band (the centre of the highest channel) and at
infinite frequency; unknown values are left out.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from darc.model.arrival import DISPERSION_CONSTANT, dispersion_delay, reference_frequency, utc_of
from darc.model.event import AlertType, Event, Notice
from darc.model.trigger import Trigger

if TYPE_CHECKING:
    from darc.model.voevent import ObservationSetup

#: Property of the Milky Way's maximum DM, by electron-density model.
GALACTIC_DM = {
    "YMW16": "dm_gal_ymw16_max",
    "NE2001": "dm_gal_ne_2001_max",
    "NE2025": "dm_gal_ne_2025_max",
}
#: Part of the bursts that is inside of the error radius, which is 1 sigma.
CONTAINMENT = 0.68
AUTOMATIC = "Made by DARC in real time, without a human's judgement"
SUPERVISED = "Sent by a person"


def make_notice(
    event: Event,
    notice: Notice,
    setup: ObservationSetup,
    *,
    schema: str,
    dm_error: float | None,
    rotation: float | None = None,
) -> bytes:
    """Return a notice about an event.

    :param notice: which one; a retraction has no numbers but the time of the burst
    :param schema: address of the schema
    :param dm_error: of the search's DM, pc cm-3
    :param rotation: of the beam's major axis, deg from north through east
    :return: JSON, ASCII; it has not been validated
    :raises ValueError: a number is not finite; likewise ArithmeticError
    """
    trigger = event.trigger
    common: dict[str, Any] = {
        "$schema": schema,
        "mission": setup.observatory,
        "instrument": setup.backend,
        "messenger": "EM",
        "record_number": notice.number,
        "alert_datetime": utc(notice.at),
        "alert_tense": str(event.tense),
        "alert_type": str(notice.kind),
        "id": event.id,
        "event_name": event.name,
        "description": SUPERVISED if notice.supervised else AUTOMATIC,
    }
    values = common | _times(event, setup, dm_error)
    if notice.reason:
        values["update_message"] = notice.reason
    if notice.kind is not AlertType.RETRACTION:
        values |= _position(trigger, rotation) | _burst(event, dm_error)
        values |= _source(event) | _receiver(trigger, setup)
    known = {name: value for name, value in values.items() if value is not None}
    return json.dumps(known, allow_nan=False).encode()


def utc(unix: float) -> str:
    """Return a Unix time as GCN wants it: ISO 8601 with Z, to the microsecond."""
    return f"{utc_of(unix)}Z"


def arrival_at_top(trigger: Trigger, setup: ObservationSetup) -> tuple[float, float]:
    """Return when a burst arrived at the centre of the highest channel (Unix s), and that (MHz)."""
    centre, top = trigger.nu_GHz * 1e3, _top(trigger, setup)
    # utc is at the centre of the band by the DM as found: `dm` of a known source is its own.
    return trigger.arrival - dispersion_delay(trigger.dm_cluster, centre, top), top


def arrival_at_centre(
    arrival: float, dm: float, trigger: Trigger, setup: ObservationSetup
) -> float:
    """Return when a burst arrives at the centre of a trigger's band, Unix s.

    :param arrival: at the centre of the highest channel, Unix s
    :param dm: pc cm-3
    """
    return arrival + dispersion_delay(dm, trigger.nu_GHz * 1e3, _top(trigger, setup))


def _times(event: Event, setup: ObservationSetup, dm_error: float | None) -> dict[str, Any]:
    trigger, measured = event.trigger, event.measured
    arrival, top = arrival_at_top(trigger, setup)
    # Of the search, all of them: its time was made with this DM, whose error is given.
    width, dm = trigger.width, trigger.dm_cluster
    if measured:
        arrival, width, dm = measured.arrival, measured.width, measured.dm
        dm_error = measured.dm_error if measured.dm_error is not None else dm_error
    # The search's bins are as wide as the burst.
    error = width / 2e3
    extrapolated = math.hypot(error, dispersion_delay(dm_error or 0.0, top, math.inf))
    return {
        "trigger_time": utc(arrival),
        "trigger_time_error": _rounded(error, 9),
        "trigger_time_frequency": _rounded(top, 6),
        "trigger_time_inf_freq": utc(arrival - dispersion_delay(dm, top, math.inf)),
        "trigger_time_inf_freq_error": _rounded(extrapolated, 9),
        "dispersion_constant": DISPERSION_CONSTANT,
    }


def _position(trigger: Trigger, rotation: float | None) -> dict[str, Any]:
    if trigger.ra is None or trigger.dec is None:
        return {}
    major, minor = trigger.semiMaj / 60, trigger.semiMin / 60
    ellipse = [_rounded(major, 6), _rounded(minor, 6), _rounded((rotation or 0.0) % 360, 3)]
    return {
        "ra": _rounded(trigger.ra, 6),
        "dec": _rounded(trigger.dec, 6),
        "ra_dec_error": _rounded(major, 6) if major == minor else ellipse,
        "containment_probability": CONTAINMENT,
        "systematic_included": False,
    }


def _burst(event: Event, dm_error: float | None) -> dict[str, Any]:
    trigger, measured = event.trigger, event.measured
    dm, width, importance = trigger.measured_dm, trigger.width, trigger.importance
    snr, flux = event.brightness
    if measured:
        dm, width = measured.dm, measured.width
        dm_error = measured.dm_error if measured.dm_error is not None else dm_error
        importance = importance if measured.probability is None else measured.probability
    if event.verdict:
        importance = 1.0
    return {
        "dm": _rounded(dm, 4),
        "dm_error": None if dm_error is None else _rounded(dm_error, 4),
        "dm_catalogue": trigger.dm if trigger.src_name is not None else None,
        "snr": _rounded(snr, 3),
        "event_duration": _rounded(width, 6),
        "peak_flux_density": flux,
        "importance": importance,
        "verdict": event.verdict or None,
    }


def _source(event: Event) -> dict[str, Any]:
    trigger, association = event.trigger, event.association
    model = trigger.galactic_model
    galactic: dict[str, Any] = {}
    if trigger.ymw16 is not None and model is not None:
        if name := GALACTIC_DM.get(model.upper()):
            galactic[name] = trigger.ymw16
        else:
            galactic = {"dm_gal_max": trigger.ymw16, "dm_gal_model": model}
    return {
        "known_source": association.source if association else None,
        "association_probability": association.probability if association else None,
        **galactic,
    }


def _receiver(trigger: Trigger, setup: ObservationSetup) -> dict[str, Any]:
    centre = trigger.nu_GHz * 1e3
    half = setup.bandwidth / 2
    return {
        "beam": trigger.cb,
        "synthesised_beam": trigger.sb,
        "sampling_time": _rounded(trigger.dt * 1e3, 9),
        "npol": setup.npol,
        "tsys": setup.tsys,
        "gain": setup.gain,
        "nchan": setup.nchan,
        "spectral_band": [_rounded(centre - half, 6), _rounded(centre + half, 6)],
        "spectral_band_units": "MHz",
    }


def _top(trigger: Trigger, setup: ObservationSetup) -> float:
    channel = setup.bandwidth / max(setup.nchan, 1)
    lowest = trigger.nu_GHz * 1e3 - (setup.bandwidth - channel) / 2
    return reference_frequency(lowest, channel, setup.nchan)


def _rounded(value: float, digits: int) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return round(value, digits)
