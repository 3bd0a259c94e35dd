"""Style of plots, in PDF and on web pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.colors import Colormap, is_color_like

from darc.config.settings import ProcessorVisualizer
from darc.model.arrival import ArrivalReference
from darc.model.arrival_texts import milliseconds, sampling
from darc.model.processing_outcome import FrequencyRange, ProcessedCandidate

#: Fonts included in matplotlib, embedded as TrueType: journals reject Type 3.
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
#: Maximum length of a source's or telescope's name, characters.
_NAME = 28
#: Colour of channels without data, which no colour map contains.
MASKED = "#b4b8be"


@contextmanager
def own_style(more: Any = RC) -> Iterator[None]:
    """Use DARC's plot style, whatever the user's matplotlibrc."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(more)
        yield


def check_style(settings: ProcessorVisualizer) -> None:
    """Check that all colours and colour maps are known.

    :raises ValueError: a colour or colour map is unknown; the text names it
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
    """Whether the DM exceeds the Milky Way's maximum; False if that is unknown.

    :param dm_galaxy: maximum DM of the Milky Way, pc cm-3; None: unknown
    """
    return dm_galaxy is not None and candidate.pulse.dm > dm_galaxy


def where_text(candidate: ProcessedCandidate, reference: ArrivalReference) -> str:
    """Return beams, arrival time since the start, and width."""
    beams = f"CB{candidate.cb:02d} SB{candidate.pulse.beam:02d}"
    return f"{beams}   {candidate.measured.time:.4f} s   {width_text(candidate, reference)}"


def width_text(candidate: ProcessedCandidate, reference: ArrivalReference) -> str:
    """Return the width in ms and in samples."""
    width = candidate.measured.downsampling
    samples = f"{width} sample" if width == 1 else f"{width} samples"
    return f"{milliseconds(reference.width_ms(width))} ms ({samples})"


def source_text(reference: ArrivalReference) -> str:
    """Return source and telescope, as far as known."""
    names = reference.source, reference.telescope
    return "   ".join(printed(_shortened(name)) for name in names if name)


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}\N{HORIZONTAL ELLIPSIS}"


def band_text(reference: ArrivalReference, band: FrequencyRange | None) -> str:
    """Return sampling time and, if it is known, the band."""
    found = f"sampling {sampling(reference.tsamp)}"
    return f"{found}   {band.low:.7g}\N{EN DASH}{band.high:.7g} MHz" if band else found


def printed(text: str) -> str:
    """Return a name as one line without characters that are special to matplotlib."""
    letters = (letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return "".join(letters).replace("$", r"\$")


def reference_text(reference: ArrivalReference) -> str:
    """Return the reference frequency and frame of arrival times."""
    return f"{reference.frequency:.7g} MHz, {reference.frame}"


def frequency_limits(candidate: ProcessedCandidate) -> tuple[float, float]:
    """Return the limits of the frequency axis: MHz, or rows if the band is unknown."""
    band = candidate.band
    return (band.low, band.high) if band else (0.0, float(len(candidate.freq_time)))


def intensity_map(name: str) -> Colormap:
    """Return a colour map in which channels without data are grey."""
    return matplotlib.colormaps[name].with_extremes(bad=MASKED)
