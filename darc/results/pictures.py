"""A picture of a candidate for the web: profile, frequency-time, DM-time and numbers, as PNG."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from darc.model.processed import ProcessedCandidate
from darc.model.results import FrequencyRange
from darc.model.settings_processor import ProcessorVisualizer
from darc.node.files import write_whole
from darc.results.arrays import Drawn, Sizes, drawn, limits, profile_limits
from darc.results.axes import Ticks
from darc.results.candidate_file import StoredCandidate
from darc.results.style import (
    GREY,
    INK,
    check_style,
    frequency_limits,
    is_extragalactic,
    where_text,
)

#: Pixels.
WIDTH, HEIGHT = 720, 450
_DPI = 100
_LETTERS = 8.5  # points


def write_picture(
    path: Path,
    candidate: ProcessedCandidate,
    settings: ProcessorVisualizer,
    dm_galaxy: float | None = None,
    band: FrequencyRange | None = None,
) -> None:
    """Write the picture of one candidate; of many, `Pictures` is faster.

    :param dm_galaxy: maximum DM of the Milky Way, pc cm-3; None: not known
    :raises ValueError: the settings name a colour or a colour map that there is not
    :raises OSError: it cannot be written
    """
    Pictures(settings, dm_galaxy).write(path, candidate, band)


class Pictures:
    """Draws pictures, one after the other, by one thread.

    :param dm_galaxy: likewise
    :raises ValueError: likewise
    """

    def __init__(self, settings: ProcessorVisualizer, dm_galaxy: float | None = None) -> None:
        check_style(settings)
        self._settings = settings
        self._dm_galaxy = dm_galaxy
        self._sizes = Sizes(settings.nfreq, settings.ntime, settings.ndm)
        self._figure = Figure(figsize=(WIDTH / _DPI, HEIGHT / _DPI), dpi=_DPI)
        self._canvas = FigureCanvasAgg(self._figure)
        self._profile = self._axes(0.085, 0.725, 0.4, 0.25)
        self._freq_time = self._axes(0.085, 0.12, 0.4, 0.585)
        self._dm_time = self._axes(0.585, 0.12, 0.4, 0.585)
        self._ticks = [
            Ticks(self._profile, _LETTERS, INK, (4, 3)),
            Ticks(self._freq_time, _LETTERS, INK),
            Ticks(self._dm_time, _LETTERS, INK),
        ]
        self._profile.axhline(0, color="0.8", lw=0.8, zorder=0)
        colour = settings.colour_1dtime
        (self._line,) = self._profile.plot([], [], color=colour, lw=1.2, ds="steps-mid")
        self._images = (
            _image(self._freq_time, settings.cmap_freqtime),
            _image(self._dm_time, settings.cmap_dmtime),
        )
        self._write_labels()

    def _axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        return self._figure.add_axes((left, bottom, width, height))

    def _write_labels(self) -> None:
        text = self._figure.text
        self._frequency = text(0.012, 0.41, "", size=_LETTERS, rotation=90, va="center", color=INK)
        text(0.012, 0.85, "S/N per bin", size=_LETTERS, rotation=90, va="center", color=INK)
        dm = "DM (pc cm$^{-3}$)"
        text(0.512, 0.41, dm, size=_LETTERS, rotation=90, va="center", color=INK)
        for x in (0.285, 0.785):
            text(x, 0.012, "Time from arrival (ms)", size=_LETTERS, ha="center", color=INK)
        self._headline = text(0.512, 0.972, "", size=15, weight="bold", va="top", color=INK)
        self._more = text(0.512, 0.88, "", size=9.5, va="top", color=INK, linespacing=1.5)
        self._where = text(0.512, 0.745, "", size=_LETTERS, va="top", color=GREY)

    def write(
        self, path: Path, candidate: ProcessedCandidate, band: FrequencyRange | None = None
    ) -> None:
        """Write the picture of a candidate, of some 30 kB; whole or not at all.

        :raises OSError: it cannot be written
        """
        self._fill(StoredCandidate(candidate, band), drawn(candidate, self._sizes))
        self._canvas.draw()  # type: ignore[no-untyped-call]
        buffer = self._canvas.buffer_rgba()  # type: ignore[no-untyped-call]
        pixels = np.asarray(buffer)[:, :, :3]
        image = Image.fromarray(np.ascontiguousarray(pixels))
        memory = io.BytesIO()
        # 256 colours are enough for a colour map and black, and half the bytes.
        image.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
            memory, "PNG", compress_level=6
        )
        write_whole(path, memory.getvalue())

    def _fill(self, stored: StoredCandidate, arrays: Drawn) -> None:
        candidate, settings, times = stored.candidate, self._settings, arrays.times
        far = is_extragalactic(candidate, self._dm_galaxy)
        for axes in (self._profile, self._freq_time, self._dm_time):
            for spine in axes.spines.values():
                spine.set(
                    color=settings.colour_extragal if far else settings.colour_gal,
                    linewidth=2.4 if far else 1.2,
                )
        self._line.set_data(arrays.bin_centres, arrays.profile)
        vertical = frequency_limits(stored)
        self._frequency.set_text("Frequency (MHz)" if stored.band else "Frequency (row)")
        for ticks, limit in zip(
            self._ticks, (profile_limits(arrays.profile), vertical, arrays.dms), strict=True
        ):
            ticks.set(times, limit)
        self._ticks[0].hide_x()
        for image, data, limit in zip(
            self._images, (arrays.freq_time, arrays.dm_time), (vertical, arrays.dms), strict=True
        ):
            image.set_data(data)
            image.set(extent=(*times, *limit), clim=limits(data))
        self._write_numbers(candidate, far)

    def _write_numbers(self, candidate: ProcessedCandidate, far: bool) -> None:
        measured, score = candidate.measured, candidate.score
        self._headline.set_text(f"S/N {measured.snr:.1f}   DM {candidate.pulse.dm:.1f}")
        galaxy = "not known"
        if self._dm_galaxy is not None:
            galaxy = f"{self._dm_galaxy:.1f} ({'beyond' if far else 'within'})"
        self._more.set_text(
            f"P {score.freq_time:.2f} by frequency, {score.dm_time:.2f} by DM\n"
            f"Milky Way's maximum DM: {galaxy}"
        )
        self._where.set_text(where_text(candidate, None))


def _image(axes: Axes, cmap: str) -> AxesImage:
    return axes.imshow(
        np.zeros((2, 2)), aspect="auto", origin="lower", interpolation="nearest", cmap=cmap
    )
