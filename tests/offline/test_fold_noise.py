"""Folding: noise of any colour is not taken for a pulsar, and pulsars in it are found."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from darc.offline.fold_file import FoldingError, fold_filterbank

sys.path.insert(0, str(Path(__file__).parents[1] / "numbers"))
from folding import fold_noise
from noise_files import KINDS, NoiseFile, Pulsar, write


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)
def test_noise_is_no_pulsar(kind: int, tmp_path: Path) -> None:
    """Some files of each kind; a thousand: tests/numbers/folding.py."""
    for number in range(6):
        found = fold_noise(number * len(KINDS) + kind, tmp_path)
        assert found.file.kind == KINDS[kind]
        assert not found.detected, found


@pytest.mark.parametrize("kind", ["white", "red", "steps"])
@pytest.mark.parametrize("n_bins", [8, 64])
def test_a_pulsar_in_noise_is_found_at_its_period(kind: str, n_bins: int, tmp_path: Path) -> None:
    what = NoiseFile(4, kind, 16384, 32, 1e-3, 400.0, 430.0, 8)
    path = tmp_path / "pulsar.fil"
    write(what, path, Pulsar(0.3172, 50.0, 0.04, 30.0))
    found = fold_filterbank(path, period=0.3172, dm=50.0, n_bins=n_bins)
    assert found.detected
    if kind == "white" and n_bins == 64:
        assert found.peak.snr == pytest.approx(30, rel=0.15)
    nothing = fold_filterbank(path, period=0.2718, dm=50.0, n_bins=n_bins)
    assert not nothing.detected
    assert nothing.peak.snr < 6
    # Each eleventh of the pulsar's harmonics is a harmonic of this, too.
    assert not fold_filterbank(path, period=0.3172 * 12 / 11, dm=50.0, n_bins=n_bins).detected


def test_a_pulsar_is_found_blind_and_by_its_period_alone(tmp_path: Path) -> None:
    what = NoiseFile(1, "white", 16384, 32, 1e-3, 400.0, 430.0, 8)
    path = tmp_path / "pulsar.fil"
    write(what, path, Pulsar(0.3172, 50.0, 0.03, 30.0))
    for known in ({}, {"period": 0.3172}):
        found = fold_filterbank(path, **known)
        assert found.detected
        assert found.period == pytest.approx(0.3172, rel=1e-3)
        assert found.dm == pytest.approx(50, abs=3)


def test_a_period_at_dm_0_is_interference_unless_somebody_knows_better(tmp_path: Path) -> None:
    what = NoiseFile(1, "white", 16384, 32, 1e-3, 400.0, 430.0, 8)
    path = tmp_path / "hum.fil"
    write(what, path, Pulsar(0.3172, 0.0, 0.03, 30.0))
    found = fold_filterbank(path)
    assert (found.undispersed, found.detected) == (True, False)
    assert found.false_alarm_probability < 1e-20
    found = fold_filterbank(path, period=0.3172, dm=0.0)
    assert (found.undispersed, found.detected) == (False, True)


# -- time series -------------------------------------------------------------------------------


def write_series(path: Path, series: np.ndarray, **more: float) -> None:
    """A .tim file, as SIGPROC writes it: no foff."""

    def text(word: str) -> bytes:
        return struct.pack("<i", len(word)) + word.encode()

    whole = {"data_type": 2, "nchans": 1, "nbits": 32, "nifs": 1}
    real = {"tsamp": 1e-3, "fch1": 430.0, "tstart": 60000.0, **more}
    parts = [text("HEADER_START")]
    parts += [text(key) + struct.pack("<i", value) for key, value in whole.items()]
    parts += [text(key) + struct.pack("<d", value) for key, value in real.items()]
    header = b"".join([*parts, text("HEADER_END")])
    path.write_bytes(header + series.astype("<f4").tobytes())


@pytest.mark.parametrize(
    "more", [{}, {"foff": 0.0}, {"refdm": 26.8}, {"refdm": 26.8, "foff": -4.0}]
)
def test_time_series_are_folded_and_searched(more: dict[str, float], tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    series = random.normal(size=20000) + 2.0 * (np.arange(20000) * 1e-3 / 0.25 % 1 < 0.05)
    path = tmp_path / "a.tim"
    write_series(path, series, **more)
    expected = 2 * np.sqrt(20000 * 0.05 * 0.95) / np.sqrt(1 + 4 * 0.05 * 0.95)
    for known in ({"period": 0.25}, {}):
        found = fold_filterbank(path, n_bins=100, **known)
        assert found.detected
        assert found.peak.snr == pytest.approx(expected, rel=0.1)
        assert found.period == pytest.approx(0.25, rel=1e-4)
        assert found.dm == more.get("refdm", 0.0)
    write_series(path, random.normal(size=20000), **more)
    assert not fold_filterbank(path, period=0.25).detected
    assert not fold_filterbank(path).detected


def test_a_time_series_has_the_dm_that_it_has(tmp_path: Path) -> None:
    path = tmp_path / "a.tim"
    write_series(path, np.random.default_rng(1).normal(size=5000), refdm=26.8)
    with pytest.raises(FoldingError, match=r"dedispersed at DM 26\.8: for DM 50, give the filterb"):
        fold_filterbank(path, period=0.25, dm=50.0)
    assert fold_filterbank(path, period=0.25, dm=26.8).dm == 26.8


# -- polarisations -----------------------------------------------------------------------------


@pytest.mark.parametrize(("nifs", "ifs"), [(2, None), (4, (0, 1)), (4, (1,))])
def test_polarisations_are_added(nifs: int, ifs: tuple[int, ...] | None, tmp_path: Path) -> None:
    """The pulsar is in the second alone; of two, its S/N is less by the root of 2."""
    from msgspec.structs import replace  # noqa: PLC0415
    from offline_files import HEADER  # noqa: PLC0415

    from darc.data_files.filterbank_writer import FilterbankWriter  # noqa: PLC0415

    random = np.random.default_rng(1)
    data = random.normal(100, 10, (20000, nifs, 32))
    on = np.arange(20000) * 1e-3 / 0.25 % 1 < 0.05
    data[on, 1] += 2.0
    path = tmp_path / "two.fil"
    with FilterbankWriter(path, replace(HEADER, nifs=nifs)) as writer:
        writer.append(np.clip(np.rint(data), 0, 255))
    found = fold_filterbank(path, period=0.25, dm=0.0, n_bins=40, ifs=ifs)
    expected = 0.2 * np.sqrt(20000 * 32 * 0.05 * 0.95) / (1 if ifs == (1,) else np.sqrt(2))
    assert found.detected
    assert found.peak.snr == pytest.approx(expected, rel=0.1)
