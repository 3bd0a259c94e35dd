"""An order to search more deeply for a while: a lower limit of S/N, for a span of data time."""

from __future__ import annotations

from typing import Annotated, Any

from darc.config import ranges, typed
from darc.config.records import Struct
from darc.config.typed import NotEmpty, Range, UpTo

#: Key that tells it from other plain values on a queue.
_KIND = "lowered_threshold"
_Moment = Annotated[float, Range(0, 1e11)]  # Unix s
_Text = Annotated[str, NotEmpty(), UpTo(300)]


class LoweredThreshold(Struct, frozen=True):
    """A lower limit of S/N.

    :param key: identity of the rule and event by which it was lowered; a later order of the same
        key replaces it
    :param why: the notice's id and the rule, for the log
    :param snr_min: the lowest S/N that triggers; it never raises a limit
    :param start: of the data to search, Unix s
    :param end: likewise
    :param iquv: whether clusters above it trigger dumps
    :param lofar: whether they trigger LOFAR and VOEvents
    """

    key: _Text
    why: Annotated[str, UpTo(600)]
    snr_min: Annotated[float, ranges.SNR]
    start: _Moment
    end: _Moment
    iquv: bool = True
    lofar: bool = False

    def overlaps(self, start: float, end: float) -> bool:
        """Whether it holds for part of the data from `start` to `end` (Unix s)."""
        return self.start < end and start < self.end

    def to_plain(self) -> dict[str, Any]:
        """Return plain values, which `from_plain` reads."""
        return {_KIND: typed.to_plain(self)}

    @classmethod
    def from_plain(cls, plain: Any) -> LoweredThreshold:
        """
        :raises ValueError: it is something else, or a value is out of range
        """
        if not is_lowered_threshold(plain):
            raise ValueError("not an order to lower a threshold")
        return typed.from_plain(cls, plain[_KIND], _KIND)


def is_lowered_threshold(plain: Any) -> bool:
    """Whether a plain value is such an order."""
    return isinstance(plain, dict) and set(plain) == {_KIND}
