"""Figures as PDF and PNG, written atomically; made without pyplot, which has global state."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from darc.candidates.results.plot_style import RC
from darc.runtime.paths import write_whole

# It logs many lines for each embedded font.
logging.getLogger("fontTools").setLevel(logging.WARNING)

#: Style of all figures, for own_style.
STYLE: Any = RC


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
