"""Folding: against a slow and obvious way, and the right S/N, phase and period."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.barycentre import barycentric_seconds, topocentric_model
from darc.science.folding import Folder, PhaseModel, add_folded, rotate, usable_channels
from darc.science.profile import normalised, profile_peak, search_drift

WSRT = (3828630.63, 443593.39, 5064922.99)
CRAB = {"ra_deg": 83.6332, "dec_deg": 22.0145}


@given(
    seed=st.integers(0, 2**31),
    n_samples=st.integers(1, 200),
    n_channels=st.integers(1, 5),
    n_bins=st.integers(1, 64),
)
def test_samples_are_added_as_one_by_one(
    seed: int, n_samples: int, n_channels: int, n_bins: int
) -> None:
    random = np.random.default_rng(seed)
    data = random.normal(size=(n_samples, n_channels)).astype(np.float32)
    data[random.random(data.shape) < 0.05] = np.nan
    phases = random.integers(0, 2**20, n_samples)
    offsets = random.integers(0, 2**20, n_channels)
    sums, squares = np.zeros((n_channels, n_bins)), np.zeros(n_channels)
    counts = np.zeros((n_channels, n_bins), np.int64)
    add_folded(data, phases, offsets, sums, counts, squares)
    slow, number = np.zeros((n_channels, n_bins)), np.zeros((n_channels, n_bins), np.int64)
    for sample in range(n_samples):
        for channel in range(n_channels):
            if math.isfinite(data[sample, channel]):
                turn = ((int(phases[sample]) - int(offsets[channel])) % 2**20) / 2**20
                slow[channel, int(turn * n_bins)] += data[sample, channel]
                number[channel, int(turn * n_bins)] += 1
    np.testing.assert_array_equal(counts, number)
    np.testing.assert_allclose(sums, slow, atol=1e-5)
    np.testing.assert_allclose(squares, np.nansum(data.astype(float) ** 2, axis=0), rtol=1e-5)


def fold(frequency: float, model: PhaseModel, *, blocks: int = 16) -> Folder:
    random = np.random.default_rng(3)
    folder = Folder(model, np.zeros(16), np.arange(16.0) + 1400, 64, 8)
    for number in range(blocks):
        for part in range(2):
            times = (np.arange(2000) + (2 * number + part) * 2000 + 0.5) * 1e-3
            data = random.normal(100, 5, (2000, 16))
            data[(times * frequency) % 1 < 1 / 16] += 2.5
            folder.add(data.astype(np.float32), times)
        folder.close_subint()
    return folder


def test_the_profile_has_the_radiometers_snr_and_the_pulses_phase() -> None:
    found = fold(4.0, PhaseModel.constant(4.0)).result()
    sums, counts = found.by_time
    profile = normalised(sums.sum(axis=0), counts.sum(axis=0))
    peak = profile_peak(profile)
    # 64 000 samples in 16 channels; the mean over the pulse is half a standard deviation more.
    expected = 0.5 * math.sqrt(64000 * 16 / 16 * 15 / 16)
    assert peak.snr == pytest.approx(expected, rel=0.25)
    assert (peak.first, peak.width) == (0, 4)
    off = profile[4:]
    assert off.std() == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("error", [0.0, 0.004, -0.009])
def test_a_wrong_period_is_corrected(error: float) -> None:
    found = fold(4.0 + error, PhaseModel.constant(4.0)).result()
    sums, counts = found.by_time
    drift = search_drift(sums, counts, found.times, max_drift=1.0, max_curve=0.0, step=1 / 128)
    assert drift.df == pytest.approx(error, abs=3e-4)
    turned, counts = found.turned(drift.turns).by_time
    assert profile_peak(turned.sum(axis=0)).snr > 90


def test_data_in_pieces_give_what_the_whole_gives() -> None:
    model = PhaseModel.constant(3.3)
    random = np.random.default_rng(5)
    data = random.integers(0, 255, (1000, 4)).astype(np.uint8)
    times = (np.arange(1000) + 0.5) * 1e-3
    results = []
    for size in (1000, 77):
        folder = Folder(model, np.array([0.0, 0.01, 0.02, 0.4]), np.arange(4.0) + 1400, 32, 4)
        for begin in range(0, 1000, size):
            folder.add(data[begin : begin + size], times[begin : begin + size])
        results.append(folder.result())
    np.testing.assert_array_equal(results[0].counts, results[1].counts)
    np.testing.assert_allclose(results[0].sums, results[1].sums, atol=1e-3)


def test_dead_and_noisy_channels_are_left_out() -> None:
    variances = np.full(100, 4.0) * np.random.default_rng(1).normal(1, 0.01, 100)
    variances[[7, 50]] = 0.0, 40.0
    good = usable_channels(np.full(100, 100.0), variances)
    assert np.flatnonzero(~good).tolist() == [7, 50]


@given(turns=st.floats(-3, 3), n_bins=st.integers(8, 65))
def test_turning_there_and_back_changes_nothing(turns: float, n_bins: int) -> None:
    # The highest frequency of an even number of bins cannot be turned.
    spectrum = np.random.default_rng(1).normal(size=4) + 0j
    profile = np.fft.irfft(spectrum, n_bins)
    np.testing.assert_allclose(rotate(rotate(profile, turns), -turns), profile, atol=1e-9)


def test_a_model_follows_the_earth() -> None:
    """Against the barycentric times of all moments, for twelve hours of the Crab."""
    spin = (29.946923, -3.77535e-10, 1.1147e-20)
    model = topocentric_model(1.55e9, 43200, spin=spin, epoch_mjd=48442.5, itrf_xyz_m=WSRT, **CRAB)
    times = np.linspace(0, 43200, 501)
    first, since = barycentric_seconds(1.55e9 + times, **CRAB, itrf_xyz_m=WSRT, epoch_mjd=48442.5)
    past = first + since
    exact = spin[0] * past + spin[1] / 2 * past**2 + spin[2] / 6 * past**3
    difference = model.turns(times) - exact
    assert np.abs(difference - np.round(difference)).max() < 1e-4
    assert np.ptp(difference) < 1e-4


def test_the_doppler_shift_is_that_of_the_earths_velocity() -> None:
    """Against astropy's radial velocity correction, an independent way."""
    from astropy import units as u  # noqa: PLC0415
    from astropy.coordinates import EarthLocation, SkyCoord  # noqa: PLC0415
    from astropy.time import Time  # noqa: PLC0415

    model = topocentric_model(1.55e9, 60, spin=(1.0,), epoch_mjd=50000, itrf_xyz_m=WSRT, **CRAB)
    place = EarthLocation.from_geocentric(*WSRT, unit=u.m)
    source = SkyCoord(CRAB["ra_deg"], CRAB["dec_deg"], unit="deg")
    velocity = source.radial_velocity_correction(
        "barycentric", obstime=Time(1.55e9, format="unix"), location=place
    )
    doppler = float((velocity / (299792458 * u.m / u.s)).decompose())
    assert model.frequency(0.0) - 1 == pytest.approx(doppler, abs=2e-8)
