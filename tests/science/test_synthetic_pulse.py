"""Generated pulses: as much as they should be, where they should be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.dedispersion import Band
from darc.science.dispersion import delay
from darc.science.synthetic_pulse import synthetic_pulse

BAND = Band(f_lowest=1300.5, channel_width=1.0, n_channels=8)
TSAMP = 1e-4


@given(st.floats(0, 30), st.floats(0.1, 20), st.floats(5, 15))
def test_energy_and_place(dm, width, arrival):
    pulse = synthetic_pulse(BAND, TSAMP, dm=dm, width=width, arrival=arrival, n_samples=400)
    assert pulse.shape == (8, 400)
    assert pulse.min() >= -1e-5
    assert pulse.max() <= 1 + 1e-5
    assert pulse.sum(axis=1) == pytest.approx(np.full(8, width), rel=1e-2)
    # Its middle comes as late as the middles of the channel's edges do.
    # Its middle comes as late as the middles of the channel's edges do; samples are that coarse.
    centres = (pulse * (np.arange(400) + 0.5)).sum(axis=1) / width
    for frequency, centre in zip(BAND.frequencies.tolist(), centres, strict=True):
        late = [delay(dm, frequency + side, BAND.f_top) / TSAMP for side in (-0.5, 0.5)]
        assert centre == pytest.approx(arrival + sum(late) / 2 + width / 2, abs=0.51)


def test_without_dispersion_it_is_a_box():
    pulse = synthetic_pulse(BAND, TSAMP, dm=0.0, width=3, arrival=2, n_samples=8)
    expected = [0, 0, 1, 1, 1, 0, 0, 0]
    assert pulse == pytest.approx(np.tile(expected, (8, 1)), abs=1e-3)


@pytest.mark.parametrize("arrival", [-1000.0, -2.0, 6.0, 1000.0])
def test_what_is_outside_is_cut_off(arrival):
    n = 8
    pulse = synthetic_pulse(BAND, TSAMP, dm=1.0, width=3, arrival=arrival, n_samples=n)
    whole = synthetic_pulse(BAND, TSAMP, dm=1.0, width=3, arrival=arrival + 2000, n_samples=4000)
    np.testing.assert_allclose(pulse, whole[:, 2000 : 2000 + n], atol=1e-3)
