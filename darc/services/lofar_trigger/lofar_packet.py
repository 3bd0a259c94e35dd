"""Datagram that freezes LOFAR's transient buffers (docs/triggers.md, Formats).

Big-endian, without padding: 0x99 0xA0, int32 Unix seconds, uint16 milliseconds, uint16 DM x 10,
and a character, 'T' for a test or 'S' for an observation.
"""

from __future__ import annotations

import struct
from decimal import Decimal
from fractions import Fraction

from darc.config.records import Struct

MARK = b"\x99\xa0"
TEST, OBSERVATION = b"T", b"S"
MAX_DM = 6553.5  # pc cm-3, the largest DM x 10 in 16 bits

_LAYOUT = struct.Struct(">2siHHc")
_SECONDS = range(-(2**31), 2**31)
_MS = 1000  # in a second


class FreezePacket(Struct, frozen=True):
    """Content of a datagram.

    :param time_ms: freeze time (Unix ms)
    :param dm_tenths: DM x 10 (pc cm-3)
    """

    time_ms: int
    dm_tenths: int
    test: bool


def compose(time: float | Decimal | Fraction, dm: float, *, test: bool) -> bytes:
    """Compose a datagram.

    :param time: freeze time (Unix s); rounded to the nearest ms (999.6 ms: the next second)
    :param dm: pc cm-3; rounded to the nearest tenth
    :param test: whether it is a test
    :raises ValueError: the time does not fit 32 bits, or the DM is not from 0 to 6553.5
    """
    if not 0 <= dm <= MAX_DM:
        raise ValueError(f"DM {dm} does not fit into LOFAR's packet; allowed: 0 to {MAX_DM}")
    try:
        # Rounded before it is split, so that milliseconds carry over.
        seconds, milliseconds = divmod(round(Fraction(time) * _MS), _MS)
    except OverflowError as error:  # infinite
        raise ValueError(f"no time to freeze at: {time}") from error
    if seconds not in _SECONDS:
        raise ValueError(f"freeze time {time} does not fit 32 bits")
    mode = TEST if test else OBSERVATION
    return _LAYOUT.pack(MARK, seconds, milliseconds, round(Fraction(dm) * 10), mode)


def parse(datagram: bytes) -> FreezePacket:
    """Parse a datagram as LOFAR does.

    :raises ValueError: the format is invalid
    """
    if len(datagram) != _LAYOUT.size:
        raise ValueError(f"{len(datagram)} bytes where {_LAYOUT.size} are expected")
    mark, seconds, milliseconds, dm_tenths, mode = _LAYOUT.unpack(datagram)
    if mark != MARK or milliseconds >= _MS or mode not in (TEST, OBSERVATION):
        raise ValueError(f"not a freeze command: {datagram.hex(' ')}")
    return FreezePacket(seconds * _MS + milliseconds, dm_tenths, mode == TEST)
