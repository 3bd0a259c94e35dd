"""Extraction: against a slow version, at the edges, and how well it finds generated bursts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from darc.science.dedispersion import Band, add_dedispersed
from darc.science.dispersion import delay
from darc.science.extraction import Extraction, extract, prepare
from darc.science.extraction_plan import ExtractionPlan, ExtractionSettings, plan_extraction
from simulator.synthetic_pulse import synthetic_pulse

SMALL = Band(f_lowest=1300.0, channel_width=10.0, n_channels=6)
SMALL_TSAMP = 1e-3
SMALL_SETTINGS = ExtractionSettings(
    ntime=8,
    nfreq=3,
    ndm=4,
    dm_halfrange=10,
    clean_type="perchannel",
    threshold_time=2.5,
    n_iter_time=2,
    threshold_freq=2.75,
    n_iter_freq=3,
    bin_size=3,
)
ARTS = Band(f_lowest=1219.70092773, channel_width=300 / 1536, n_channels=1536)
TSAMP = 81.92e-6
SETTINGS = replace(
    SMALL_SETTINGS,
    clean_type="isolated",
    ntime=64,
    nfreq=64,
    ndm=64,
    threshold_time=3.25,
    n_iter_time=3,
)


def clean_slowly(row: np.ndarray, settings: ExtractionSettings) -> np.ndarray:
    values = np.where(np.isfinite(row), row, row[np.isfinite(row)].mean())
    for _ in range(settings.n_iter_time if settings.clean_type == "perchannel" else 0):
        far = np.abs(values - values.mean()) > settings.threshold_time * values.std()
        values = np.where(far, values.mean(), values)
    return values


def noise_beside(row: np.ndarray, begin: int, length: int) -> float:
    """Variance without a pulse; that before it, where what is behind is clearly louder."""
    begin, end = max(begin, 0), max(begin + length, 0)
    if 2 * len(row[begin:end]) > len(row):
        return float(row.var())
    before, variance = row[:begin], np.concatenate([row[:begin], row[end:]]).var()
    if len(before) >= 16 and len(row) > end:
        louder = variance > before.var() * (1 + 6 * math.sqrt(2 / len(before)))
        return float(before.var() if louder else variance)
    return float(variance)


def slowly(
    rows: np.ndarray, plan: ExtractionPlan, settings: ExtractionSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frequency-time, its counts, and DM-time, without rolling.

    :param rows: the lowest frequency first; a channel that is not used is all NaN
    """
    length = plan.count // plan.pre
    kept: dict[int, np.ndarray] = {}
    for channel, row in enumerate(rows):
        if np.isfinite(row).any():
            clean = clean_slowly(row, settings)[: length * plan.pre]
            kept[channel] = clean.reshape(length, plan.pre).mean(axis=1)
    n_channels = len(rows)

    def shift(dm: float, channel: int) -> int:
        frequency = plan.band.frequencies[channel]
        late = delay(dm, float(frequency), plan.band.f_reference)
        return round(late / (plan.tsamp * plan.pre))

    pulse = (plan.arrival - plan.start) // plan.pre - 2 * plan.post
    variances = {
        c: noise_beside(row, pulse + shift(plan.dm, c), 8 * plan.post) for c, row in kept.items()
    }
    sums, counts = np.zeros((2, settings.nfreq, plan.ntime))
    for group in range(settings.nfreq):
        first, end = (g * n_channels // settings.nfreq for g in (group, group + 1))
        for channel in set(range(first, end)) & set(kept):
            row = kept[channel] - np.median(kept[channel])
            for sample in range(plan.ntime * plan.post):
                place = sample + shift(plan.dm, channel)
                if place < length:
                    sums[group, sample // plan.post] += row[place]
                    counts[group, sample // plan.post] += 1
    dm_time = np.zeros((len(plan.dms), plan.ntime))
    for trial, dm in enumerate(plan.dms.tolist()):
        for number in range(plan.ntime):
            total = 0.0
            for sample in range(number * plan.post, (number + 1) * plan.post):
                inside = [c for c in kept if sample + shift(dm, c) < length]
                if len(inside) < len(kept) / 2:
                    total = math.nan
                    break
                noise = math.sqrt(sum(variances[c] for c in inside))
                signal = sum(kept[c][sample + shift(dm, c)] - np.median(kept[c]) for c in inside)
                total += signal / noise if noise else 0.0
            dm_time[trial, number] = total / math.sqrt(plan.post)
    return np.where(counts, sums / np.maximum(counts, 1), 0), counts, dm_time


@st.composite
def stretches(draw):
    """A plan, its data in the file's order, and how to read it."""
    settings = replace(
        SMALL_SETTINGS,
        clean_type=draw(st.sampled_from(["perchannel", "none"])),
        nfreq=draw(st.sampled_from([1, 3, 4, 6])),
    )
    plan = plan_extraction(
        SMALL,
        SMALL_TSAMP,
        dm=draw(st.sampled_from([0.0, 7.0, 56.77, 300.0, 1000.0])),
        width=draw(st.integers(1, 12)),
        time=draw(st.floats(0, 0.5)),
        settings=settings,
    )
    missing = draw(st.sampled_from([0, 0, 1, plan.pre * 3, plan.count * 2 // 3]))
    plan = replace(plan, count=plan.count - missing)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    descending = draw(st.booleans())
    data = rng.normal(100, 10, (plan.count, 6))
    data[rng.random(data.shape) < 0.02] = 250
    dtype = draw(st.sampled_from(["u1", "<u2", "<f4"]))
    data = np.rint(data).astype(dtype)
    if dtype == "<f4":
        data[rng.random(data.shape) < draw(st.sampled_from([0, 0.1]))] = np.nan
        data[:, 3 if descending else 2] = np.nan
    mask = draw(st.none() | st.sets(st.integers(3, 5), max_size=2))
    return plan, data, settings, descending, mask


def masked(channels: set[int] | None) -> np.ndarray | None:
    return None if channels is None else np.isin(np.arange(6), list(channels))


@given(stretches())
def test_against_the_slow_version(example):
    plan, data, settings, descending, channels = example
    length, shifts = plan.count // plan.pre, SMALL.shifts([plan.dm], SMALL_TSAMP * plan.pre)[0]
    used = [
        c for c in range(6) if c not in (channels or ()) and not (c == 2 and data.dtype == "f4")
    ]
    if np.count_nonzero(shifts[used] < length) < len(used) / 2:
        with pytest.raises(ValueError, match="less than half of the band"):
            extract(data, plan, settings, descending=descending, mask=masked(channels))
        return
    found = extract(data, plan, settings, descending=descending, mask=masked(channels))
    rows = (data[:, ::-1] if descending else data).T.astype(np.float64)
    if channels:
        rows = rows.copy()
        rows[list(channels)] = np.nan
    freq_time, counts, dm_time = slowly(rows, plan, settings)
    peak = round((found.time / SMALL_TSAMP - plan.start) / plan.bin_samples)
    assert 0 <= peak < 8
    roll = 4 - peak
    np.testing.assert_allclose(found.freq_time, np.roll(freq_time, roll, 1), rtol=1e-3, atol=1e-2)
    np.testing.assert_array_equal(found.freq_time_valid, np.roll(counts > 0, roll, 1))
    expected = np.roll(dm_time, roll, 1)
    np.testing.assert_array_equal(found.dm_time_valid, np.isfinite(expected))
    np.testing.assert_allclose(found.dm_time, np.nan_to_num(expected), rtol=1e-3, atol=1e-2)
    assert np.isfinite([found.snr, found.snr_dm0, found.best_dm]).all()


def test_the_profile_is_the_middle_row_of_dm_time():
    plan = plan_extraction(SMALL, SMALL_TSAMP, dm=567.7, width=5, time=0.5, settings=SMALL_SETTINGS)
    data = np.random.default_rng(1).normal(100, 10, (plan.count, 6)).astype(np.uint8)
    found = extract(data, plan, SMALL_SETTINGS, descending=False)
    np.testing.assert_allclose(found.profile, found.dm_time[2], rtol=1e-4, atol=1e-4)
    assert found.dms[2] == pytest.approx(567.7)


def burst(
    *,
    dm: float,
    width: int,
    snr: float,
    trigger_width: int,
    dm_offset: float = 0.0,
    band: Band = ARTS,
    settings: ExtractionSettings = SETTINGS,
) -> tuple[ExtractionPlan, np.ndarray, np.ndarray]:
    """A plan, 8-bit data with a burst in noise for it, and the burst's dedispersed series.

    It arrives half a sample after the sample that the trigger says. Made some channels at a time.
    """
    plan = plan_extraction(
        band, TSAMP, dm=dm + dm_offset, width=trigger_width, time=3.0, settings=settings
    )
    rng = np.random.default_rng(round(dm) + width)
    data = np.empty((plan.count, band.n_channels), np.uint8)
    series = np.zeros((1, plan.ntime * plan.bin_samples), np.float32)
    shifts = band.shifts([dm], TSAMP)
    amplitude = snr * 10 / math.sqrt(band.n_channels * width)
    for first in range(0, band.n_channels, 128):
        part = Band(band.frequencies[first], band.channel_width, 128)
        late = delay(dm, part.f_reference, band.f_reference) / TSAMP
        arrival = plan.arrival - plan.start + 0.5 + late
        pulse = synthetic_pulse(
            part, TSAMP, dm=dm, width=width, arrival=arrival, n_samples=plan.count
        )
        rows = 10 * rng.standard_normal(pulse.shape, dtype=np.float32) + amplitude * pulse
        add_dedispersed(rows, shifts[:, first : first + 128], series)
        columns = band.n_channels - 1 - np.arange(first, first + 128)
        data[:, columns] = np.clip(np.rint(rows + 100), 0, 255).T
    return plan, data, series[0] / (10 * math.sqrt(band.n_channels))


@pytest.mark.parametrize(
    ("dm", "width", "trigger_width", "pre"),
    [(50, 3, 5, 1), (300, 100, 100, 1), (1000, 10, 10, 1), (1000, 30, 50, 1), (3000, 100, 100, 5)],
)
def test_generated_bursts(dm, width, trigger_width, pre):
    offset = 0.1
    plan, data, series = burst(
        dm=dm, width=width, snr=22, trigger_width=trigger_width, dm_offset=offset
    )
    assert plan.pre == pre
    found = extract(data, plan, SETTINGS, descending=True)
    # Samples that the burst reaches are known here, and so is the noise. Smearing makes it longer.
    wide = width + round(ARTS.smearing(dm) / TSAMP / 2)
    front = plan.arrival - plan.start - (wide - width) // 2
    ideal = max(
        series[start : start + length].sum() / math.sqrt(length)
        for start in range(front - 2, front + 3)
        for length in range(max(1, wide - 4), wide + 5)
    )
    assert found.snr == pytest.approx(ideal, rel=0.06)
    assert found.snr_best >= found.snr == pytest.approx(ideal, rel=0.08)
    assert found.width == pytest.approx(wide, rel=0.4)
    assert found.snr_dm0 < 8
    step = found.dms[1] - found.dms[0]
    assert abs(found.best_dm - dm) < step / 2
    middle = (plan.arrival + 0.5 + width / 2) * TSAMP
    assert abs(found.time + found.bin_length / 2 - middle) < found.bin_length
    assert found.bin_length == pytest.approx(plan.bin_samples * TSAMP)
    assert np.unravel_index(found.dm_time.argmax(), found.dm_time.shape)[1] in (31, 32, 33)
    assert found.profile.argmax() in (31, 32, 33)
    assert found.freq_time.mean(axis=0).argmax() in (31, 32, 33)
    assert found.dm_time_valid.all()
    assert found.freq_time_valid.all()


@pytest.mark.parametrize(
    ("dm", "offset", "trigger_width"), [(1800.0, 1.0, 10), (60.0, 0.25, 5), (60.0, -0.25, 5)]
)
def test_a_trigger_beside_the_pulses_dm(dm, offset, trigger_width):
    """What a plain boxcar loses by the trigger's DM and by smearing is found nevertheless."""
    snrs = []
    for beside in (0.0, offset):
        plan, data, _ = burst(dm=dm, width=2, snr=30, trigger_width=trigger_width, dm_offset=beside)
        found = extract(data, plan, SETTINGS, descending=True)
        assert abs(found.best_dm - dm) < (found.dms[1] - found.dms[0]) / 2
        snrs.append(found.snr_best)
    # Another stretch has other noise: each S/N is good to 1; this is three times the difference's.
    assert snrs[1] == pytest.approx(snrs[0], abs=3 * math.sqrt(2))
    assert found.snr_best > 1.08 * found.snr


def test_no_signal_in_noise():
    plan, data, _ = burst(dm=100, width=10, snr=0, trigger_width=10)
    found = extract(data, plan, SETTINGS, descending=True)
    assert found.snr < 5
    assert found.dm_time.std() == pytest.approx(1, rel=0.05)
    assert found.profile.std() == pytest.approx(1, rel=0.3)


def test_broadband_interference_shows_at_dm_0():
    plan, data, _ = burst(dm=20, width=10, snr=0, trigger_width=10)
    data[300:310] += 3
    found = extract(data, plan, SETTINGS, descending=True)
    assert found.snr_dm0 > found.snr + 3


@pytest.mark.parametrize("where", ["beginning", "end"])
def test_a_burst_at_an_end_of_the_file(where):
    whole, data, _ = burst(dm=300, width=10, snr=25, trigger_width=10)
    bins = whole.bin_samples
    if where == "beginning":
        plan = replace(whole, start=0, arrival=3 * bins)
        data = np.concatenate([data[29 * bins :], data[: 29 * bins]])
    else:  # All of the burst is there, and nothing behind it.
        n_samples = whole.end - 400
        plan = whole.within(n_samples)
        before = whole.start - plan.start
        data = np.concatenate([data[:before], data[:-400]])[: plan.count]
    found = extract(data, plan, SETTINGS, descending=True)
    assert found.snr == pytest.approx(25, rel=0.15)
    assert abs(found.time - plan.arrival * TSAMP) <= found.bin_length
    assert found.profile.argmax() in (31, 32, 33)


def test_data_that_ends_within_the_burst():
    plan, data, _ = burst(dm=300, width=10, snr=25, trigger_width=10)
    short = replace(plan, count=plan.count - 1500)  # a quarter of the band
    found = extract(data[: short.count], short, SETTINGS, descending=True)
    assert 15 < found.snr < 24
    assert not found.freq_time_valid[:8].any()
    assert found.freq_time_valid[-32:].all()
    assert not found.freq_time[~found.freq_time_valid].any()
    assert not found.dm_time[~found.dm_time_valid].any()


def test_a_delay_longer_than_the_data():
    plan = plan_extraction(SMALL, SMALL_TSAMP, dm=10_000.0, width=5, time=0.0, settings=SETTINGS)
    short = plan.within(500)
    assert short.count == 500
    with pytest.raises(ValueError, match=r"less than half of the band .* at DM 10000\.0"):
        extract(np.zeros((500, 6), np.uint8), short, SETTINGS, descending=False)


def small(data: np.ndarray | None = None, **changes: object) -> Extraction:
    settings = replace(SMALL_SETTINGS, **changes)
    plan = plan_extraction(SMALL, SMALL_TSAMP, dm=56.77, width=20, time=1.0, settings=settings)
    if data is None:
        data = np.random.default_rng(1).normal(100, 10, (plan.count, 6))
    return extract(data[: plan.count].astype(np.float32), plan, settings, descending=False)


@pytest.mark.parametrize("clean_type", ["time", "frequency", "both", "perchannel", "none"])
@pytest.mark.parametrize("value", [0.0, 0.1, 255.0])
def test_constant_data(clean_type, value):
    found = small(np.full((1000, 6), value), clean_type=clean_type)
    assert found.snr == found.snr_dm0 == 0
    assert not found.freq_time.any()
    assert not found.dm_time.any()


@pytest.mark.parametrize("clean_type", ["time", "frequency", "both", "perchannel", "none"])
@pytest.mark.parametrize("share", [0.01, 0.9])
def test_data_with_gaps(clean_type, share):
    rng = np.random.default_rng(2)
    data = rng.normal(100, 10, (1000, 6))
    data[rng.random(data.shape) < share] = rng.choice([np.nan, np.inf, -np.inf])
    found = small(data, clean_type=clean_type)
    for array in (found.freq_time, found.dm_time, found.profile):
        assert np.isfinite(array).all()
    assert math.isfinite(found.snr)


@pytest.mark.parametrize("clean_type", ["time", "frequency", "both", "perchannel", "none"])
def test_nothing_to_extract(clean_type):
    with pytest.raises(ValueError, match="no channel is left"):
        small(np.full((1000, 6), np.nan), clean_type=clean_type)


def test_all_channels_masked():
    plan = plan_extraction(SMALL, SMALL_TSAMP, dm=50.0, width=1, time=0.0, settings=SETTINGS)
    data = np.zeros((plan.count, 6), np.uint8)
    with pytest.raises(ValueError, match="no channel is left"):
        extract(data, plan, SETTINGS, descending=True, mask=np.ones(6, np.bool_))


@pytest.mark.parametrize("shape", [(10, 6), (6, 10), (1000, 5), (1000,)])
def test_data_of_another_shape(shape):
    plan = plan_extraction(SMALL, SMALL_TSAMP, dm=50.0, width=1, time=0.0, settings=SETTINGS)
    with pytest.raises(ValueError, match=r"data of shape .*; wanted: \(\d+, 6\)"):
        extract(np.zeros(shape, np.uint8), plan, SETTINGS, descending=True)


def test_a_mask_of_another_shape():
    plan = plan_extraction(SMALL, SMALL_TSAMP, dm=50.0, width=1, time=0.0, settings=SETTINGS)
    data = np.zeros((plan.count, 6), np.uint8)
    with pytest.raises(ValueError, match=r"a mask of shape \(5,\) for 6 channels"):
        extract(data, plan, SETTINGS, descending=True, mask=np.zeros(5, np.bool_))


@pytest.mark.parametrize(
    ("clean_type", "helps"),
    [
        ("none", set()),
        ("perchannel", {"spikes", "moments"}),
        ("time", {"moments"}),
        ("frequency", {"channel"}),
        ("both", {"moments", "channel"}),
    ],
)
@pytest.mark.parametrize("kind", ["spikes", "moments", "channel"])
def test_what_each_kind_of_cleaning_removes(clean_type, helps, kind):
    """Interference makes noise; without it, what is left is the same as in clean data."""
    rng = np.random.default_rng(3)
    band = Band(1300.0, 1.0, 64)
    settings = replace(SETTINGS, clean_type=clean_type)
    plan = plan_extraction(band, SMALL_TSAMP, dm=50.0, width=5, time=1.0, settings=settings)
    data = rng.normal(100, 10, (plan.count, 64))
    clean = extract(data.astype(np.float32), plan, settings, descending=True)
    if kind == "spikes":
        data[rng.random(data.shape) < 0.03] += 80
    elif kind == "moments":
        data[::50] += 300
    else:
        data[:, 20] += np.linspace(0, 2000, plan.count)
    found = extract(data.astype(np.float32), plan, settings, descending=True)
    removed = found.freq_time.std() < 1.3 * clean.freq_time.std()
    assert removed == (kind in helps)


def test_wide_bins_are_summed_in_steps():
    """With 100 samples in a bin, trials are summed in steps of ten: nearly the same."""
    plan, data, _ = burst(dm=300, width=100, snr=100, trigger_width=100)
    found = extract(data, plan, SETTINGS, descending=True)
    assert found.dms[32] == pytest.approx(plan.dm)
    np.testing.assert_allclose(found.dm_time[32], found.profile, atol=0.05 * 100)
    assert found.dm_time[32, 32] == pytest.approx(found.profile[32], rel=0.05)


def test_preparing_leaves_nothing_to_compile(recwarn):
    prepare(np.uint8, SMALL_SETTINGS)
    assert not recwarn.list
