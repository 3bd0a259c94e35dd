"""The instrument: band, sampling, beams, dishes and position."""

from __future__ import annotations

import math
import string
from collections.abc import Iterator
from typing import Annotated

from darc.config import ranges
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


# Limits of what a receiver has are wide: from decametre arrays (UTR-2, LOFAR's low band) to 50 GHz
# and above, cylinders and incoherent sums of dishes, images every 0.1 s.
#: Upper edge of a band by its lower edge: LOFAR's low band has 9.
_MOST_EDGE_RATIO = 20.0
#: Bandwidth by frequency: a subband of LOFAR has twice that.
_LEAST_FRACTION = 4e-4
#: Length of a sample by that of 1 / channel width. Raw spectra have 1, overlapping ones less.
_LEAST_PRODUCT = 0.1
#: A batch of the search (s): it is a part of a gulp or a buffer of raw data, some seconds long.
_LONGEST_BATCH = 600.0
#: Sampling time of the data by that of their search, which adds samples, and divides none.
_MOST_COARSER = 100.0
#: Receivers on a roof have horns of 0.2 m, FAST has 500 m, RATAN-600 600 m.
_SMALLEST_DISH, _LARGEST_DISH = 0.1, 1000.0  # m
_LEAST_RADIUS, _MOST_RADIUS = 6.3e6, 6.4e6  # of the Earth's surface (m)


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
        yield from _implausible(self)
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


def _implausible(instrument: Instrument) -> Iterator[Contradiction]:
    """Yield what is wrong with values that no receiver has, or that do not fit each other."""
    yield from _band(instrument)
    yield from _sampling(instrument)
    yield from _subbands(instrument)
    diameter, radius = instrument.dish_diameter, math.hypot(*instrument.position)
    if not _SMALLEST_DISH <= diameter <= _LARGEST_DISH:
        allowed = f"m, from {_SMALLEST_DISH:g} to {_LARGEST_DISH:g}"
        yield Contradiction("dish_diameter", f"{diameter:g} m is no dish", allowed)
    if not _LEAST_RADIUS <= radius <= _MOST_RADIUS:
        place = ", ".join(f"{one:.10g}" for one in instrument.position)
        what = f"[{place}] is {radius:.7g} m from the Earth's centre, not on its surface"
        allowed = "ITRF x, y, z in m; not longitude, latitude and height, and not km"
        yield Contradiction("position", what, allowed)


def _band(instrument: Instrument) -> Iterator[Contradiction]:
    lowest, width, channel = instrument.min_freq, instrument.bandwidth, instrument.channel_width
    if lowest < ranges.RECEIVED.low:
        yield _in_ghz("min_freq", lowest)
    elif instrument.f_low <= 0 or instrument.f_high > _MOST_EDGE_RATIO * instrument.f_low:
        what = f"{width:g} MHz from {lowest:g} MHz on is no band of a receiver"
        allowed = (
            f"MHz, as min_freq; the upper edge at most {_MOST_EDGE_RATIO:g} times the lower one"
        )
        yield Contradiction("bandwidth", what, allowed)
    in_ghz = f"MHz, as {1e3 * width:g} for {width:g} GHz"
    if width < _LEAST_FRACTION * instrument.f_centre:
        what = f"{width:g} MHz at {lowest:g} MHz is no band of a receiver"
        yield Contradiction("bandwidth", what, in_ghz)
    elif instrument.tsamp * channel * 1e6 < _LEAST_PRODUCT:
        what = (
            f"{width:g} MHz in {instrument.nchan} channels of {1e6 * channel:g} Hz cannot be"
            f" sampled every {instrument.tsamp:g} s (tsamp)"
        )
        allowed = f"{in_ghz}; a sample takes about 1 / channel width or longer"
        yield Contradiction("bandwidth", what, allowed)


def _in_ghz(key: str, value: float) -> Contradiction:
    """Return what is wrong with a frequency below all receivers."""
    allowed = f"MHz, from {ranges.RECEIVED.low:g}, as {1e3 * value:.10g} for {value:.10g} GHz"
    return Contradiction(key, f"{value:.10g} MHz is below the band of any receiver", allowed)


def _sampling(instrument: Instrument) -> Iterator[Contradiction]:
    tsamp = instrument.tsamp
    batch = tsamp * instrument.batch_length_samples
    if batch > _LONGEST_BATCH:
        what = (
            f"{tsamp:g} s: a batch of {instrument.batch_length_samples} samples takes {batch:g} s"
        )
        allowed = (
            f"s, not ms, as {tsamp / 1e3:g} for {tsamp:g} ms; a batch (batch_length_samples) of at"
            f" most {_LONGEST_BATCH:g} s"
        )
        yield Contradiction("tsamp", what, allowed)
    data = instrument.data_tsamp
    if data is not None and data > _MOST_COARSER * tsamp:
        what = f"{data:g} s, where the search has {tsamp:g} s (tsamp)"
        allowed = f"s, not ms, as {data / 1e3:g} for {data:g} ms"
        yield Contradiction("data_tsamp", what, allowed)


def _subbands(instrument: Instrument) -> Iterator[Contradiction]:
    """Yield what is wrong with synthesised beams, where there are any."""
    if instrument.n_sbs == 1:
        return
    n_subbands, nchan = instrument.n_subbands, instrument.nchan
    if nchan % n_subbands:
        what = f"{n_subbands} subbands of {nchan} channels (nchan)"
        yield Contradiction("n_subbands", what, "a divisor of nchan; n_sbs: 1 without them")
    if instrument.sb_table is None:
        for key, frequency in (
            ("sb_band_low", instrument.sb_band_low),
            ("sb_reference_freq", instrument.sb_reference_freq),
        ):
            if frequency < ranges.RECEIVED.low:
                yield _in_ghz(key, frequency)
