"""Axes with numbers, and colour bars, fast enough for pages of 25 plots.

matplotlib's own ticks take more time than the rest of a plot, and its colour bars as much again.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import FT2Font, LoadFlags
from matplotlib.image import AxesImage
from matplotlib.markers import TICKDOWN, TICKLEFT
from matplotlib.patches import Rectangle
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import TransformedPath

from darc.candidates.results.plot_style import INK

Limits = tuple[float, float]

#: Maximum number of characters of a number: longer ones would overlap.
_LONGEST = 6
#: Minimum factor by which the font of a line that is too wide is reduced.
_SMALLEST = 0.75
#: Number of shades of a colour bar.
_SHADES = 64
MINUS = "\N{MINUS SIGN}"


def ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Return round numbers in a range with their texts, in steps of 1, 2 or 5 times 10^n.

    :param most: maximum number of steps
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return []
    raw = (high - low) / most
    exponent = math.floor(math.log10(raw))
    factor = next(one for one in (1, 2, 5, 10) if one * 10.0**exponent >= raw * (1 - 1e-9))
    step = factor * 10.0**exponent
    decimals = max(0, -exponent if factor < 10 else -exponent - 1)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if last - first > 2 * most:  # beyond floating-point precision
        return []
    found = [(number * step, f"{number * step:.{decimals}f}") for number in range(first, last + 1)]
    return [(value, text.replace("-", MINUS)) for value, text in found]


def common_part(low: float, high: float, most: int) -> float:
    """Return the round number to subtract from numbers of an axis that would be too long.

    0 if they are short enough, or have no common part.

    :param most: maximum number of steps
    """
    found = ticks(low, high, most)
    if all(len(text) <= _LONGEST for _, text in found) or low * high <= 0:
        return 0.0
    unit = 10.0 ** math.ceil(math.log10(high - low))
    return float(math.floor(low / unit) * unit)


def common_text(common: float) -> str:
    """Return a common part with its sign, to append to the label; empty if it is 0."""
    if not common:
        return ""
    return f" {MINUS if common > 0 else '+'} {abs(common):.9g}"


@cache
def _font(bold: bool) -> FT2Font:
    return get_font(
        findfont(FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal"))
    )


@cache
def _advance(letter: str, bold: bool) -> float:
    """Return the width of a character, relative to the font size."""
    font = _font(bold)
    font.set_size(100.0, 72)
    return float(font.load_char(ord(letter), LoadFlags.NO_HINTING).linearHoriAdvance) / 65536 / 100


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of a line of text without formulas, points.

    :param size: font size, points
    """
    return size * sum(_advance(letter, bold) for letter in text)


def fit(text: Text, words: str, size: float, width: float) -> None:
    """Write a line of text, with a smaller font if it is too wide.

    Text that is too long for the smallest readable font is truncated.

    :param size: font size, points
    :param width: available width, points
    """
    bold = text.get_fontweight() == "bold"
    wide = text_width(words, size, bold=bold)
    if wide * _SMALLEST > width:
        # Characters differ in width: the rest is measured again.
        kept = max(1, int(len(words) * width / (wide * _SMALLEST)) - 1)
        words = words[:kept].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
        wide = text_width(words, size, bold=bold)
    text.set(text=words, size=size * min(1.0, width / wide) if wide > 0 else size)


class ColourBar:
    """Colour bar at the right edge of an image's axes, with its limits.

    :param size: font size, points
    :param unit: unit, written along it; empty: not shown
    """

    def __init__(self, axes: Axes, image: AxesImage, size: float, unit: str):
        dpi, bbox = axes.figure.dpi / 72, axes.get_window_extent()
        left, wide = 0.7 * size * dpi / bbox.width, 0.75 * size * dpi / bbox.width
        across = axes.transAxes
        self._scale = AxesImage(
            axes, cmap=image.cmap, interpolation=image.get_interpolation(),
            extent=(1 + left, 1 + left + wide, 0, 1), origin="lower",
        )  # fmt: skip
        self._scale.set_data(np.linspace(0, 1, _SHADES)[:, np.newaxis])
        self._scale.set(transform=across, clim=(0, 1), clip_on=False)
        axes.add_artist(self._scale)
        self._edge = Rectangle(
            (1 + left, 0), wide, 1, transform=across, clip_on=False,
            fill=False, edgecolor=INK, linewidth=0.6,
        )  # fmt: skip
        axes.add_artist(self._edge)
        beside = 1 + left + wide + 0.3 * size * dpi / bbox.width
        self._low, middle, self._high = (
            write(
                axes, beside, y, transform=across, size=size, color=INK, rotation=90,
                ha="left", va=va,
            )
            for y, va in ((0.0, "bottom"), (0.5, "center"), (1.0, "top"))
        )  # fmt: skip
        if unit:
            # Between numbers of seven characters at both ends.
            fit(middle, unit, size, max(bbox.height / dpi - 10 * size, size))

    @property
    def changing(self) -> list[Artist]:
        """Artists that `set` changes."""
        return [self._low, self._high]

    def set(self, limits: Limits) -> None:
        """Set the values of the darkest and of the brightest colour."""
        ends = [number_text(value, limits[1] - limits[0]) for value in limits]
        self._low.set_text(ends[0])
        self._high.set_text(ends[1])


