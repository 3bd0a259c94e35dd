"""Data as receivers and recorders spoil them: a pulse is found, and measured, all the same.

What is right is what the undisturbed file gives; the S/N that was put in is that of a matched
filter, worked out here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from darc.candidates.extract_cluster import extraction_settings
from darc.candidates.file_search import plan_search
from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.filterbank_reader import Filterbank
from darc.data_files.filterbank_writer import FilterbankWriter
from darc.model.candidate import Records
from darc.node.node_config import ConfigSources
from darc.science.dedispersion import Band
from darc.science.extraction import extract
from darc.science.extraction_plan import plan_extraction

HEADER = FilterbankHeader(nchans=64, nbits=8, tsamp=5e-4, fch1=1500.0, foff=-298 / 63)
N, DM, AT, WIDTH, SNR = 16384, 100.0, 3.0, 8, 34.0
BAND = Band(HEADER.f_lowest, HEADER.channel_width, HEADER.nchans)
SETTINGS = extraction_settings(ConfigSources(None).parse().processor.extractor)
#: What the search may lose to trial DMs, smearing, and the cleaning of outliers.
FOUND = 0.8


def made(snr: float = SNR, seed: int = 1) -> np.ndarray:
    """Noise of mean 100 and deviation 10 with a pulse in it, shape (N, 64)."""
    data = np.random.default_rng(seed).normal(100.0, 10.0, (N, HEADER.nchans))
    frequencies = HEADER.frequencies
    delays = 4.148808e3 * DM * (frequencies**-2 - frequencies[0] ** -2)
    for channel, delay in enumerate(delays):
        begin = round((AT + delay) / HEADER.tsamp)
        data[begin : begin + WIDTH, channel] += snr * 10.0 / np.sqrt(WIDTH * HEADER.nchans)
    return data


def eight_bits(data: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(data), 0, 255).astype(np.uint8)


def search(path: Path, data: np.ndarray, header: FilterbankHeader = HEADER) -> Records | None:
    with FilterbankWriter(path, header) as file:
        file.append(data)
    with Filterbank(path) as file:
        jobs = plan_search(
            file,
            observation="x",
            dm_min=20.0,
            dm_max=300.0,
            snr_min=6.5,
            mask=None,
            clip=(3.25, 3),
            isolated=True,
        )
        found = [job.run() for job in jobs]
    there = [records for records in found if records is not None]
    return np.concatenate(there) if there else None


def gain(part: float, period: float) -> Callable[[np.ndarray], None]:
    def change(data: np.ndarray) -> None:
        times = np.arange(N) * HEADER.tsamp
        data *= (1 + part * np.sin(2 * np.pi * times / period))[:, np.newaxis]

    return change


def put(samples: slice, channels: slice, value: float | None) -> Callable[[np.ndarray], None]:
    """A value, or None: that of the sample before."""

    def change(data: np.ndarray) -> None:
        held = data[samples.start - 1, channels].copy() if value is None else value
        data[samples, channels] = held

    return change


def step(begin: int, height: float, channels: slice = slice(None)) -> Callable[[np.ndarray], None]:
    def change(data: np.ndarray) -> None:
        data[begin:, channels] += height

    return change


def noisier(begin: int, factor: float) -> Callable[[np.ndarray], None]:
    def change(data: np.ndarray) -> None:
        data[begin:] = 100.0 + (data[begin:] - 100.0) * factor

    return change


ALL = slice(None)
DISTURBED = {
    "as it is": lambda _: None,
    "1 s of zeros": put(slice(8000, 10000), ALL, 0),
    "1 s of zeros before": put(slice(3000, 5000), ALL, 0),
    "zeros up to 5 ms before it": put(slice(5500, 5990), ALL, 0),
    "zeros at the end": put(slice(N - 403, N), ALL, 0),
    "zeros at the beginning": put(slice(0, 2000), ALL, 0),
    "1 s of the highest value": put(slice(8000, 10000), ALL, 255),
    "a sample that is held": put(slice(8000, 10000), ALL, None),
    "zeros in a quarter of the band": put(slice(8000, 10000), slice(0, 16), 0),
    "a quarter of the band held": put(slice(8000, 10000), slice(0, 16), None),
    "a step of one deviation": step(10000, 10.0),
    "a step of one eighth": step(6500, 1.25),
    "a step just before it": step(5700, 10.0),
    "a step of six deviations": step(6600, 60.0),
    "a step in half of the band": step(6600, 20.0, slice(0, 32)),
    "a gain that varies by 5 % in 10 s": gain(0.05, 10.0),
    "a gain that varies by 30 % in 10 s": gain(0.3, 10.0),
    "twice the noise": noisier(9000, 2.0),
    "half of the noise": noisier(9000, 0.5),
}


@pytest.mark.parametrize("how", DISTURBED)
def test_a_pulse_is_found_and_nothing_else(tmp_path, how):
    data = made()
    DISTURBED[how](data)
    found = search(tmp_path / "a.fil", eight_bits(data))
    assert found is not None
    best = found[np.argmax(found["snr"])]
    # The edges of 8 bits cut a gain of 30 % off.
    assert best["snr"] >= FOUND * SNR * (0.9 if "30 %" in how else 1)
    assert abs(best["time"] - AT) < 2e-3
    assert abs(best["dm"] - DM) < 2.0
    assert not len(found[np.abs(found["time"] - AT) > 0.1])


@pytest.mark.parametrize("how", DISTURBED)
def test_nothing_is_found_in_noise(tmp_path, how):
    data = made(snr=0.0, seed=2)
    DISTURBED[how](data)
    found = search(tmp_path / "a.fil", eight_bits(data))
    assert found is not None
    # Where noise doubles at once, the first of it is told by the noise before. (8 is listed.)
    assert not (found["snr"] >= 7.0).any()


def test_no_numbers_are_no_data(tmp_path):
    """A second of NaN, or of infinity, as recorders of floats write."""
    header = replace(HEADER, nbits=32)
    for number, value in enumerate((np.nan, np.inf)):
        data = made().astype(np.float32)
        data[8000:10000] = value
        found = search(tmp_path / f"{number}.fil", data, header)
        assert found is not None
        assert found["snr"].max() >= FOUND * SNR


def test_no_data_are_no_data(tmp_path):
    """Neither are a thousand pulses found, nor is it said that there are none."""
    assert search(tmp_path / "a.fil", np.zeros((N, 64), np.uint8)) is None


@pytest.mark.parametrize("how", [how for how in DISTURBED if "highest" not in how])
def test_a_pulse_is_measured(how):
    data = made()
    DISTURBED[how](data)
    plan = plan_extraction(BAND, HEADER.tsamp, dm=DM, width=WIDTH, time=AT, settings=SETTINGS)
    stretch = eight_bits(data)[plan.start : plan.start + plan.count]
    found = extract(stretch, plan, SETTINGS, descending=True)
    assert found.snr == pytest.approx(SNR, rel=0.15)
    assert found.width == pytest.approx(WIDTH, abs=2)


@pytest.mark.parametrize("samples", [(5700, 5900), (6200, 6400), (6300, 8400)])
def test_zeros_beside_a_pulse_take_nothing_of_it(samples):
    data = made()
    data[slice(*samples)] = 0
    plan = plan_extraction(BAND, HEADER.tsamp, dm=DM, width=WIDTH, time=AT, settings=SETTINGS)
    stretch = eight_bits(data)[plan.start : plan.start + plan.count]
    assert extract(stretch, plan, SETTINGS, descending=True).snr == pytest.approx(SNR, rel=0.15)


def test_a_pulse_in_the_second_polarisation(tmp_path):
    """Of two, the sum: 1 / sqrt(2) of the S/N that it has in one alone."""
    data = np.stack([made(snr=0.0, seed=5), made()], axis=1)
    found = search(tmp_path / "a.fil", eight_bits(data), replace(HEADER, nifs=2))
    assert found is not None
    assert found["snr"].max() >= FOUND * SNR / np.sqrt(2)


@pytest.mark.parametrize("value", [1e14, -1e14, 3e38])
@pytest.mark.parametrize("step", [1, 2])
def test_a_value_that_no_receiver_measures_hides_nothing(
    tmp_path: Path, value: float, step: int
) -> None:
    data = made().astype(np.float32)
    usual = replace(HEADER, nbits=32)
    expected = search(tmp_path / "undisturbed.fil", data, usual)
    assert expected is not None
    data[9000, ::step] = value
    found = search(tmp_path / "disturbed.fil", data, usual)
    assert found is not None
    best = found[np.argmax(found["snr"])]
    assert abs(best["time"] - AT) < 0.01
    assert best["snr"] == pytest.approx(expected["snr"].max(), rel=0.02)


@pytest.mark.parametrize("unit", [1e-30, 1e-20, 1e20, 1e30])
def test_floats_in_any_unit_are_searched(tmp_path: Path, unit: float) -> None:
    """As a power of 1e-20 W, whose square is no float of 32 bits."""
    usual = replace(HEADER, nbits=32)
    expected = search(tmp_path / "usual.fil", made().astype(np.float32), usual)
    found = search(tmp_path / "other.fil", (made() * unit).astype(np.float32), usual)
    assert expected is not None
    assert found is not None
    assert found["snr"].max() == pytest.approx(expected["snr"].max(), rel=0.02)
    assert abs(found[np.argmax(found["snr"])]["time"] - AT) < 0.01


@pytest.mark.parametrize("n_channels", [1, 2, 3, 4, 5, 6, 7, 8, 16])
def test_a_pulse_in_few_channels(tmp_path: Path, n_channels: int) -> None:
    """Of two channels, one that is raised is half of the band, and no impulse."""
    header = replace(HEADER, nchans=n_channels, nbits=32, foff=-300.0 / n_channels)
    dm, width = 40.0, 8
    data = np.random.default_rng(1).normal(100.0, 10.0, (N, n_channels))
    delays = 4.148808e3 * dm * (header.frequencies**-2 - header.frequencies[0] ** -2)
    for channel, delay in enumerate(delays):
        begin = round((AT + delay) / header.tsamp)
        data[begin : begin + width, channel] += 100.0
    found = search(tmp_path / "made.fil", data.astype(np.float32), header)
    assert found is not None
    best = found[np.argmax(found["snr"])]
    assert abs(best["time"] - AT) <= 0.01
    assert best["snr"] >= 0.6 * 10 * np.sqrt(n_channels * width)
