"""Conversion of a pulsar's rotation at the solar-system barycentre to that at the telescope.

The Earth's position is from the ephemeris built into astropy (ERFA's epv00, accurate to about 10
us), which needs no download. Shapiro delay (0.1 ms at most) and proper motion are neglected: they
change slowly, and folding searches for the period around the prediction anyway.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from astropy import units as u
from astropy.coordinates import EarthLocation, SkyCoord, solar_system_ephemeris
from astropy.time import Time
from astropy.utils import data, iers
from numpy.polynomial import Chebyshev

from darc.science.arrays import Doubles
from darc.science.dispersion import FloatOrArray
from darc.science.folding import PhaseModel

# No network: tables are those installed with astropy, and an outdated one is not an error.
data.conf.allow_internet = False
iers.conf.auto_download = False
iers.conf.auto_max_age = None
iers.conf.iers_degraded_accuracy = "warn"

_DAY = 86400.0  # s
_MJD_OF_JD = 2400000.5
#: Degree and nodes of the polynomial: ample for the Earth's rotation in a day.
_DEGREE, _NODES_PER_HOUR, _MIN_NODES = 16, 8, 32
_MARGIN = 600.0  # s


def barycentric_seconds(
    unix_times: npt.ArrayLike,
    ra_deg: float,
    dec_deg: float,
    itrf_xyz_m: tuple[float, float, float] | None,
    epoch_mjd: float,
) -> tuple[float, Doubles]:
    """Return arrival times at the barycentre (TDB) for arrival times at the telescope.

    :param unix_times: s, shape (n,)
    :param ra_deg: right ascension (ICRS), deg
    :param dec_deg: declination (ICRS), deg
    :param itrf_xyz_m: position of the telescope, ITRF x, y, z in m; None: the Earth's centre
    :param epoch_mjd: reference epoch, MJD (TDB)
    :return: the first time, s since the epoch; and all times, s since the first, shape (n,)
    """
    place = itrf_xyz_m if itrf_xyz_m is not None else (0.0, 0.0, 0.0)
    location = EarthLocation.from_geocentric(*place, unit=u.m)
    times = Time(np.asarray(unix_times, dtype=np.float64), format="unix", scale="utc")
    times = Time(times.jd1, times.jd2, format="jd", scale="utc", location=location)
    with solar_system_ephemeris.set("builtin"):
        source = SkyCoord(ra_deg, dec_deg, unit="deg", frame="icrs")
        arrived = times.tdb + times.light_travel_time(source, kind="barycentric")
    # Relative to the first, to keep the precision of small differences.
    first = (arrived.jd1.flat[0] - _MJD_OF_JD - epoch_mjd) + arrived.jd2.flat[0]
    since = (arrived.jd1 - arrived.jd1.flat[0]) + (arrived.jd2 - arrived.jd2.flat[0])
    return float(first * _DAY), np.asarray(since * _DAY, dtype=np.float64)


def topocentric_model(
    start_unix: float,
    duration: float,
    *,
    spin: tuple[float, ...],
    epoch_mjd: float,
    ra_deg: float,
    dec_deg: float,
    itrf_xyz_m: tuple[float, float, float] | None,
) -> PhaseModel:
    """Return the phase model of a pulsar at the telescope.

    :param start_unix: time of the first sample, Unix s
    :param duration: time for which the model is valid, s
    :param spin: frequency and its derivatives at the barycentre, Hz, Hz/s, ...
    :param epoch_mjd: epoch of `spin`, MJD (TDB)
    :param ra_deg: right ascension (ICRS), deg
    :param dec_deg: declination (ICRS), deg
    :param itrf_xyz_m: position of the telescope, ITRF x, y, z in m; None: the Earth's centre
    """
    hours = duration / 3600
    n_nodes = max(_MIN_NODES, int(hours * _NODES_PER_HOUR))
    degree = min(_DEGREE, 5 + int(2 * hours))
    # The error of a polynomial's slope is largest at the ends of its domain.
    domain = [-_MARGIN, duration + _MARGIN]
    nodes = 0.5 * (1 - np.cos(np.pi * (np.arange(n_nodes) + 0.5) / n_nodes))
    times = np.concatenate([[0.0], domain[0] + nodes * (domain[1] - domain[0])])
    # Turns since the first sample, by a Taylor series about it, to keep precision.
    first, since = barycentric_seconds(start_unix + times, ra_deg, dec_deg, itrf_xyz_m, epoch_mjd)
    at_first = [taylor(spin[number:], first) for number in range(len(spin))]
    turns = taylor((0.0, *at_first), since)
    start = taylor((0.0, *spin), first) % 1.0
    return PhaseModel(Chebyshev.fit(times, turns + start, degree, domain=domain))


def taylor(derivatives: Iterable[float], past: FloatOrArray) -> FloatOrArray:
    """Return a value some time after an epoch.

    :param derivatives: the value at the epoch, and its derivatives with respect to time
    :param past: time since the epoch
    """
    total, factor = 0.0 * past, 1.0 + 0.0 * past
    for number, value in enumerate(derivatives, 1):
        total, factor = total + value * factor, factor * past / number
    return total
