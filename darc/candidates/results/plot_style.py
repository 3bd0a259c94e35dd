"""How plots look, in PDF and on the web."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.colors import Colormap, is_color_like

from darc.candidates.results.candidate_file import StoredCandidate
from darc.config.settings_processor import ProcessorVisualizer
from darc.model.arrival import ArrivalReference
from darc.model.arrival_texts import arrival_text, milliseconds, sampling
from darc.model.processing_outcome import ProcessedCandidate
from darc.model.results import FrequencyRange

#: Fonts that come with matplotlib, embedded as TrueType: journals take no Type 3.
RC: Any = {
    "font.family": "DejaVu Sans",
    "pdf.fonttype": 42,
    "pdf.compression": 6,
    "axes.unicode_minus": True,
    "image.composite_image": False,
    "path.simplify": False,
}
GREY = "#5f6670"
INK = "#16191e"
#: Of a source or telescope, letters that are shown.
_NAME = 28
#: Channels without data: in no colour map in use.
MASKED = "#b4b8be"


@contextmanager
def own_style(more: Any = RC) -> Iterator[None]:
    """Draw as DARC does, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(more)
        yield


def check_style(settings: ProcessorVisualizer) -> None:
    """Look whether all colours and colour maps are known.

    :raises ValueError: some are not; the text names them
    """
    problems = [
        f"visualizer.{name}: {value!r} is no colour"
        for name in ("colour_extragal", "colour_gal", "colour_1dtime")
        if not is_color_like(value := getattr(settings, name))
    ]
    problems += [
        f"visualizer.{name}: {value!r} is no colour map"
        for name in ("cmap_freqtime", "cmap_dmtime")
        if (value := getattr(settings, name)) not in matplotlib.colormaps
    ]
    if problems:
        raise ValueError("\n".join(problems))


def is_extragalactic(candidate: ProcessedCandidate, dm_galaxy: float | None) -> bool:
    """Whether the DM is beyond the Milky Way's; not, if that is not known."""
    return dm_galaxy is not None and candidate.pulse.dm > dm_galaxy


def where_text(candidate: ProcessedCandidate, reference: ArrivalReference | None) -> str:
    """Beams, arrival time since the start, and width."""
    beams = f"CB{candidate.cb:02d} SB{candidate.pulse.beam:02d}"
    return f"{beams}   {candidate.measured.time:.4f} s   {width_text(candidate, reference)}"


def width_text(candidate: ProcessedCandidate, reference: ArrivalReference | None) -> str:
    """Width in ms and in samples."""
    width = candidate.measured.downsampling
    samples = f"{width} sample" if width == 1 else f"{width} samples"
    if reference is None:
        return samples
    return f"{milliseconds(reference.width_ms(width))} ms ({samples})"


def date_text(candidate: ProcessedCandidate, reference: ArrivalReference | None) -> str:
    """Arrival as UTC and as MJD; empty where it is not known when it was."""
    return arrival_text(reference, candidate.measured.time) if reference else ""


def source_text(reference: ArrivalReference | None) -> str:
    """Source and telescope; what is not known is left out."""
    names = (reference.source, reference.telescope) if reference else ()
    return "   ".join(printed(_shortened(name)) for name in names if name)


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}\N{HORIZONTAL ELLIPSIS}"


def band_text(reference: ArrivalReference | None, band: FrequencyRange | None) -> str:
    """Sampling and band, as far as they are known."""
    found = [f"sampling {sampling(reference.tsamp)}"] if reference else []
    if band is not None:
        found.append(f"{band.low:.7g}\N{EN DASH}{band.high:.7g} MHz")
    return "   ".join(found)


def printed(text: str) -> str:
    """A name as one line of letters that mean nothing to matplotlib."""
    letters = (letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return "".join(letters).replace("$", r"\$")


def reference_text(reference: ArrivalReference | None) -> str:
    """The frequency that arrival times belong to, and where they are measured."""
    return (
        f"{reference.frequency:.7g} MHz, {reference.frame}" if reference else "the highest channel"
    )


def frequency_limits(stored: StoredCandidate) -> tuple[float, float]:
    """Of the frequency axis: MHz, or rows where the band is not known."""
    band = stored.band
    return (band.low, band.high) if band else (0.0, float(len(stored.candidate.freq_time)))


def intensity_map(name: str) -> Colormap:
    """A colour map in which channels without data are grey."""
    return matplotlib.colormaps[name].with_extremes(bad=MASKED)
