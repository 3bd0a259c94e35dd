"""Header of a file that is not SIGPROC's, in SIGPROC's terms."""

from __future__ import annotations

from darc.config.records import Struct, replace
from darc.data_files.filterbank_header import FilterbankHeader
from darc.model.arrival import ArrivalReference, mjd_of
from darc.model.telescopes import NAMES

#: Distance of a telescope from the Earth's centre, m; another is no position.
_RADII = (6.3e6, 6.4e6)

#: Names that files use, besides those of `NAMES`, in lower case.
_ALIASES = {"jvla": 12, "evla": 12, "gbt": 6, "gb": 6, "arecibo 305m": 1, "jb": 5, "lovell": 5}


class TranslatedHeader(FilterbankHeader, Struct, frozen=True, kw_only=True):
    """Header with what SIGPROC's has no key for.

    :param start: time of the first sample, Unix s; None: unknown. `tstart` has the same as MJD
    :param observed_since: start of the observation, of which the file may be a part, Unix s
    :param telescope_name: as in the file; empty: unknown
    :param antenna: position of the telescope, ITRF, m; None: unknown
    """

    start: float | None = None
    observed_since: float | None = None
    telescope_name: str = ""
    antenna: tuple[float, float, float] | None = None

    @property
    def arrival_reference(self) -> ArrivalReference:
        return replace(super().arrival_reference, start=self.start, telescope=self.telescope)

    @property
    def telescope(self) -> str:
        return NAMES.get(self.telescope_id or 0, self.telescope_name)

    @property
    def position(self) -> tuple[float, float, float] | None:
        if self.antenna is not None:
            radius = sum(value**2 for value in self.antenna) ** 0.5
            if _RADII[0] < radius < _RADII[1]:
                return self.antenna
        return super().position

    def starting_at(self, since: float | None, before: float) -> TranslatedHeader:
        """Return the header of data that start at another time.

        :param since: start of the observation, Unix s; None: unknown
        :param before: time from there to the first sample, s
        """
        if since is None:
            return replace(self, start=None, observed_since=None, tstart=None)
        start = since + before
        return replace(self, start=start, observed_since=since, tstart=mjd_of(start))


#: A file that begins so long after its observation (s) says nonsense: ten years.
LONGEST_OFFSET = 3.2e8


def telescope_id(name: str) -> int | None:
    """Return SIGPROC's number of a telescope; None if it has none."""
    wanted = name.strip().casefold()
    numbers = {known.casefold(): number for number, known in NAMES.items()}
    return numbers.get(wanted, _ALIASES.get(wanted))


def packed_angle(text: str) -> float | None:
    """Return an angle such as ``-05:34:31.9`` as SIGPROC writes it, -53431.9; None: not one."""
    sign = -1.0 if text.strip().startswith("-") else 1.0
    parts = text.strip().lstrip("+-").split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return None
    if not 2 <= len(numbers) <= 3 or not all(0 <= number < 1e4 for number in numbers):
        return None
    whole, minutes, seconds = (*numbers, 0.0)[:3]
    return sign * (whole * 10_000 + minutes * 100 + seconds)
