"""When LOFAR's buffers are frozen, against the same formula in decimals."""

from decimal import Decimal
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.freeze_time import freeze_time

ARRIVAL = 1558223480.5
BAND = {"f_centre": 1369.60327148, "lofar_freq": 200.0}


class Independent:
    """The formula of the specification, in decimals of 28 digits."""

    CONSTANT: ClassVar[Decimal] = Decimal("4148.808")

    @classmethod
    def freeze_time(cls, arrival, dm, f_centre, lofar_freq, buffer_length):
        squares = 1 / Decimal(lofar_freq) ** 2 - 1 / Decimal(f_centre) ** 2
        return Decimal(arrival) + cls.CONSTANT * Decimal(dm) * squares + Decimal(buffer_length) / 2


def test_by_hand():
    # 4148.808 * 557 * (1/40000 - 1/1875813.1) = 57.772 - 1.232 s
    found = freeze_time(ARRIVAL, 557.0, **BAND, buffer_length=5.0)
    assert found == pytest.approx(ARRIVAL + 57.772 - 1.232 + 2.5, abs=2e-3)


def test_without_dispersion_it_is_half_a_buffer_later():
    assert freeze_time(ARRIVAL, 0.0, **BAND, buffer_length=5.0) == ARRIVAL + 2.5


@given(
    arrival=st.floats(1e9, 2e9),
    dm=st.floats(0, 6553.5),
    f_centre=st.floats(300, 5000),
    lofar_freq=st.floats(110, 250),
    buffer_length=st.floats(0, 60),
)
def test_as_in_decimals(arrival, dm, f_centre, lofar_freq, buffer_length):
    found = freeze_time(
        arrival, dm, f_centre=f_centre, lofar_freq=lofar_freq, buffer_length=buffer_length
    )
    expected = Independent.freeze_time(arrival, dm, f_centre, lofar_freq, buffer_length)
    assert abs(Decimal(found) - expected) < Decimal("1e-6")
