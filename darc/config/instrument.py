"""The instrument: band, sampling, beams, dishes and position."""

from __future__ import annotations

import string
from collections.abc import Iterator
from typing import Annotated

from darc.config import ranges
from darc.config.instrument_checks import implausible
from darc.config.records import Struct, field
from darc.config.source_settings import SOURCES, SourceSettings
from darc.config.typed import Contradiction, CrossChecked, NotEmpty, OneOf, Range, shown

_Positive = Range(1e-12, 1e12)
_Count = ranges.COUNT

#: Data files of a compound beam by default, see `Instrument`.
DATA_FILES = ("CB{cb:02d}.fil", "CB{cb:02d}_{tab:02d}.fil")

_NAMES = (
    "names relative to data_directory, in which {cb:02d} stands for the compound beam, {tab:02d}"
    " for the tied-array beam, and * for anything, such as CB{cb:02d}_*.sf"
)


class BandEdges:
    """Base of what has a band: its edges and centre."""

    __slots__ = ()
    min_freq: float  # MHz, centre of the lowest channel
    bandwidth: float  # MHz
    nchan: int

    @property
    def channel_width(self) -> float:
        """Width of a channel (MHz)."""
        return self.bandwidth / self.nchan

    @property
    def f_low(self) -> float:
        """Low edge of the band (MHz)."""
        return self.min_freq - self.channel_width / 2

    @property
    def f_high(self) -> float:
        """High edge of the band (MHz)."""
        return self.f_low + self.bandwidth

    @property
    def f_centre(self) -> float:
        """Centre of the band (MHz)."""
        return self.f_low + self.bandwidth / 2


class Instrument(BandEdges, CrossChecked, Struct, frozen=True):
    """A radio telescope with its backend; section `instrument` of the configuration.

    The values for ARTS are in conf/arts.yaml. An observation may override band, sampling,
    and number of beams and dishes: services take these from the observation.
    """

    name: Annotated[str, NotEmpty()]
    observatory: Annotated[str, NotEmpty()]  # as VOEvents name it
    backend: Annotated[str, NotEmpty()]
    position: tuple[float, float, float]  # ITRF, m
    n_dishes: Annotated[int, _Count]
    dish_diameter: Annotated[float, Range(0.01, 100_000)]  # m
    aperture_efficiency: Annotated[float, Range(1e-6, 1)]
    tsys: Annotated[float, Range(1e-6, 1e9)]  # K
    npol: Annotated[int, Range(1, 4)]
    bits_per_sample: Annotated[int, Range(1, 64)]
    tsamp: Annotated[float, ranges.TSAMP]  # s
    nchan: Annotated[int, _Count]
    bandwidth: Annotated[float, ranges.BANDWIDTH]  # MHz
    min_freq: Annotated[float, ranges.FREQUENCY]  # MHz, centre of the lowest channel
    n_compound_beams: Annotated[int, _Count]
    n_tabs: Annotated[int, _Count]
    n_sbs: Annotated[int, _Count]
    n_subbands: Annotated[int, _Count]  # of a synthesised beam
    sb_band_low: Annotated[float, _Positive]  # MHz, the low edge in the SB formula
    sb_reference_freq: Annotated[float, _Positive]  # MHz, where the SB moves on by one TAB
    sb_table: Annotated[str, NotEmpty()] | None  # file of an SB table; None: the formula
    beam_semimajor: Annotated[float, _Positive]  # arcmin, of a compound beam
    beam_semiminor: Annotated[float, _Positive]  # arcmin
    batch_length_samples: Annotated[int, _Count]  # of one AMBER batch
    time_unit: Annotated[int, _Count]  # packets per second in `startpacket`
    # An instrument's file of an earlier version lacks these.
    candidate_source: Annotated[str, OneOf(*SOURCES)] = "amber"
    #: What the beams of candidates are: TABs or SBs of this node's compound beam, or compound
    #: beams, each with a pointing of its own.
    candidate_beams: Annotated[str, OneOf("tied_array", "compound")] = "tied_array"
    source: SourceSettings = field(default_factory=SourceSettings)
    data_directory: Annotated[str, NotEmpty()] = "filterbank"  # in an observation's output_dir
    #: Names in it: {cb}, {tab} and wildcards; the first of which there are files counts.
    data_files: tuple[Annotated[str, NotEmpty()], ...] = DATA_FILES
    #: When they begin: as their header says, or with the observation, whatever that says.
    data_start: Annotated[str, OneOf("header", "observation")] = "header"
    #: Their sampling time (s), where it is on purpose not that of the search; None: it is.
    data_tsamp: Annotated[float, ranges.TSAMP] | None = None

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield names of data files that cannot be, and values that no receiver has."""
        yield from implausible(self)
        for pattern in self.data_files:
            if not _is_name(pattern):
                yield Contradiction("data_files", f"{shown(pattern)} is not allowed", _NAMES)
        if not self.data_files:
            yield Contradiction("data_files", "an empty list is not allowed", _NAMES)


def _is_name(pattern: str) -> bool:
    """Whether a pattern makes names of beams, below a directory."""
    try:
        fields = {
            field for _, field, _, _ in string.Formatter().parse(pattern) if field is not None
        }
        name = pattern.format(cb=0, tab=0)
    except (ValueError, LookupError, AttributeError):
        return False
    return fields <= {"cb", "tab"} and not name.startswith("/") and "\0" not in name
