"""Features of a candidate's arrays: finite for all there can be, and what they are meant to be."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from darc.science.candidate_arrays import normalised, resampled
from darc.science.dm_time_features import DM_TIME_GROUPS, DM_TIME_NAMES, dm_time_features
from darc.science.extraction_features import EXTRACTION_GROUPS, EXTRACTION_NAMES
from darc.science.freq_time_features import FREQ_TIME_GROUPS, FREQ_TIME_NAMES, freq_time_features

ANY = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=80),
    elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
)


def pulse(slope: int = 0, channels: slice = slice(None), height: float = 3.0) -> np.ndarray:
    rows = np.random.default_rng(3).normal(size=(32, 64))
    for channel in range(32)[channels]:
        at = 32 + round(slope * (channel / 32 - 0.5))
        rows[channel, at : at + 2] += height
    return rows


@given(ANY)
def test_any_array_has_finite_features(array: np.ndarray) -> None:
    for measure, names in (
        (freq_time_features, FREQ_TIME_NAMES),
        (dm_time_features, DM_TIME_NAMES),
    ):
        features = measure(array)
        assert tuple(features) == names
        assert all(math.isfinite(value) for value in features.values())


@given(st.floats(1e-25, 1e25), st.floats(-100, 100))
def test_units_and_zero_point_do_not_matter(scale: float, zero: float) -> None:
    rows = pulse().astype(np.float64)
    for measure in (freq_time_features, dm_time_features):
        found = measure((rows + zero) * scale)
        assert found == pytest.approx(measure(rows), rel=1e-2, abs=1e-2)


def test_normalised() -> None:
    array = np.random.default_rng(1).normal(7, 5, (30, 20)).astype(np.float32)
    array[3, :] = [math.nan, math.inf] * 10
    found = normalised(array)
    others = np.delete(found, 3, axis=0)
    assert np.median(others) == pytest.approx(0, abs=1e-6)
    assert others.std() == pytest.approx(1, rel=1e-5)
    assert not found[3].any()
    assert not normalised(np.full((4, 4), 3.3)).any()
    assert not normalised(np.full((4, 4), math.nan)).any()


@pytest.mark.parametrize(("n", "m"), [(64, 64), (32, 64), (16, 128), (1, 1), (45, 7)])
def test_resampled(n: int, m: int) -> None:
    array = np.arange(n * m, dtype=np.float64).reshape(n, m)
    found = resampled(array, (32, 64))
    assert found.shape == (32, 64)
    assert found.min() >= 0
    assert found.max() <= n * m - 1
    if n % 32 == 0 and m % 64 == 0:
        assert found == pytest.approx(array.reshape(32, n // 32, 64, m // 64).mean(axis=(1, 3)))


def test_a_pulse_of_the_whole_band() -> None:
    found = freq_time_features(pulse())
    assert found["snr"] == pytest.approx(3 * math.sqrt(2 * 32), rel=0.25)
    assert found["log_width"] == 1
    assert found["positive"] == 1
    assert found["slope"] <= 1
    assert found["snr_without_quarter"] > 0.5 * found["snr"]


def test_one_channel_is_not_a_pulse() -> None:
    found = freq_time_features(pulse(channels=slice(5, 6), height=40))
    assert found["largest_share"] > 0.5
    assert found["snr_without_tenth"] < 3


@pytest.mark.parametrize("slope", [-10, 10])
def test_a_slanted_pulse(slope: int) -> None:
    found = freq_time_features(pulse(slope))
    assert found["slope"] == 10
    assert found["slope_gain"] > 5


def test_channels_without_data_do_not_count() -> None:
    rows = pulse()
    rows[20:] = 0
    found = freq_time_features(rows)
    assert found["used"] == pytest.approx(20 / 32)
    assert found["positive"] == 1


@pytest.mark.parametrize("row", [20, 32, 50])
def test_a_bow_tie_against_a_streak(row: int) -> None:
    rows = np.random.default_rng(4).normal(size=(2, 64, 64))
    for dm in range(64):
        smeared = 2 + abs(dm - row)
        rows[0, dm, 32 : 32 + smeared] += 60 / smeared
        rows[1, dm, 32:34] += 30
    bow_tie, streak = (dm_time_features(part) for part in rows)
    assert bow_tie["ends_max"] < 0.3
    assert streak["ends_max"] > 0.8
    assert bow_tie["bow_tie"] > 2
    assert streak["bow_tie"] < 1.5
    assert bow_tie["peak_row"] == pytest.approx(abs(row - 32) / 62, abs=0.05)


@pytest.mark.parametrize("shape", [(64,), (0, 64), (2, 3, 4)])
def test_what_is_no_candidate(shape: tuple[int, ...]) -> None:
    for measure in (freq_time_features, dm_time_features):
        with pytest.raises(ValueError, match="no candidate: an array of shape"):
            measure(np.zeros(shape))


def test_each_feature_is_in_one_group() -> None:
    for groups, names in (
        (FREQ_TIME_GROUPS, FREQ_TIME_NAMES),
        (DM_TIME_GROUPS, DM_TIME_NAMES),
        (EXTRACTION_GROUPS, EXTRACTION_NAMES),
    ):
        assert [name for group in groups.values() for name in group] == list(names)
        assert len(set(names)) == len(names)


def test_groups_and_numbers_of_features_are_as_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "classifier.md").read_text()
    for array, groups in (
        ("frequency-time", FREQ_TIME_GROUPS),
        ("DM-time", DM_TIME_GROUPS),
        ("extraction", EXTRACTION_GROUPS),
    ):
        for group, names in groups.items():
            assert f"| {array} | {group} | {len(names)} |" in page
