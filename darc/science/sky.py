"""Directions in the sky, for an observer at rest on the Earth.

astropy's network access is disabled: Earth rotation and leap seconds come from the tables installed
with it. After their last date (a year after the release of astropy-iers-data) it warns and keeps
the last UT1 - UTC: an error of 0.1 s is 1.5 arcsec.

Apparent coordinates are those at which the telescope points, without refraction. Hour angle is
counted from the meridian of the site's longitude, positive to the west.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from astropy import units as u
from astropy.coordinates import (
    ICRS,
    ITRS,
    EarthLocation,
    SkyCoord,
    UnitSphericalRepresentation,
)
from astropy.time import Time
from astropy.utils import data, iers

data.conf.allow_internet = False
iers.conf.auto_download = False
iers.conf.auto_max_age = None  # an outdated table is not an error
iers.conf.iers_degraded_accuracy = "warn"


def _site(unix_time: float, itrf_xyz_m: Sequence[float]) -> tuple[ITRS, float]:
    """Frame of topocentric directions at the site, and the site's longitude, deg."""
    x, y, z = itrf_xyz_m
    frame = ITRS(
        obstime=Time(unix_time, format="unix"),
        # The site's position includes diurnal aberration (0.2 arcsec).
        location=EarthLocation.from_geocentric(x, y, z, unit=u.m),
    )
    return frame, math.degrees(math.atan2(y, x))


def icrs_from_hadec(
    ha_deg: float, dec_deg: float, unix_time: float, itrf_xyz_m: Sequence[float]
) -> tuple[float, float]:
    """Return the ICRS coordinates of an apparent hour angle and declination (HADEC in a parset).

    :param ha_deg: apparent hour angle, deg
    :param dec_deg: apparent declination, deg
    :param unix_time: s; for a pointing, the middle of the observation
    :param itrf_xyz_m: position of the telescope, ITRF x, y, z in m
    :return: right ascension (0 to 360) and declination, deg
    :raises ValueError: the declination is beyond a pole
    """
    frame, longitude = _site(unix_time, itrf_xyz_m)
    direction = frame.realize_frame(
        UnitSphericalRepresentation(lon=(longitude - ha_deg) * u.deg, lat=dec_deg * u.deg)
    )
    icrs = direction.transform_to(ICRS())
    return float(icrs.ra.deg), float(icrs.dec.deg)


def hadec_from_icrs(
    ra_deg: float, dec_deg: float, unix_time: float, itrf_xyz_m: Sequence[float]
) -> tuple[float, float]:
    """Return the apparent hour angle and declination of ICRS coordinates.

    :param ra_deg: right ascension, deg
    :param dec_deg: declination, deg
    :param unix_time: s
    :param itrf_xyz_m: position of the telescope, ITRF x, y, z in m
    :return: hour angle (-180 to 180) and declination, deg
    :raises ValueError: the declination is beyond a pole
    """
    frame, longitude = _site(unix_time, itrf_xyz_m)
    direction = ICRS(ra=ra_deg * u.deg, dec=dec_deg * u.deg).transform_to(frame)
    x, y, z = (float(part) for part in direction.cartesian.xyz)
    ha = longitude - math.degrees(math.atan2(y, x))
    return (ha + 180) % 360 - 180, math.degrees(math.atan2(z, math.hypot(x, y)))


def galactic(ra_deg: float, dec_deg: float) -> tuple[float, float]:
    """Return the Galactic longitude (0 to 360) and latitude of ICRS coordinates, deg.

    :param ra_deg: right ascension, deg
    :param dec_deg: declination, deg
    :raises ValueError: the declination is beyond a pole
    """
    coordinates = SkyCoord(ra_deg, dec_deg, unit="deg", frame="icrs").galactic
    return float(coordinates.l.deg), float(coordinates.b.deg)


def beam_rotation_angle(
    ra_deg: float, dec_deg: float, unix_time: float, itrf_xyz_m: Sequence[float]
) -> float:
    """Return the rotation angle of the compound beam on the sky, for VOEvents.

    :param ra_deg: right ascension (ICRS), deg
    :param dec_deg: declination (ICRS), deg
    :param unix_time: arrival time, s
    :param itrf_xyz_m: position of the telescope, ITRF x, y, z in m
    :return: atan2(sin dec * sin HA, cos HA) of the apparent coordinates, deg, -180 to 180
    :raises ValueError: the declination is beyond a pole
    """
    ha, dec = np.radians(hadec_from_icrs(ra_deg, dec_deg, unix_time, itrf_xyz_m))
    return float(np.degrees(np.arctan2(np.sin(dec) * np.sin(ha), np.cos(ha))))
