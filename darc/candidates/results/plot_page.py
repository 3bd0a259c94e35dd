"""Page of n by n plots of one type."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from darc.candidates.results.plot_arrays import PlotArrays, limits, masked_text, profile_limits
from darc.candidates.results.plot_axes import MINUS, ColourBar, Ticks, fit, write
from darc.candidates.results.plot_style import (
    GREY,
    INK,
    band_text,
    frequency_limits,
    intensity_map,
    is_extragalactic,
    printed,
    reference_text,
    source_text,
    where_text,
)
from darc.config.settings import ProcessorVisualizer
from darc.model.arrival import ArrivalReference
from darc.model.arrival_texts import arrival_text
from darc.model.processing_outcome import ProcessedCandidate

Entry = tuple[ProcessedCandidate, PlotArrays]

_TITLES = {
    "freq_time": "Frequency and time",
    "dm_time": "DM and time",
    "1d_time": "Profile",
}
_Y_LABELS = {
    "freq_time": "Frequency (MHz)",
    "dm_time": "DM (pc cm$^{-3}$)",
    "1d_time": "S/N per bin",
}
#: Description of the colour bars, by plot type.
_COLOURS = {
    "freq_time": "Colours: above the channel's median, in units of the data",
    "dm_time": "Colours: S/N per bin",
    "1d_time": "",
}
#: Widths of borders, points: DMs beyond and within the Milky Way also differ in width, not only in
#: colour.
_BEYOND, _WITHIN = 3.0, 1.5
#: Factor by which pixels are repeated, as some viewers blur small images. All images of a PDF stay
#: in memory until it is closed: 25 MB times the square of this for a thousand candidates.
_REPEAT = 2
#: Area of the plots on a page, relative to the page.
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.022, 0.996, 0.03, 0.936
#: Margins of a plot: left, right, above and below, points at scale 1.
_AROUND = (42.0, 27.0, 38.0, 17.0)
#: Lines above a plot: height, weight and colour.
_HEADING = ((25.5, "bold", INK), (15.5, "normal", GREY), (6.5, "normal", GREY))


class PlotPage:
    """Page that is reused for several groups of candidates.

    :param kind: freq_time, dm_time or 1d_time
    :param dm_galaxy: maximum DM of the Milky Way, pc cm-3; None: unknown
    """

    def __init__(
        self,
        kind: str,
        settings: ProcessorVisualizer,
        dm_galaxy: float | None,
        title: str,
        reference: ArrivalReference,
    ) -> None:
        self.kind = kind
        self.reference = reference
        self.settings = settings
        self.dm_galaxy = dm_galaxy
        n, size = settings.nplot_per_side, settings.figsize
        self.figure = Figure(figsize=(size, size))
        #: Size of text and lines, by that of a plot in inches: it does not depend on their number.
        self.scale = min(1.25, max(0.3, size / n / 3))
        self._head(title)
        # Made when they are first needed: most observations have less than a page of candidates.
        self._cells: list[_Cell] = []

    def _place(self, number: int) -> tuple[float, float, float, float]:
        """Return left, bottom, width and height of a plot, relative to the page."""
        row, column = divmod(number, self.settings.nplot_per_side)
        page = self.points
        left, right, above, below = (size * self.scale / page for size in _AROUND)
        across, up = self.pitch / page, (_TOP - _BOTTOM) / self.settings.nplot_per_side
        bottom = _TOP - (row + 1) * up + below
        return _LEFT + column * across + left, bottom, across - left - right, up - above - below

    @property
    def points(self) -> float:
        """Width of the page, points."""
        return 72 * self.settings.figsize

    @property
    def pitch(self) -> float:
        """Distance between neighbouring plots, points."""
        return (_RIGHT - _LEFT) / self.settings.nplot_per_side * self.points

    def _head(self, title: str) -> None:
        text, page, width = self.figure.text, self.settings.figsize / 15, self.points
        heading = text(0.012, 0.985, "", weight="bold", va="top", color=INK)
        fit(heading, printed(title), 20 * page, 0.45 * width)
        text(0.012, 0.963, _TITLES[self.kind], size=13 * page, va="top", color=GREY)
        self._counter = text(0.988, 0.963, "", size=13 * page, va="top", ha="right", color=GREY)
        self._recorded = text(0.012, 0.948, "", va="top", color=GREY)
        self._x_label = text(0.52, 0.008, "", ha="center", va="bottom", color=INK)
        text(0.008, 0.48, _Y_LABELS[self.kind], size=12 * page, va="center", rotation=90, color=INK)
        self._masked = text(0.012, 0.008, "", size=10 * page, va="bottom", color=GREY)
        colours = text(0.988, 0.008, "", va="bottom", ha="right", color=GREY)
        fit(colours, _COLOURS[self.kind], 10 * page, 0.3 * width)
        self._legend(page)

    def _legend(self, page: float) -> None:
        settings, galaxy = self.settings, self.dm_galaxy
        if galaxy is None:
            known = [(settings.colour_gal, _WITHIN, "the Milky Way's maximum DM is not known here")]
        else:
            known = [
                (settings.colour_extragal, _BEYOND, f"beyond the Milky Way: DM > {galaxy:.1f}"),
                (settings.colour_gal, _WITHIN, f"within: DM ≤ {galaxy:.1f} pc cm$^{{-3}}$"),
            ]
        self.figure.legend(
            handles=[Line2D([], [], color=colour, lw=width) for colour, width, _ in known],
            labels=[label for _, _, label in known],
            loc="upper right",
            bbox_to_anchor=(0.993, 0.992),
            ncols=len(known),
            fontsize=12 * page,
            frameon=False,
            borderaxespad=0.0,
            handlelength=1.6,
        )

    def fill(self, entries: Sequence[Entry], before: int, total: int) -> None:
        """Show some of all candidates.

        :param entries: at most as many as there are plots
        :param before: number of candidates on the preceding pages
        :param total: number of all candidates
        """
        self._counter.set_text(f"{before + 1}\N{EN DASH}{before + len(entries)} of {total}")
        page = self.settings.figsize / 15
        # All are of one beam.
        band = entries[0][0].band if entries else None
        reference = self.reference
        said = "   ".join(filter(None, (source_text(reference), band_text(reference, band))))
        fit(self._recorded, said, 11 * page, 0.97 * self.points)
        when = f"Time (ms) from arrival at {reference_text(reference)}"
        fit(self._x_label, when, 12 * page, 0.4 * self.points)
        grey = [masked_text(arrays) for _, arrays in entries if self.kind == "freq_time"]
        self._masked.set_text(max(grey, default=""))
        for number in range(len(self._cells), len(entries)):
            self._cells.append(_Cell(self.figure, self._place(number), self))
        for number, cell in enumerate(self._cells):
            if number < len(entries):
                cell.show(*entries[number], before + number + 1)
            else:
                cell.hide()


class _Cell:
    """Single plot."""

    def __init__(
        self, figure: Figure, place: tuple[float, float, float, float], sheet: PlotPage
    ) -> None:
        self._axes = axes = figure.add_axes(place)
        self._sheet = sheet
        settings, scale = sheet.settings, sheet.scale
        self._ticks = Ticks(axes, 7.5 * scale)
        across, up = place[2] * sheet.points, place[3] * sheet.points
        self._lines = [
            write(
                axes, -_AROUND[0] * 0.9 * scale / across, 1 + above * scale / up,
                transform=axes.transAxes, weight=weight, color=colour,
            )
            for above, weight, colour in _HEADING
        ]  # fmt: skip
        self._common = write(
            axes, -14 * scale / across, -6 * scale / up,
            transform=axes.transAxes, ha="right", va="top", color=INK,
        )  # fmt: skip
        if sheet.kind == "1d_time":
            axes.axhline(0, color="0.8", lw=0.8, zorder=0)
            (self._line,) = axes.plot([], [], color=settings.colour_1dtime, lw=1, ds="steps-mid")
            return
        cmap = settings.cmap_dmtime if sheet.kind == "dm_time" else settings.cmap_freqtime
        self._image = axes.imshow(
            np.zeros((2, 2)),
            aspect="auto",
            origin="lower",
            interpolation="none",
            cmap=intensity_map(cmap),
        )
        self._bar = ColourBar(axes, self._image, 6.5 * scale, "")

    def hide(self) -> None:
        self._axes.set_visible(False)

    def show(self, candidate: ProcessedCandidate, arrays: PlotArrays, number: int) -> None:
        axes, sheet = self._axes, self._sheet
        axes.set_visible(True)
        far = is_extragalactic(candidate, sheet.dm_galaxy)
        colour = sheet.settings.colour_extragal if far else sheet.settings.colour_gal
        for spine in axes.spines.values():
            spine.set(color=colour, linewidth=_BEYOND if far else _WITHIN)
        score = f"P {candidate.score.freq_time:.2f}   S/N {candidate.measured.snr:.1f}"
        times = ""
        if sheet.dm_galaxy:
            times = f" ({candidate.pulse.dm / sheet.dm_galaxy:.1f} \N{MULTIPLICATION SIGN} MW)"
        words = (
            f"{number}   {score}   DM {candidate.pulse.dm:.2f}{times}",
            where_text(candidate, sheet.reference),
            arrival_text(sheet.reference, candidate.measured.time),
        )
        scale, width = sheet.scale, sheet.pitch - 16 * sheet.scale
        for text, line, size in zip(self._lines, words, (8.4, 7.0, 7.0), strict=True):
            fit(text, line, size * scale, width)
        if sheet.kind == "1d_time":
            self._line.set_data(arrays.bin_centres, arrays.profile)
            self._ticks.set(arrays.times, profile_limits(arrays.profile))
            return
        is_dm = sheet.kind == "dm_time"
        data = arrays.dm_time if is_dm else arrays.freq_time
        vertical = arrays.dms if is_dm else frequency_limits(candidate)
        colours = limits(data)
        self._image.set_data(np.kron(data, np.ones((_REPEAT, _REPEAT), dtype=np.float32)))
        self._image.set(extent=(*arrays.times, *vertical), clim=colours)
        self._bar.set(colours)
        self._ticks.set(arrays.times, vertical)
        fit(self._common, _added(self._ticks.common), 7 * scale, 28 * scale)


def _added(common: float) -> str:
    """Return the text of an axis's common part, with its sign; empty if it is 0."""
    return f"{common:+.9g}".replace("-", MINUS) if common else ""


def empty_page(settings: ProcessorVisualizer, title: str, left_out: Sequence[str]) -> Figure:
    """Return the page for an observation without candidates."""
    size = settings.figsize
    figure = Figure(figsize=(size, size))
    figure.text(0.5, 0.56, title, size=20 * size / 15, weight="bold", ha="center", color=INK)
    what = f"None of {len(left_out)} candidates can be read" if left_out else "No candidates"
    figure.text(0.5, 0.52, what, size=15 * size / 15, ha="center", color=GREY)
    return figure
