"""Generated pulses: as much as they should be, where they should be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.dedispersion import Band
from darc.science.dispersion import delay
from simulator.synthetic_pulse import (
    add_pulse,
    dedispersed_profile,
    dispersed_pulse,
    ideal_boxcar,
    synthetic_pulse,
)

BAND = Band(f_lowest=1300.5, channel_width=1.0, n_channels=8)
TSAMP = 1e-4


@given(st.floats(0, 30), st.floats(0.1, 20), st.floats(5, 15))
def test_energy_and_place(dm, width, arrival):
    pulse = synthetic_pulse(BAND, TSAMP, dm=dm, width=width, arrival=arrival, n_samples=400)
    assert pulse.shape == (8, 400)
    assert pulse.min() >= -1e-5
    assert pulse.max() <= 1 + 1e-5
    assert pulse.sum(axis=1) == pytest.approx(np.full(8, width), rel=1e-2)
    # Its middle comes as late as the middles of the channel's edges do; samples are that coarse.
    centres = (pulse * (np.arange(400) + 0.5)).sum(axis=1) / width
    for frequency, centre in zip(BAND.frequencies.tolist(), centres, strict=True):
        late = [delay(dm, frequency + side, BAND.f_reference) / TSAMP for side in (-0.5, 0.5)]
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


@given(st.floats(0, 30), st.floats(2, 20), st.floats(0.05, 10))
def test_scattering(dm, width, scattering):
    """As the exponential, in small steps, makes of it; the tail's end is left out."""
    pulse = synthetic_pulse(
        BAND, TSAMP, dm=dm, width=width, arrival=9, n_samples=400, scattering=scattering
    )
    assert pulse.min() >= -1e-5
    assert pulse.max() <= 1 + 1e-5
    plain = synthetic_pulse(BAND, TSAMP, dm=dm, width=width, arrival=9, n_samples=400)
    time = np.arange(400) + 0.5
    tails = scattering * (BAND.frequencies / BAND.f_centre) ** -4
    for row, before, tail in zip(pulse, plain, tails.tolist(), strict=True):
        assert row.sum() == pytest.approx(before.sum(), rel=3e-3)
        late = (row * time).sum() / row.sum() - (before * time).sum() / before.sum()
        assert late == pytest.approx(tail, rel=2e-2, abs=0.3)
        rising = row[: max(1, int(row.argmax()))]
        assert (np.diff(rising) >= -1e-5).all()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.floats(-20, 100))
def test_in_blocks_it_is_the_same(sizes, arrival):
    pulse = dispersed_pulse(BAND, TSAMP, dm=10.0, width=5, arrival=arrival, scattering=2.0)
    columns, strengths = np.arange(8)[::-1], np.arange(8, dtype=np.float32)
    total = sum(sizes)
    whole = np.zeros((total, 8), np.float32)
    add_pulse(whole, 0, columns, pulse.firsts, pulse.shape, strengths)
    begin = 0
    for size in sizes:
        block = np.zeros((size, 8), np.float32)
        add_pulse(block, begin, columns, pulse.firsts, pulse.shape, strengths)
        np.testing.assert_array_equal(block, whole[begin : begin + size])
        begin += size


def test_dedispersed_it_is_in_one_place():
    pulse = dispersed_pulse(BAND, TSAMP, dm=20.0, width=6, arrival=50.0)
    shifts, weights = BAND.shifts([20.0], TSAMP)[0], np.full(8, 0.5)
    first, profile = dedispersed_profile(pulse, shifts, weights)
    assert profile.sum() == pytest.approx(6 * 8 * 0.5, rel=1e-3)
    middle = first + (profile * (np.arange(len(profile)) + 0.5)).sum() / profile.sum()
    assert middle == pytest.approx(50 + 3, abs=0.6)
    start, width, snr = ideal_boxcar(profile)
    assert width == pytest.approx(7, abs=2)
    assert first + start + width / 2 == pytest.approx(50 + 3, abs=1)
    assert 0.9 < snr / np.linalg.norm(profile) <= 1


def test_the_boxcar_of_a_box():
    assert ideal_boxcar(np.array([0.0, 0.0, 2.0, 2.0, 2.0, 0.0])) == (2, 3, pytest.approx(12**0.5))
