"""The oracle itself: against brute force, against its own definitions, and alone."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cells import INSTRUMENTS, KINDS
from interference import KINDS as INTERFERENCE
from nodes import patience
from oracle import (
    LEVELS,
    SATURATED,
    Component,
    Instrument,
    Levels,
    Scene,
    best_boxcar,
    boxcar_snr,
    dedispersed,
    read,
    template,
)

SMALL = Instrument("", 400.0, 800.0, 32, 1e-3, 8, 20.0)


def test_it_knows_nothing_of_darc() -> None:
    here = str(Path(__file__).parent)
    code = (
        f"import sys; sys.path.insert(0, {here!r}); import oracle, interference, cells;"
        "print([name for name in sys.modules if name.split('.')[0] == 'darc'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=patience(60),
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("scattering", [0.0, 1.0])
def test_a_burst_is_that_of_brute_force(scattering: float) -> None:
    """Many frequencies within a channel, many moments within a sample, one by one.

    The delay within a channel is taken as linear in frequency: here it is a channel of 3 %.
    """
    width, arrival, channel = 3.0, 5.3, 4
    made = template(SMALL, (Component(scattering=scattering),), width, arrival)
    f = SMALL.low + SMALL.width * (channel + (np.arange(400) + 0.5) / 400)
    later = 4.148806e3 * SMALL.dm * (f**-2 - SMALL.high**-2) / SMALL.tsamp
    fine, n = 50, made.values.shape[1]
    t = made.index[channel, 0] + (np.arange(n * fine) + 0.5) / fine
    seen = np.mean([(t >= arrival + d) & (t < arrival + d + width) for d in later], axis=0)
    if scattering:
        tau = scattering * width * (SMALL.frequencies[channel] / 600.0) ** -4
        tail = np.exp(-np.arange(len(t)) / fine / tau)
        size = 2 * len(t)
        smeared = np.fft.irfft(np.fft.rfft(seen, size) * np.fft.rfft(tail / tail.sum(), size))
        seen = smeared[: len(t)]
    slow = seen.reshape(n, fine).mean(axis=1)
    fast = made.values[channel] * slow.sum() / made.values[channel].sum()
    assert np.abs(fast - slow).max() < 0.05 * slow.max()


def test_a_burst_arrives_when_and_where_it_is_said() -> None:
    made = template(SMALL, (Component(),), 4, 100.0)
    centres = (made.values * (made.index + 0.5)).sum(axis=1) / made.values.sum(axis=1)
    assert centres == pytest.approx(102.0 + SMALL.delays(SMALL.dm), abs=0.4)


@pytest.mark.parametrize("levels", [*LEVELS.values(), SATURATED], ids=str)
def test_numbers_of_noise_are_as_expected(levels: Levels) -> None:
    rng = np.random.default_rng(1)
    for value in (0.0, 0.5, 2.0, 6.0):
        noise = rng.standard_normal(200_000) + value
        seen = levels.in_sigmas(levels.numbers(noise))
        expected = levels.expected(np.array([value]))[0]
        assert seen.mean() == pytest.approx(expected, abs=0.012)
        if value == 0:
            assert seen.std() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("kind", ["flat", "scattered", "drifting", "one of two polarisations"])
def test_what_is_seen_is_the_matched_filter_and_noise_of_one(kind: str, tmp_path: Path) -> None:
    what, off = KINDS[kind], []
    for seed in range(60):
        scene = Scene(SMALL, what.components, 3, seed=seed, nifs=what.nifs)
        truth = scene.truth(20.0)
        assert truth.matched == pytest.approx(20.0, rel=0.02)
        assert truth.boxcar <= truth.matched <= truth.everything
        off.append(truth.seen - truth.matched)
    assert np.mean(off) == pytest.approx(0.0, abs=4 / math.sqrt(60))
    assert np.std(off) == pytest.approx(1.0, abs=0.35)


def test_the_file_has_what_is_said(tmp_path: Path) -> None:
    """Dedispersed from its bytes, against robust noise: S/N, start and width of the boxcar."""
    for descending in (True, False):
        instrument = Instrument("", 400.0, 800.0, 32, 1e-3, 8, 20.0, descending)
        scene = Scene(instrument, (Component(),), 3, seed=3)
        truth = scene.write(tmp_path / "x.fil", 30.0)
        said, data = read(tmp_path / "x.fil")
        assert (said["nchans"], said["nbits"], said["nifs"]) == (32, 8, 1)
        rows = data[:, 0].T.astype(float)
        frequencies = said["fch1"] + said["foff"] * np.arange(32)
        rows = rows[np.argsort(frequencies)]
        series = dedispersed(rows, np.rint(instrument.delays(20.0)).astype(np.int64))
        snrs = boxcar_snr(series, truth.width)
        assert abs(int(snrs.argmax()) - truth.start) <= 1
        assert snrs.max() == pytest.approx(truth.boxcar, abs=3)


@pytest.mark.parametrize("nbits", [1, 2, 4])
def test_small_numbers_are_packed_with_the_first_channel_lowest(nbits: int, tmp_path: Path) -> None:
    instrument = Instrument("", 400.0, 800.0, 32, 1e-3, nbits, 5.0, descending=False)
    scene = Scene(instrument, (Component(),), 3, seed=3)
    scene.write(tmp_path / "x.fil", 30.0)
    raw = (tmp_path / "x.fil").read_bytes()
    data = raw[raw.index(b"HEADER_END") + 10 :]
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").reshape(-1, 32, nbits)
    numbers = (bits << np.arange(nbits)).sum(axis=2)
    assert (scene.rows == numbers.T).all()
    assert (read(tmp_path / "x.fil")[1][:, 0] == numbers).all()


def test_the_best_boxcar_of_a_box_is_the_box() -> None:
    box = np.zeros(50)
    box[20:27] = 2.0
    snr, start, width = best_boxcar(box)
    assert (start, width) == (20, 7)
    assert snr == pytest.approx(2 * math.sqrt(7))


@pytest.mark.parametrize("kind", INTERFERENCE)
def test_interference_is_the_same_each_time_and_something(kind: str) -> None:
    rows = [np.zeros((64, 2000), np.float32) for _ in range(2)]
    for one in rows:
        INTERFERENCE[kind](one, 1e-3, np.random.default_rng(5))
    assert (rows[0] == rows[1]).all()
    assert rows[0].any() == (kind != "nothing")


def test_all_of_the_range_is_there() -> None:
    """16 to 4096 channels, 0.1 to 8 GHz, 10 us to 2 ms, 1 to 32 bits."""
    all_of = INSTRUMENTS.values()
    assert {one.nbits for one in all_of} == set(LEVELS)
    assert min(one.nchans for one in all_of) == 16
    assert max(one.nchans for one in all_of) == 4096
    assert (min(one.tsamp for one in all_of), max(one.tsamp for one in all_of)) == (1e-5, 2e-3)
    assert min(one.low for one in all_of) <= 110
    assert max(one.high for one in all_of) == 8000
