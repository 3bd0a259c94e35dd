"""When LOFAR's transient buffers have to stop to hold a pulse (docs/triggers.md, Formats)."""

from __future__ import annotations

from darc.science.dispersion import delay


def freeze_time(
    arrival: float, dm: float, *, f_centre: float, lofar_freq: float, buffer_length: float
) -> float:
    """When to freeze, so that the pulse is in the middle of the buffer.

    :param arrival: at the centre of our band, Unix s
    :param dm: pc cm-3
    :param f_centre: of our band, MHz
    :param lofar_freq: where LOFAR is to see the pulse, MHz
    :param buffer_length: of LOFAR's buffers, s
    :return: Unix s, good to less than 1 µs
    """
    return arrival + delay(dm, lofar_freq, f_centre) + buffer_length / 2
