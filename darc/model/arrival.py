"""What times of arrival and widths refer to: stated wherever they are written.

Times of arrival are those at the **centre of the highest channel**, which dedispersion leaves where
it is; AMBER, PRESTO and Heimdall refer theirs to it, too. An event that is announced has the time
at the centre of the band instead, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

#: Dispersion constant, MHz2 pc-1 cm3 s (observation.md, the instrument).
DISPERSION_CONSTANT = 4.148808e3

TOPOCENTRIC, BARYCENTRIC = "topocentric", "barycentric"

_MJD_OF_UNIX, _DAY = 40587.0, 86400.0  # s


def reference_frequency(f_lowest: float, channel_width: float, n_channels: int) -> float:
    """Frequency to which times of arrival refer: the centre of the highest channel, MHz.

    :param f_lowest: centre of the lowest channel, MHz
    :param channel_width: MHz
    """
    return f_lowest + channel_width * (n_channels - 1)


def mjd_of(unix: float) -> float:
    """Modified Julian date of a Unix time, both UTC; good to 1 µs."""
    return _MJD_OF_UNIX + unix / _DAY


def unix_of(mjd: float) -> float:
    """Unix time of a modified Julian date, both UTC; to the microsecond that its digits give."""
    return round((mjd - _MJD_OF_UNIX) * _DAY, 6)


def utc_of(unix: float) -> str:
    """ISO 8601 to the microsecond, without a time zone.

    :raises ValueError: the year is none of 1 to 9999; likewise OverflowError, OSError
    """
    moment = datetime.fromtimestamp(unix, UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="microseconds")


@dataclass(frozen=True, slots=True)
class ArrivalReference:
    """What the times and widths of an observation's candidates refer to.

    :param frequency: of the times of arrival, MHz
    :param start: of the data's first sample, from which times count: Unix s; None: not known. In
        barycentric data it is the same count of days and seconds in TDB
    :param tsamp: sampling time of the data, in which widths are counted, s
    :param frame: where times of arrival are measured: `TOPOCENTRIC` or `BARYCENTRIC`
    :param telescope: its name; empty: not known, as is the source that it pointed at
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

    @property
    def dm_constant(self) -> float:
        """Dispersion constant that all DMs and delays are by, MHz2 pc-1 cm3 s."""
        return DISPERSION_CONSTANT

    def mjd(self, time: float) -> float | None:
        """Modified Julian date in `scale`; None: it is not known when the data were taken.

        :param time: s since the first sample
        """
        return None if self.start is None else mjd_of(self.start + time)

    def utc(self, time: float) -> str | None:
        """UTC, ISO 8601 to the microsecond; None: not known, as it is of barycentric data.

        :param time: s since the first sample
        """
        if self.start is None or self.frame == BARYCENTRIC:
            return None
        return utc_of(self.start + time)

    def width_ms(self, downsampling: int) -> float:
        """A width in ms.

        :param downsampling: samples of the data
        """
        return downsampling * self.tsamp * 1e3

    def to_plain(self) -> dict[str, Any]:
        """For files, with units in the names."""
        return {
            "reference_frequency_MHz": self.frequency,
            "start_utc": self.utc(0.0),
            "start_mjd": self.mjd(0.0),
            "time_scale": self.scale,
            "frame": self.frame,
            "sampling_time_s": self.tsamp,
            "dm_constant_MHz2_cm3_s_per_pc": self.dm_constant,
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
            f" DM constant: {self.dm_constant:.6f} MHz2 pc-1 cm3 s"
        )
