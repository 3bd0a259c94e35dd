"""Picture of a candidate for web pages (PNG): profile, frequency-time, DM-time and numbers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from PIL import Image

from darc.candidates.results.plot_arrays import (
    drawn,
    limits,
    masked_text,
    profile_limits,
)
from darc.candidates.results.plot_axes import ColourBar, Ticks, common_text, fit
from darc.candidates.results.plot_style import (
    GREY,
    INK,
    band_text,
    check_style,
    frequency_limits,
    intensity_map,
    is_extragalactic,
    own_style,
    reference_text,
    source_text,
    where_text,
)
from darc.config.settings import ProcessorVisualizer
from darc.model.arrival import ArrivalReference
from darc.model.arrival_texts import arrival_text
from darc.model.processing_outcome import ProcessedCandidate
from darc.runtime.paths import write_whole

#: Size, pixels.
WIDTH, HEIGHT = 720, 450
_DPI = 100
_LETTERS, _SMALL = 8.0, 7.5  # points
#: Positions of the axes, with space for labels, numbers of six characters, and a colour bar.
_LEFT, _RIGHT, _WIDE = 0.1, 0.596, 0.355
#: Number of text lines that differ between candidates; the others are mostly the same.
_OWN_LINES = 3
#: Text beside the profile: left edge, and width in points.
_TEXT, _TEXT_POINTS = 0.512, 242.0


class Pictures:
    """Drawing of pictures one by one; not thread-safe.

    Common parts, such as most text, are drawn once.

    :param dm_galaxy: maximum DM of the Milky Way, pc cm-3; None: unknown
    :raises ValueError: the settings name an unknown colour or colour map
    """

    def __init__(
        self,
        settings: ProcessorVisualizer,
        dm_galaxy: float | None,
        reference: ArrivalReference,
    ) -> None:
        check_style(settings)
        self._reference = reference
        self._settings = settings
        self._dm_galaxy = dm_galaxy
        with own_style({}):
            self._make(settings)

    def _make(self, settings: ProcessorVisualizer) -> None:
        self._figure = Figure(figsize=(WIDTH / _DPI, HEIGHT / _DPI), dpi=_DPI)
        self._canvas = FigureCanvasAgg(self._figure)
        self._profile = self._axes(_LEFT, 0.725, 0.25)
        self._freq_time = self._axes(_LEFT, 0.12, 0.585)
        self._dm_time = self._axes(_RIGHT, 0.12, 0.5)
        self._ticks = [
            Ticks(self._profile, _LETTERS, (4, 3)),
            Ticks(self._freq_time, _LETTERS),
            Ticks(self._dm_time, _LETTERS),
        ]
        zero = self._profile.axhline(0, color="0.8", lw=0.8)
        colour = settings.colour_1dtime
        (self._line,) = self._profile.plot([], [], color=colour, lw=1.2, ds="steps-mid")
        self._images = (
            _image(self._freq_time, settings.cmap_freqtime),
            _image(self._dm_time, settings.cmap_dmtime),
        )
        self._bars = [
            ColourBar(image.axes, image, _SMALL, unit)
            for image, unit in zip(
                self._images, ("above the median (data units)", "S/N per bin"), strict=True
            )
        ]
        self._write_labels()
        spines = [
            spine
            for axes in (self._profile, self._freq_time, self._dm_time)
            for spine in axes.spines.values()
        ]
        #: Artists that change, in the order of drawing.
        self._changing: list[Artist] = [*self._images, zero, self._line, *spines]
        for ticks in self._ticks:
            self._changing += ticks.changing
        for bar in self._bars:
            self._changing += bar.changing
        self._changing += [self._headline, *self._lines[:_OWN_LINES]]
        for artist in self._changing:
            artist.set_animated(True)
        self._common: tuple[tuple[str, ...], Any] = ((), None)

    def _draw(self) -> None:
        """Draw the current candidate."""
        words = tuple(text.get_text() for text in self._shared)
        if self._common[1] is None or self._common[0] != words:
            self._canvas.draw()  # type: ignore[no-untyped-call]
            self._common = words, self._canvas.copy_from_bbox(self._figure.bbox)  # type: ignore[no-untyped-call]
        self._canvas.restore_region(self._common[1])  # type: ignore[no-untyped-call]
        renderer = self._canvas.get_renderer()  # type: ignore[no-untyped-call]
        for artist in self._changing:
            artist.draw(renderer)

    def _axes(self, left: float, bottom: float, height: float) -> Axes:
        return self._figure.add_axes((left, bottom, _WIDE, height))

    def _write_labels(self) -> None:
        def upright(x: float, y: float) -> Text:
            return self._figure.text(x, y, "", size=_LETTERS, rotation=90, va="center", color=INK)

        text = self._figure.text
        self._frequency, self._dm = upright(0.01, 0.41), upright(_TEXT, 0.37)
        upright(0.01, 0.85).set_text("S/N per bin")
        for x in (_LEFT + _WIDE / 2, _RIGHT + _WIDE / 2):
            text(x, 0.012, "Time from arrival (ms)", size=_LETTERS, ha="center", color=INK)
        self._masked = text(0.01, 0.012, "", size=_SMALL, color=GREY)
        self._headline = text(_TEXT, 0.98, "", size=14, weight="bold", va="top", color=INK)
        self._lines = [
            text(_TEXT, 0.908 - 0.039 * number, "", va="top", color=GREY if number > 3 else INK)
            for number in range(7)
        ]
        self._shared = [self._frequency, self._dm, self._masked, *self._lines[_OWN_LINES:]]

    def write(self, path: Path, candidate: ProcessedCandidate) -> None:
        """Write the picture of a candidate, about 30 kB, atomically.

        :raises OSError: the file cannot be written
        """
        with own_style({}):
            self.fill(candidate)
            self._draw()
        buffer = self._canvas.buffer_rgba()  # type: ignore[no-untyped-call]
        pixels = np.asarray(buffer)[:, :, :3]
        image = Image.fromarray(np.ascontiguousarray(pixels))
        memory = io.BytesIO()
        # 256 colours suffice for a colour map and black, and halve the size.
        image.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
            memory, "PNG", compress_level=6
        )
        write_whole(path, memory.getvalue())

    @property
    def figure(self) -> Figure:
        """Figure with the current candidate."""
        return self._figure

    def fill(self, candidate: ProcessedCandidate) -> None:
        """Set the candidate to draw."""
        settings = self._settings
        arrays = drawn(candidate, settings)
        times = arrays.times
        far = is_extragalactic(candidate, self._dm_galaxy)
        for axes in (self._profile, self._freq_time, self._dm_time):
            for spine in axes.spines.values():
                spine.set(
                    color=settings.colour_extragal if far else settings.colour_gal,
                    linewidth=2.4 if far else 1.2,
                )
        self._line.set_data(arrays.bin_centres, arrays.profile)
        vertical = frequency_limits(candidate)
        for ticks, limit in zip(
            self._ticks, (profile_limits(arrays.profile), vertical, arrays.dms), strict=True
        ):
            ticks.set(times, limit)
        self._ticks[0].hide_x()
        _, frequencies, dms = (common_text(ticks.common) for ticks in self._ticks)
        unit = "MHz" if candidate.band else "row"
        self._frequency.set_text(f"Frequency{frequencies} ({unit})")
        self._dm.set_text(f"DM{dms} (pc cm$^{{-3}}$)")
        for image, bar, data, limit in zip(
            self._images,
            self._bars,
            (arrays.freq_time, arrays.dm_time),
            (vertical, arrays.dms),
            strict=True,
        ):
            image.set_data(data)
            colours = limits(data)
            image.set(extent=(*times, *limit), clim=colours)
            bar.set(colours)
        self._masked.set_text(masked_text(arrays))
        self._write_numbers(candidate, far)

    def _write_numbers(self, candidate: ProcessedCandidate, far: bool) -> None:
        reference, measured, score = self._reference, candidate.measured, candidate.score
        headline = f"S/N {measured.snr:.1f}   DM {candidate.pulse.dm:.2f}"
        fit(self._headline, headline, 14, _TEXT_POINTS)
        galaxy = "not known"
        if self._dm_galaxy is not None:
            galaxy = f"{self._dm_galaxy:.1f} ({'beyond' if far else 'within'})"
        lines = (
            f"P {score.freq_time:.2f} by frequency, {score.dm_time:.2f} by DM",
            where_text(candidate, reference),
            arrival_text(reference, measured.time),
            f"Milky Way's maximum DM: {galaxy}",
            f"arrival at {reference_text(reference)}",
            source_text(reference),
            band_text(reference, candidate.band),
        )
        for text, line in zip(self._lines, lines, strict=True):
            fit(text, line, _LETTERS, _TEXT_POINTS)


def _image(axes: Axes, cmap: str) -> AxesImage:
    return axes.imshow(
        np.zeros((2, 2)),
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        cmap=intensity_map(cmap),
    )
