"""The datagram for LOFAR, against byte arithmetic done by hand."""

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from darc.services.lofar_trigger.lofar_packet import FreezePacket, compose, parse

TIME = 1558223480  # 0x5CE09A78


def independent(time: Decimal, dm: Decimal, test: bool) -> bytes:
    """The format of the specification, byte by byte."""
    ms = int((time * 1000).to_integral_value(ROUND_HALF_EVEN))
    tenths = int((dm * 10).to_integral_value(ROUND_HALF_EVEN))
    seconds = (ms // 1000) % 2**32  # two's complement
    numbers = [*_big_endian(seconds, 4), *_big_endian(ms % 1000, 2), *_big_endian(tenths, 2)]
    return bytes([0x99, 0xA0, *numbers, ord("T" if test else "S")])


def _big_endian(value: int, size: int) -> list[int]:
    return [value // 256**place % 256 for place in reversed(range(size))]


def test_every_byte() -> None:
    expected = bytes.fromhex("99a0 5ce09a78 01f5 15c2 53")
    assert compose(Decimal("1558223480.501"), 557.0, test=False) == expected
    assert compose(Decimal("1558223480.501"), 557.0, test=True) == expected[:-1] + b"T"


def test_999_6_ms_is_the_next_second() -> None:
    assert parse(compose(TIME + 0.9996, 10.0, test=True)).time_ms == (TIME + 1) * 1000
    assert parse(compose(TIME + 0.9994, 10.0, test=True)).time_ms == TIME * 1000 + 999


def test_dm_is_rounded_not_cut() -> None:
    assert parse(compose(TIME, 56.77, test=True)).dm_tenths == 568
    assert parse(compose(TIME, 56.74, test=True)).dm_tenths == 567


def test_highest_dm() -> None:
    assert compose(TIME, 6553.5, test=True)[8:10] == b"\xff\xff"


@pytest.mark.parametrize("dm", [6553.51, 6553.6, 6560.0, 1e9, -0.1, float("nan"), float("inf")])
def test_dm_that_does_not_fit(dm: float) -> None:
    with pytest.raises(ValueError, match="DM"):
        compose(TIME, dm, test=True)


def test_time_at_the_ends_of_32_bits() -> None:
    assert compose(2**31 - 1, 1.0, test=True)[2:6] == b"\x7f\xff\xff\xff"
    assert compose(-(2**31), 1.0, test=True)[2:6] == b"\x80\x00\x00\x00"


@pytest.mark.parametrize(
    "time",
    [2**31, 2**31 - 0.0004, -(2**31) - 1, 1e300, float("inf"), float("-inf"), float("nan")],
)
def test_time_that_does_not_fit(time: float) -> None:
    with pytest.raises(ValueError, match=r"freeze|NaN"):
        compose(time, 1.0, test=True)


@settings(deadline=None)
@given(
    st.floats(-(2**31), 2**31 - 1) | st.decimals(-(2**31), 2**31 - 1, places=6),
    st.floats(0, 6553.5),
    st.booleans(),
)
@example(TIME + 0.9996, 6553.5, True)
def test_as_byte_arithmetic(time: float | Decimal, dm: float, test: bool) -> None:
    datagram = compose(time, dm, test=test)
    assert len(datagram) == 11
    assert datagram == independent(Decimal(time), Decimal(dm), test)


@settings(deadline=None)
@given(st.integers(0, 2**31 * 1000 - 1), st.integers(0, 65535), st.booleans())
def test_round_trip(time_ms: int, tenths: int, test: bool) -> None:
    datagram = compose(Decimal(time_ms) / 1000, tenths / 10, test=test)
    assert parse(datagram) == FreezePacket(time_ms, tenths, test)


GOOD = compose(TIME, 557.0, test=True)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        GOOD[:-1],
        GOOD + b"\0",
        b"\x99\xa1" + GOOD[2:],
        GOOD[:-1] + b"X",
        GOOD[:6] + b"\x03\xe8" + GOOD[8:],  # 1000 ms
    ],
)
def test_what_is_no_datagram(datagram: bytes) -> None:
    with pytest.raises(ValueError, match=r"expected|not a freeze"):
        parse(datagram)