def number_text(value: float, extent: float) -> str:
    """Format a number with the digits that are significant within a range.

    :param extent: length of the range
    """
    if not (math.isfinite(value) and extent > 0):
        return ""
    if max(abs(value), extent) >= 1e6 or extent < 1e-4:
        return f"{value:.3g}".replace("-", MINUS)
    decimals = max(0, 1 - math.floor(math.log10(extent)))
    return f"{value:.{decimals}f}".replace("-", MINUS)


class Ticks:
    """Ticks and numbers at the lower and left edge of axes, instead of matplotlib's.

    :param size: font size, points
    :param steps: maximum number of steps between numbers, horizontal and vertical
    """

    #: Common part subtracted from the numbers at the left edge.
    common = 0.0

    def __init__(self, axes: Axes, size: float, steps: tuple[int, int] = (4, 4)):
        self._axes = axes
        self._steps = steps
        axes.xaxis.set_visible(False)
        axes.yaxis.set_visible(False)
        across, up = axes.get_xaxis_transform(), axes.get_yaxis_transform()
        bbox = axes.get_window_extent()
        # Distances from the axes, relative to their height and width.
        dpi = axes.figure.dpi / 72
        self._below, self._left = 5 * dpi / bbox.height, 5 * dpi / bbox.width
        (self._x_marks,), (self._y_marks,) = (
            axes.plot(
                [], [], transform=transform, marker=marker, ls="", ms=3.5, mew=0.8,
                color=INK, clip_on=False,
            )
            for transform, marker in ((across, TICKDOWN), (up, TICKLEFT))
        )  # fmt: skip
        letters = {"size": size, "color": INK}
        self._x_texts = _texts(axes, steps[0], transform=across, ha="center", va="top", **letters)
        self._y_texts = _texts(
            axes, steps[1], transform=up, ha="right", va="center_baseline", **letters
        )

    @property
    def changing(self) -> list[Artist]:
        """Artists that `set` changes."""
        return [self._x_marks, self._y_marks, *self._x_texts, *self._y_texts]

    def set(self, x: Limits, y: Limits) -> None:
        self._axes.set(xlim=x, ylim=y)
        across = ticks(*x, self._steps[0])
        self.common = common = common_part(*y, self._steps[1])
        up = [
            (value + common, text)
            for value, text in ticks(y[0] - common, y[1] - common, self._steps[1])
        ]
        self._x_marks.set_data([value for value, _ in across], [0] * len(across))
        self._y_marks.set_data([0] * len(up), [value for value, _ in up])
        places = [(value, -self._below) for value, _ in across]
        _show(self._x_texts, [text for _, text in across], places)
        places = [(-self._left, value) for value, _ in up]
        _show(self._y_texts, [text for _, text in up], places)

    def hide_x(self) -> None:
        """Hide the horizontal numbers, which the axes below show."""
        for text in self._x_texts:
            text.set_visible(False)


def write(axes: Axes, x: float, y: float, **how: Any) -> Text:
    """Create an empty text in axes, in half of the time of matplotlib's method."""
    # It is not clipped; preparing that would take most of the time.
    uncut = TransformedPath(Path.unit_rectangle(), axes.transAxes)
    return axes.text(x, y, "", clip_path=uncut, **how)


def _texts(axes: Axes, steps: int, **how: Any) -> list[Text]:
    """Create the texts for the numbers of an axis."""
    return [write(axes, 0, 0, **how) for _ in range(steps + 1)]


def _show(texts: list[Text], words: list[str], places: list[tuple[float, float]]) -> None:
    for number, text in enumerate(texts):
        text.set_visible(number < len(words))
        if number < len(words):
            text.set(text=words[number], position=places[number])
