"""Freeze time of LOFAR's transient buffers (docs/triggers.md, Formats)."""

from __future__ import annotations

from darc.science.dispersion import delay


def freeze_time(
    arrival: float, dm: float, *, f_centre: float, lofar_freq: float, buffer_length: float
) -> float:
    """Return the time at which to freeze, with the pulse in the middle of the buffer.

    :param arrival: arrival time at the centre of our band, Unix s
    :param dm: pc cm-3
    :param f_centre: centre of our band, MHz
    :param lofar_freq: frequency at which LOFAR observes the pulse, MHz
    :param buffer_length: length of LOFAR's buffers, s
    :return: ``arrival`` + dispersion delay from ``f_centre`` to ``lofar_freq`` + half of the
        buffer, Unix s, accurate to better than 1 µs
    """
    return arrival + delay(dm, lofar_freq, f_centre) + buffer_length / 2
