"""Figures as PDF and PNG, written atomically; made without pyplot, which has global state."""

from __future__ import annotations

import io
import logging
from pathlib import Path

from matplotlib.figure import Figure

from darc.runtime.paths import write_whole
from darc.science.arrays import Doubles

# It logs many lines for each embedded font.
logging.getLogger("fontTools").setLevel(logging.WARNING)


def band_edges(frequencies: Doubles) -> tuple[float, float]:
    """Return the limits of channels with these centres, ascending (MHz)."""
    half = (frequencies[-1] - frequencies[0]) / max(len(frequencies) - 1, 1) / 2 or 0.5
    return float(frequencies[0] - half), float(frequencies[-1] + half)


def write_figure(figure: Figure, base: Path) -> list[Path]:
    """Write a figure as PDF and PNG.

    :param base: path without its suffix
    :return: the files
    :raises OSError: a file cannot be written
    """
    written = []
    for suffix in ("pdf", "png"):
        memory = io.BytesIO()
        figure.savefig(memory, format=suffix, dpi=110)
        path = base.with_name(f"{base.name}.{suffix}")
        write_whole(path, memory.getvalue())
        written.append(path)
    return written
