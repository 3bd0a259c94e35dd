"""A page of n by n plots of one type."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from darc.model.settings_processor import ProcessorVisualizer
from darc.results.arrays import Drawn, limits, profile_limits
from darc.results.axes import Ticks
from darc.results.candidate_file import StoredCandidate
from darc.results.style import GREY, INK, frequency_limits, is_extragalactic, where_text

Entry = tuple[StoredCandidate, Drawn]

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
_X_LABEL = "Time from arrival at the top of the band (ms)"
#: Widths of borders, points: colour is never alone.
_BEYOND, _WITHIN = 3.0, 1.5
#: Pixels are repeated, as some viewers blur what has few. All images of a PDF are in memory until
#: it is closed: for a thousand candidates, 25 MB times the square of this.
_REPEAT = 2


class Sheet:
    """A page that is filled again and again.

    :param kind: freq_time, dm_time or 1d_time
    :param title: at the top
    """

    def __init__(
        self, kind: str, settings: ProcessorVisualizer, dm_galaxy: float | None, title: str
    ) -> None:
        self._kind = kind
        self._settings = settings
        self._dm_galaxy = dm_galaxy
        n, size = settings.nplot_per_side, settings.figsize
        self.figure = Figure(figsize=(size, size))
        # Of a plot, in inches: sizes of letters do not depend on how many there are.
        self._scale = min(1.25, max(0.3, size / n / 3))
        self._head(title)
        grid = self.figure.add_gridspec(
            n, n, left=0.058, right=0.974, bottom=0.05, top=0.915, wspace=0.27, hspace=0.4
        )
        self._cells = [
            _Cell(self.figure.add_subplot(grid[i, j]), self) for i in range(n) for j in range(n)
        ]

    def _head(self, title: str) -> None:
        text, page = self.figure.text, self._settings.figsize / 15
        text(0.012, 0.985, title, size=20 * page, weight="bold", va="top", color=INK)
        text(0.012, 0.962, _TITLES[self._kind], size=13 * page, va="top", color=GREY)
        self._counter = text(0.988, 0.962, "", size=13 * page, va="top", ha="right", color=GREY)
        text(0.52, 0.01, _X_LABEL, size=12 * page, ha="center", va="bottom", color=INK)
        text(
            0.008, 0.48, _Y_LABELS[self._kind], size=12 * page, va="center", rotation=90, color=INK
        )
        self._legend(page)

    def _legend(self, page: float) -> None:
        settings, galaxy = self._settings, self._dm_galaxy
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

    @property
    def scale(self) -> float:
        return self._scale

    @property
    def kind(self) -> str:
        return self._kind

    @property
    def settings(self) -> ProcessorVisualizer:
        return self._settings

    @property
    def dm_galaxy(self) -> float | None:
        return self._dm_galaxy

    def fill(self, entries: Sequence[Entry], before: int, total: int) -> None:
        """Show some candidates, of all that there are.

        :param entries: at most as many as there are plots
        :param before: candidates on the pages before
        """
        self._counter.set_text(f"{before + 1}\N{EN DASH}{before + len(entries)} of {total}")
        for number, cell in enumerate(self._cells):
            if number < len(entries):
                cell.show(*entries[number], before + number + 1)
            else:
                cell.hide()


class _Cell:
    """One plot."""

    def __init__(self, axes: Axes, sheet: Sheet) -> None:
        self._axes = axes
        self._sheet = sheet
        settings, scale = sheet.settings, sheet.scale
        self._ticks = Ticks(axes, 7.5 * scale, INK)
        self._first, self._second = (
            axes.text(
                0, y, "", transform=axes.transAxes, size=size * scale, weight=weight, color=colour
            )
            for y, size, weight, colour in ((1.105, 8.6, "bold", INK), (1.03, 7, "normal", GREY))
        )
        if sheet.kind == "1d_time":
            axes.axhline(0, color="0.8", lw=0.8, zorder=0)
            (self._line,) = axes.plot([], [], color=settings.colour_1dtime, lw=1, ds="steps-mid")
            return
        cmap = settings.cmap_dmtime if sheet.kind == "dm_time" else settings.cmap_freqtime
        self._image = axes.imshow(
            np.zeros((2, 2)), aspect="auto", origin="lower", interpolation="none", cmap=cmap
        )

    def hide(self) -> None:
        self._axes.set_visible(False)

    def show(self, stored: StoredCandidate, arrays: Drawn, number: int) -> None:
        axes, sheet, candidate = self._axes, self._sheet, stored.candidate
        axes.set_visible(True)
        far = is_extragalactic(candidate, sheet.dm_galaxy)
        colour = sheet.settings.colour_extragal if far else sheet.settings.colour_gal
        for spine in axes.spines.values():
            spine.set(color=colour, linewidth=_BEYOND if far else _WITHIN)
        score = f"P {candidate.score.freq_time:.2f}   S/N {candidate.measured.snr:.1f}"
        self._first.set_text(f"{number}   {score}   DM {candidate.pulse.dm:.1f}")
        self._second.set_text(where_text(candidate, sheet.dm_galaxy))
        if sheet.kind == "1d_time":
            self._line.set_data(arrays.bin_centres, arrays.profile)
            self._ticks.set(arrays.times, profile_limits(arrays.profile))
            return
        is_dm = sheet.kind == "dm_time"
        data = arrays.dm_time if is_dm else arrays.freq_time
        vertical = arrays.dms if is_dm else frequency_limits(stored)
        self._image.set_data(np.kron(data, np.ones((_REPEAT, _REPEAT), dtype=np.float32)))
        self._image.set(extent=(*arrays.times, *vertical), clim=limits(data))
        self._ticks.set(arrays.times, vertical)


def empty_page(settings: ProcessorVisualizer, title: str, left_out: Sequence[str]) -> Figure:
    """A page for where there is nothing to show."""
    size = settings.figsize
    figure = Figure(figsize=(size, size))
    figure.text(0.5, 0.56, title, size=20 * size / 15, weight="bold", ha="center", color=INK)
    what = f"None of {len(left_out)} candidates can be read" if left_out else "No candidates"
    figure.text(0.5, 0.52, what, size=15 * size / 15, ha="center", color=GREY)
    return figure
