"""Reference frequency, start and time scale of arrival times and widths.

Arrival times are those at the **centre of the highest channel**, which dedispersion does not move;
AMBER, PRESTO and Heimdall use the same reference. A VOEvent has the time at the centre of the band
instead, and states it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from darc.config.records import Struct

#: Dispersion constant, MHz2 pc-1 cm3 s (docs/triggers.md, dm_constant).
DISPERSION_CONSTANT = 4.148808e3

TOPOCENTRIC, BARYCENTRIC = "topocentric", "barycentric"

_MJD_OF_UNIX, _DAY = 40587.0, 86400.0  # s


def reference_frequency(f_lowest: float, channel_width: float, n_channels: int) -> float:
    """Return the reference frequency of arrival times: the centre of the highest channel, MHz.

    :param f_lowest: centre of the lowest channel, MHz
    :param channel_width: MHz
    """
    return f_lowest + channel_width * (n_channels - 1)


def dispersion_delay(dm: float, f_low: float, f_high: float) -> float:
    """Return the delay (s) of `f_low` relative to `f_high` (MHz), without numpy.

    It is that of :func:`darc.science.dispersion.delay`, which stands above this room.

    :param dm: pc cm-3
    """
    return dm * DISPERSION_CONSTANT * (f_low**-2 - f_high**-2)


def mjd_of(unix: float) -> float:
    """Return the modified Julian date of a Unix time, both UTC; accurate to 1 µs."""
    return _MJD_OF_UNIX + unix / _DAY


def unix_of(mjd: float) -> float:
    """Return the Unix time of a modified Julian date, both UTC; rounded to 1 µs."""
    return round((mjd - _MJD_OF_UNIX) * _DAY, 6)


def utc_of(unix: float) -> str:
    """Return a Unix time as ISO 8601, to the microsecond, without a time zone.

    :raises ValueError: the year is outside 1 to 9999; likewise OverflowError, OSError
    """
    moment = datetime.fromtimestamp(unix, UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="microseconds")


class ArrivalReference(Struct, frozen=True):
    """Reference of the arrival times and widths of an observation's candidates.

    :param frequency: reference frequency of arrival times, MHz
    :param start: time of the first sample, Unix s; None: unknown. In barycentric data the same
        count of seconds in TDB
    :param tsamp: sampling time of the data, the unit of widths, s
    :param frame: where arrival times are measured: `TOPOCENTRIC` or `BARYCENTRIC`
    :param telescope: its name; empty: unknown
    :param source: name of the source; empty: unknown
    """

    frequency: float
    start: float | None
    tsamp: float
    frame: str = TOPOCENTRIC
    telescope: str = ""
    source: str = ""

    @property
    def scale(self) -> str:
        """Time scale of `mjd`: ``UTC``, or ``TDB`` at the barycentre."""
        return "TDB" if self.frame == BARYCENTRIC else "UTC"

    def mjd(self, time: float) -> float | None:
        """Return the modified Julian date in `scale`; None if the start of the data is unknown.

        :param time: s since the first sample
        """
        return None if self.start is None else mjd_of(self.start + time)

    def utc(self, time: float) -> str | None:
        """Return UTC, ISO 8601 to the microsecond; None if unknown, as for barycentric data.

        :param time: s since the first sample
        """
        if self.start is None or self.frame == BARYCENTRIC:
            return None
        return utc_of(self.start + time)

    def width_ms(self, downsampling: int) -> float:
        """Return a width in ms.

        :param downsampling: width, samples of the data
        """
        return downsampling * self.tsamp * 1e3

    def to_plain(self) -> dict[str, Any]:
        """Return a dictionary for files, with units in the names."""
        return {
            "reference_frequency_MHz": self.frequency,
            "start_utc": self.utc(0.0),
            "start_mjd": self.mjd(0.0),
            "time_scale": self.scale,
            "frame": self.frame,
            "sampling_time_s": self.tsamp,
            "dm_constant_MHz2_cm3_s_per_pc": DISPERSION_CONSTANT,
            "telescope": self.telescope or None,
        }

    def __str__(self) -> str:
        if self.start is None:
            since = "the first sample (date not known)"
        else:
            since = self.utc(0.0) or f"the first sample (MJD {self.mjd(0.0):.11f} {self.scale})"
            since = f"{since} UTC" if self.frame == TOPOCENTRIC else since
        return (
            f"times: s since {since}, at {self.frequency:.6f} MHz (centre of the highest channel),"
            f" {self.frame}; widths: samples of {self.tsamp:g} s;"
            f" DM constant: {DISPERSION_CONSTANT:.6f} MHz2 pc-1 cm3 s"
        )
