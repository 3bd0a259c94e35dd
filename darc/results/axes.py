"""Axes with numbers, as light as a page of 25 plots needs them.

matplotlib's own ticks take more time than all else of a plot.
"""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.markers import TICKDOWN, TICKLEFT
from matplotlib.text import Text
from matplotlib.transforms import Transform

Limits = tuple[float, float]

_MOST = 6


def ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Round numbers in a range, with texts; at most so many steps, of 1, 2 or 5 times 10^n."""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return []
    raw = (high - low) / most
    exponent = math.floor(math.log10(raw))
    factor = next(one for one in (1, 2, 5, 10) if one * 10.0**exponent >= raw * (1 - 1e-9))
    step = factor * 10.0**exponent
    decimals = max(0, -exponent if factor < 10 else -exponent - 1)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if last - first > 2 * most:  # beyond the precision of numbers
        return []
    found = [(number * step, f"{number * step:.{decimals}f}") for number in range(first, last + 1)]
    return [(value, text.replace("-", "\N{MINUS SIGN}")) for value, text in found]


class Ticks:
    """Marks and numbers at the lower and left edge of axes, instead of their own.

    :param size: of the letters, points
    :param steps: at most so many between numbers, across and up
    """

    def __init__(self, axes: Axes, size: float, colour: str, steps: tuple[int, int] = (4, 4)):
        self._axes = axes
        self._steps = steps
        axes.xaxis.set_visible(False)
        axes.yaxis.set_visible(False)
        across, up = axes.get_xaxis_transform(), axes.get_yaxis_transform()
        bbox = axes.get_window_extent()
        # Distances from the axes, of their height and width.
        dpi = axes.figure.dpi / 72
        self._below, self._left = 5 * dpi / bbox.height, 5 * dpi / bbox.width
        (self._x_marks,), (self._y_marks,) = (
            axes.plot(
                *([], []), transform=transform, marker=marker, ls="", ms=3.5, mew=0.8,
                color=colour, clip_on=False,
            )
            for transform, marker in ((across, TICKDOWN), (up, TICKLEFT))
        )  # fmt: skip
        self._x_texts = self._texts(across, size, colour, ha="center", va="top")
        self._y_texts = self._texts(up, size, colour, ha="right", va="center_baseline")

    def _texts(
        self, transform: Transform, size: float, colour: str, *, ha: str, va: str
    ) -> list[Text]:
        return [
            self._axes.text(0, 0, "", transform=transform, size=size, color=colour, ha=ha, va=va)
            for _ in range(_MOST + 2)
        ]

    def set(self, x: Limits, y: Limits) -> None:
        """Take limits."""
        self._axes.set(xlim=x, ylim=y)
        across, up = ticks(*x, self._steps[0]), ticks(*y, self._steps[1])
        self._x_marks.set_data([value for value, _ in across], [0] * len(across))
        self._y_marks.set_data([0] * len(up), [value for value, _ in up])
        places = [(value, -self._below) for value, _ in across]
        _show(self._x_texts, [text for _, text in across], places)
        places = [(-self._left, value) for value, _ in up]
        _show(self._y_texts, [text for _, text in up], places)

    def hide_x(self) -> None:
        """Leave the numbers across to the axes below."""
        for text in self._x_texts:
            text.set_visible(False)


def _show(texts: list[Text], words: list[str], places: list[tuple[float, float]]) -> None:
    for number, text in enumerate(texts):
        text.set_visible(number < len(words))
        if number < len(words):
            text.set(text=words[number], position=places[number])
