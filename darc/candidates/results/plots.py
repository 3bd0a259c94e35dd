"""Plots of candidates as PDF: n by n on a page, one page per type of plot.

Figures are made without pyplot, which has global state. Creating axes takes most of the time: a
page is created once for each type, and reused.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.backends.backend_pdf import PdfPages

from darc.candidates.results.candidate_file import CandidateFileError, read_candidate, read_rank
from darc.candidates.results.plot_arrays import drawn
from darc.candidates.results.plot_page import PlotPage, empty_page
from darc.candidates.results.plot_style import check_style, own_style
from darc.config.settings import ProcessorVisualizer
from darc.model.arrival import ArrivalReference
from darc.runtime.paths import write_whole


def write_plots(
    path: Path,
    candidates: Sequence[Path],
    settings: ProcessorVisualizer,
    dm_galaxy: float | None,
    reference: ArrivalReference,
    advance: Callable[[], None] = lambda: None,
) -> list[str]:
    """Write plots of candidates, the most probable first, then by S/N.

    Each group of n by n candidates has a page for each of the settings' plot types. Without
    candidates there is one page that says so. At most one group is in memory.

    :param path: the PDF
    :param candidates: HDF5 files
    :param dm_galaxy: maximum DM of the Milky Way, pc cm-3; None: unknown
    :param advance: called for each candidate that is plotted
    :return: files that cannot be read, and why
    :raises ValueError: the settings name an unknown colour or colour map
    :raises OSError: the PDF cannot be written
    """
    check_style(settings)
    ranked, left_out = _ranked(candidates)
    per_page = settings.nplot_per_side**2
    memory = io.BytesIO()
    with own_style(), PdfPages(memory, metadata={"Title": path.stem, "Creator": "DARC"}) as pdf:
        sheets = [
            PlotPage(kind, settings, dm_galaxy, path.stem, reference)
            for kind in settings.plot_types
            if ranked
        ]
        for begin in range(0, len(ranked), per_page):
            group = []
            for file in ranked[begin : begin + per_page]:
                try:
                    candidate = read_candidate(file)
                    group.append((candidate, drawn(candidate, settings)))
                except (CandidateFileError, OSError) as error:
                    left_out.append(str(error))
            for sheet in sheets:
                sheet.fill(group, begin, len(ranked))
                pdf.savefig(sheet.figure)
            for _ in group:
                advance()
        if not sheets:
            pdf.savefig(empty_page(settings, path.stem, left_out))
    write_whole(path, memory.getvalue())
    return left_out


def _ranked(candidates: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the files that can be read, the most probable first, then by S/N; and the others."""
    ranked: list[tuple[float, float, str, Path]] = []
    left_out: list[str] = []
    for file in candidates:
        try:
            probability, snr = read_rank(file)
            ranked.append((-probability, -snr, file.name, file))
        except (CandidateFileError, OSError) as error:
            left_out.append(str(error))
    return [file for *_, file in sorted(ranked)], left_out
