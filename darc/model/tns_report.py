"""A report of a burst as the Transient Name Server takes it (docs/tns.md, with the sources).

Its numbers are those of the event's notice, so that both say the same. Names of fields are those by
which others report bursts; ids of units are the TNS's own.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from darc.config.records import Struct
from darc.model.arrival import utc_of

#: Id of fast radio bursts among what is reported.
FRB = "5"
#: Ids of units.
JY, JY_MS, MS, MHZ, PC_CM3 = "8", "22", "23", "24", "25"
#: Models of the Milky Way's maximum DM that the TNS knows, by the property of a notice.
GALACTIC_MODELS = {"dm_gal_ymw16_max": "YMW16", "dm_gal_ne_2001_max": "NE2001"}


class TnsIds(Struct, frozen=True):
    """Who reports, and with what; numbers are the TNS's own.

    :param reporter: names, as they are published
    """

    reporter: str
    reporting_group: int
    discovery_group: int
    instrument: int
    filter: int


def internal_name(backend: str, event_id: str) -> str:
    """Return the name under which an event is reported: the same each time, and of no other.

    :param backend: by which those of other instruments differ
    """
    prefix = re.sub(r"[^a-z0-9]+", "", backend.lower())
    return f"{prefix or 'darc'}_{event_id}"


def make_report(
    told: Mapping[str, Any], ids: TnsIds, name: str, *, at_barycentre: float | None
) -> bytes:
    """Return a report.

    :param told: properties of a notice about the event, of which the position is needed
    :param name: internal name
    :param at_barycentre: arrival there at infinite frequency, TDB since 1970, s; None: unknown
    :return: JSON, ASCII
    :raises ValueError: a number is not finite; likewise KeyError: there is no position
    """
    ra_error, dec_error = errors_of(told["ra_dec_error"])
    model = next((one for one in GALACTIC_MODELS if one in told), "")
    values: dict[str, Any] = {
        "ra": {"value": _text(told["ra"]), "error": _text(ra_error), "units": "arcsec"},
        "dec": {"value": _text(told["dec"]), "error": _text(dec_error), "units": "arcsec"},
        "reporting_groupid": str(ids.reporting_group),
        "groupid": str(ids.discovery_group),
        "reporter": ids.reporter,
        "at_type": FRB,
        "internal_name": name,
        "discovery_datetime": _moment(told["trigger_time"]),
        "barycentric_event_time": "" if at_barycentre is None else _date_time(at_barycentre),
        "dm": _text(told["dm"]),
        "dm_err": _text(told.get("dm_error")),
        "dm_unitid": PC_CM3,
        "galactic_max_dm": _text(told.get(model)),
        "galactic_max_dm_model": GALACTIC_MODELS.get(model, ""),
        "remarks": _remarks(told, at_barycentre),
        "photometry": {"photometry_group": {"0": _photometry(told, ids)}},
    }
    return json.dumps({"frb_report": {"0": values}}, allow_nan=False).encode()


def errors_of(error: float | list[float]) -> tuple[float, float]:
    """Return the errors of right ascension (on the sky, not of the coordinate) and declination.

    :param error: as of a notice, deg, 1 sigma: a radius, or the semi-axes of an ellipse and the
        angle of its major one from north through east
    :return: arcsec, 1 sigma of each by itself
    """
    major, minor, angle = (*error, 0.0, 0.0)[:3] if isinstance(error, list) else (error, error, 0.0)
    east, north = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    ra = math.hypot(major * east, minor * north)
    dec = math.hypot(major * north, minor * east)
    return round(ra * 3600, 3), round(dec * 3600, 3)


def _photometry(told: Mapping[str, Any], ids: TnsIds) -> dict[str, str]:
    flux, width = told.get("peak_flux_density"), told["event_duration"]
    low, high = told["spectral_band"]
    error = fluence = None
    if flux is not None:
        # Of the noise alone: nothing is calibrated. Flux is the mean of the boxcar.
        error = round(flux / told["snr"], 6) if told["snr"] > 0 else None
        fluence = round(flux * width, 6)
    return {
        "obsdate": _moment(told["trigger_time"]),
        # The TNS wants a number; others that have none say 0, too.
        "flux": _text(flux or 0.0),
        "flux_error": _text(error or 0.0),
        "limiting_flux": "0",
        "flux_units": JY,
        "filter_value": str(ids.filter),
        "instrument_value": str(ids.instrument),
        "snr": _text(told["snr"]),
        "fluence": _text(fluence),
        "fluence_unitid": JY_MS,
        "burst_width": _text(width),
        "burst_width_unitid": MS,
        "ref_freq": _text(round((low + high) / 2, 6)),
        "ref_freq_unitid": MHZ,
        "inst_bandwidth": _text(round(high - low, 6)),
        "inst_bandwidth_unitid": MHZ,
        "channels_no": _text(told.get("nchan")),
        "sampling_time": _text(told.get("sampling_time")),
        "sampling_time_unitid": MS,
        "observer": "Robot",
        "comments": "flux density by the radiometer equation, not calibrated"
        if flux is not None
        else "flux density unknown: 0 stands for that",
    }


def _remarks(told: Mapping[str, Any], at_barycentre: float | None) -> str:
    frequency = told["trigger_time_frequency"]
    parts = [f"discovery_datetime: UTC at the telescope, at {frequency:.6g} MHz"]
    if at_barycentre is not None:
        parts.append("barycentric_event_time: TDB at infinite frequency")
    parts.append("errors of the position: 1 sigma of the beam, on the sky")
    if source := told.get("known_source"):
        probability = told.get("association_probability")
        how = "" if probability is None else f", probability {probability:.3g}"
        parts.append(f"associated with {source}{how}")
    return "; ".join(parts)


def _moment(iso: str) -> str:
    """Return a notice's time as the TNS takes it."""
    return _date_time(datetime.fromisoformat(iso).timestamp())


def _date_time(unix: float) -> str:
    return utc_of(unix).replace("T", " ")


def _text(value: float | None) -> str:
    """Return a number as text, without an exponent; empty where it is unknown."""
    if value is None:
        return ""
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return f"{value:.9f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
