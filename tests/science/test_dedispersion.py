"""Dedispersion, against sums written out, inside and outside of the data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.dedispersion import Band, add_binned, add_dedispersed, coverage
from darc.science.dispersion import delay

ARTS = Band(f_lowest=1219.70092773, channel_width=300 / 1536, n_channels=1536)
TSAMP = 81.92e-6


def dedisperse(rows, shifts, n_out):
    """The sums, and the number of channels in each."""
    series = np.zeros((len(shifts), n_out), dtype=np.float32)
    add_dedispersed(np.ascontiguousarray(rows, dtype=np.float32), shifts, series)
    return series, coverage(shifts, np.ones(len(rows)), rows.shape[1], n_out)


@st.composite
def shifted_channels(draw):
    """Rows of whole numbers, some trials' shifts, into the data and out of it, and a length."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, m, n_dms = draw(st.integers(1, 6)), draw(st.integers(1, 30)), draw(st.integers(1, 5))
    rows = rng.integers(-9, 10, (n, m)).astype(np.float32)
    reach = draw(st.sampled_from([3, 40, 2**40]))
    return rows, rng.integers(-reach, reach, (n_dms, n)), draw(st.integers(1, 40))


@given(shifted_channels())
def test_sums_and_how_much_is_in_them(example):
    rows, shifts, n_out = example
    series, there = dedisperse(rows, shifts, n_out)
    assert series.shape == there.shape == (len(shifts), n_out)
    for trial, shift in enumerate(shifts.tolist()):
        for place in range(n_out):
            found = [
                row[place + by]
                for row, by in zip(rows, shift, strict=True)
                if 0 <= place + by < len(row)
            ]
            assert series[trial, place] == sum(found)
            assert there[trial, place] == len(found)


@given(shifted_channels())
def test_sums_are_added_to(example):
    rows, shifts, n_out = example
    once = np.zeros((len(shifts), n_out), np.float32)
    add_dedispersed(rows, shifts, once)
    twice = once.copy()
    add_dedispersed(rows, shifts, twice)
    np.testing.assert_array_equal(twice, 2 * once)


@given(shifted_channels(), st.integers(1, 7))
def test_bins(example, factor):
    rows, shifts, n_bins = example
    sums, counts = np.zeros((len(rows), n_bins)), np.zeros((len(rows), n_bins), np.int64)
    add_binned(rows, shifts[0], factor, sums, counts)
    for channel, (row, by) in enumerate(zip(rows, shifts[0].tolist(), strict=True)):
        for place in range(n_bins):
            samples = range(place * factor + by, (place + 1) * factor + by)
            found = [row[sample] for sample in samples if 0 <= sample < len(row)]
            assert sums[channel, place] == sum(found)
            assert counts[channel, place] == len(found)


@given(shifted_channels(), st.integers(0, 2**32))
def test_weights(example, seed):
    rows, shifts, n_out = example
    weights = np.random.default_rng(seed).choice([0.0, 1e-3, 1.0, 1e3], len(rows))
    found = coverage(shifts, weights, rows.shape[1], n_out)
    # Where no weight is, it is exactly 0: what divides by it can tell.
    for trial, shift in enumerate(shifts.tolist()):
        for place in range(n_out):
            inside = [0 <= place + by < rows.shape[1] for by in shift]
            expected = weights[inside].sum()
            assert found[trial, place] == pytest.approx(expected, rel=1e-5)


def test_the_band():
    assert ARTS.frequencies[0] == 1219.70092773
    assert (ARTS.f_low, ARTS.f_high) == pytest.approx((1219.60327, 1519.60327), abs=1e-5)
    assert ARTS.f_reference == ARTS.frequencies[-1] == pytest.approx(1519.50562, abs=1e-5)
    assert ARTS.f_centre == pytest.approx(1369.60327, abs=1e-5)
    assert np.diff(ARTS.frequencies) == pytest.approx(300 / 1536)


@given(st.floats(1e-3, 10_000))
def test_delays_are_those_of_the_channels_centres(dm):
    delays = ARTS.delays([dm, 2 * dm])
    # From the formula: each channel's centre against the highest one's.
    centres = 1219.70092773 + 300 / 1536 * np.arange(1536)
    expected = 4148.808 * dm * (centres**-2 - centres[-1] ** -2)
    np.testing.assert_allclose(delays[0], expected, rtol=1e-9, atol=1e-12 * dm)
    assert delays[0, -1] == 0  # a search leaves the highest channel where it is
    np.testing.assert_allclose(delays[1], 2 * delays[0])
    assert (np.diff(delays[0]) <= 0).all()


@given(st.floats(0, 10_000), st.integers(1, 20))
def test_shifts_are_the_nearest_samples(dm, pre):
    shifts, delays = ARTS.shifts([dm], pre * TSAMP), ARTS.delays([dm])
    assert np.abs(shifts - delays / (pre * TSAMP)).max() <= 0.5 + 1e-6


def test_shifts_beyond_all_data_do_not_overflow():
    shifts = ARTS.shifts([1e30], TSAMP)
    assert shifts.max() == 2**40
    series, there = dedisperse(np.ones((1536, 10), np.float32), shifts, 5)
    # All that is left is the highest channel, which is not shifted.
    assert (series == 1).all()
    assert (there == 1).all()


def test_smearing_within_a_channel():
    # The delay between a channel's edges at the centre of the band.
    half = ARTS.channel_width / 2
    expected = delay(1000.0, ARTS.f_centre - half, ARTS.f_centre + half)
    assert ARTS.smearing(1000.0) == pytest.approx(expected, rel=1e-6)
    assert ARTS.smearing(0.0) == 0


@pytest.mark.parametrize("dm", [0.0, 56.77, 1000.0])
def test_a_pulse_is_aligned(dm):
    arrival = 40
    shifts = ARTS.shifts([dm], TSAMP)
    rows = np.zeros((1536, int(shifts.max()) + 100), np.float32)
    rows[np.arange(1536), arrival + shifts[0]] = 1
    series, _ = dedisperse(rows, shifts, 100)
    assert series[0, arrival] == 1536
    assert series.sum() == 1536
