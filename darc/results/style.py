"""How plots look, in PDF and on the web."""

from __future__ import annotations

from typing import Any

import matplotlib
from matplotlib.colors import is_color_like

from darc.model.processed import ProcessedCandidate
from darc.model.settings_processor import ProcessorVisualizer
from darc.results.candidate_file import StoredCandidate

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


def where_text(candidate: ProcessedCandidate, dm_galaxy: float | None) -> str:
    """Beams, width, arrival time, and how many times the Milky Way's the DM is."""
    measured, width = candidate.measured, candidate.measured.downsampling
    times = (
        f"   {candidate.pulse.dm / dm_galaxy:.1f} \N{MULTIPLICATION SIGN} MW" if dm_galaxy else ""
    )
    samples = f"{width} sample" if width == 1 else f"{width} samples"
    beams = f"CB{candidate.cb:02d} SB{candidate.pulse.beam:02d}"
    return f"{beams}   {measured.time:.3f} s   {samples}{times}"


def frequency_limits(stored: StoredCandidate) -> tuple[float, float]:
    """Of the frequency axis: MHz, or rows where the band is not known."""
    band = stored.band
    return (band.low, band.high) if band else (0.0, float(len(stored.candidate.freq_time)))
