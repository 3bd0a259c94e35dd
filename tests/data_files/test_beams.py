"""Compound beams: their files, and synthesised beams put together from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from darc.data_files import beams
from darc.data_files.beams import CompoundBeam
from darc.data_files.filterbank_header import (
    FilterbankError,
    FilterbankHeader,
    IncompleteHeaderError,
)
from darc.data_files.filterbank_writer import FilterbankWriter, for_others
from darc.science.synthesised_beam import synthesised_beams
from simulator.filterbank_data import filterbank_paths

HEADER = FilterbankHeader(nchans=64, nbits=8, tsamp=1e-3, fch1=1500.0, foff=-1.0, tstart=59000.0)
N_TABS, N_SAMPLES = 12, 50
SBS = synthesised_beams(
    n_sbs=71, n_subbands=32, n_tabs=N_TABS, band_low=1201, bandwidth=300, reference_freq=1501
)


def make(directory: Path, header: FilterbankHeader, n_tabs: int = N_TABS) -> np.ndarray:
    """Write a CB's files; give their samples, shape (n_tabs, N_SAMPLES, nchans)."""
    rng = np.random.default_rng(1)
    shape = (n_tabs, N_SAMPLES, header.nchans)
    samples = rng.integers(0, 2 ** min(header.nbits, 8), shape)
    for path, tab in zip(filterbank_paths(directory, 3, n_tabs), samples, strict=True):
        with FilterbankWriter(path, header) as file:
            file.append(tab)
    return samples


def slowly(samples: np.ndarray, sb: int, *, descending: bool) -> np.ndarray:
    """An SB, subband by subband."""
    rising = samples[:, :, ::-1] if descending else samples
    n_channels = rising.shape[2]
    parts = []
    for subband in range(32):
        first, end = subband * n_channels // 32, (subband + 1) * n_channels // 32
        parts.append(rising[SBS[sb, subband], :, first:end])
    beam = np.concatenate(parts, axis=1)
    return beam[:, ::-1] if descending else beam


@pytest.mark.parametrize("sb", [0, 1, 34, 35, 36, 70])
@pytest.mark.parametrize(
    ("nbits", "nchans", "foff"),
    [(8, 64, -1.0), (8, 64, 1.0), (8, 50, -1.0), (2, 96, -1.0), (16, 64, 1.0), (32, 64, -1.0)],
)
def test_a_synthesised_beam(tmp_path, monkeypatch, sb, nbits, nchans, foff):
    monkeypatch.setattr(beams, "MAPPED_BYTES", 7 * nchans)  # in several parts, unevenly
    header = replace(HEADER, nbits=nbits, nchans=nchans, foff=foff)
    samples = make(tmp_path, header)
    with CompoundBeam(filterbank_paths(tmp_path, 3, N_TABS)) as beam:
        found = beam.read_synthesised(SBS[sb], 10, 33)
    expected = slowly(samples, sb, descending=foff < 0)[10:43]
    np.testing.assert_array_equal(found, expected)


def test_only_the_tabs_that_are_needed_are_waited_for(tmp_path):
    make(tmp_path, HEADER)
    tab_0, tab_1 = filterbank_paths(tmp_path, 3, N_TABS)[:2]
    for path, by in ((tab_0, 30), (tab_1, 20)):
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - by * HEADER.nchans)
    with CompoundBeam(filterbank_paths(tmp_path, 3, N_TABS)) as beam:
        assert beam.n_samples(SBS[35]) == N_SAMPLES - 30  # TAB 0 alone
        assert beam.n_samples(SBS[34]) == N_SAMPLES - 20  # TAB 1 alone
        assert beam.n_samples(SBS[0]) == N_SAMPLES  # TABs 4 to 11
        assert beam.read_synthesised(SBS[0], 0, N_SAMPLES).shape == (N_SAMPLES, 64)
        with pytest.raises(FilterbankError, match="there are 30"):
            beam.read_synthesised(SBS[34], 0, N_SAMPLES)


def test_a_tab(tmp_path):
    samples = make(tmp_path, HEADER)
    with CompoundBeam(filterbank_paths(tmp_path, 3, N_TABS)) as beam:
        assert beam.header == for_others(HEADER)
        assert (beam.read_tab(7, 5, 11) == samples[7, 5:16]).all()
        with pytest.raises(FilterbankError, match=r"no TAB 12; there are 12"):
            beam.read_tab(12, 5, 11)


@pytest.mark.parametrize("foff", [-1.0, 1.0])
def test_the_band(tmp_path, foff):
    make(tmp_path, replace(HEADER, foff=foff), n_tabs=2)
    with CompoundBeam(filterbank_paths(tmp_path, 3, 2)) as beam:
        lowest = 1437.0 if foff < 0 else 1500.0
        assert beam.band.frequencies == pytest.approx(np.arange(lowest, lowest + 64))


def test_names(tmp_path):
    assert [path.name for path in filterbank_paths(tmp_path, 3, 2)] == [
        "CB03_00.fil",
        "CB03_01.fil",
    ]
    assert filterbank_paths(tmp_path, 39, 12)[11].name == "CB39_11.fil"


def test_a_single_beam_has_either_name(tmp_path):
    assert filterbank_paths(tmp_path, 3, 1) == [tmp_path / "CB03.fil"]
    (tmp_path / "CB03_00.fil").touch()
    assert filterbank_paths(tmp_path, 3, 1) == [tmp_path / "CB03_00.fil"]
    (tmp_path / "CB03.fil").touch()
    assert filterbank_paths(tmp_path, 3, 1) == [tmp_path / "CB03.fil"]


def test_a_single_beam_is_the_simple_case(tmp_path):
    samples = make(tmp_path, HEADER, n_tabs=1)
    with CompoundBeam(filterbank_paths(tmp_path, 3, 1)) as beam:
        everything = np.zeros(32, dtype=np.int64)
        assert beam.n_samples(everything) == N_SAMPLES
        assert (beam.read_synthesised(everything, 0, N_SAMPLES) == samples[0]).all()


def test_a_table_with_a_tab_that_is_not_there(tmp_path):
    make(tmp_path, HEADER, n_tabs=9)
    with (
        CompoundBeam(filterbank_paths(tmp_path, 3, 9)) as beam,
        pytest.raises(FilterbankError, match="no TAB 9; there are 9"),
    ):
        beam.read_synthesised(SBS[0], 0, 1)


@pytest.mark.parametrize(("start", "count"), [(-1, 2), (0, 0), (49, 2), (0, 10**15)])
def test_a_stretch_that_is_not_there(tmp_path, start, count):
    make(tmp_path, HEADER)
    with (
        CompoundBeam(filterbank_paths(tmp_path, 3, N_TABS)) as beam,
        pytest.raises(FilterbankError, match=f"no {count} samples from {start}; there are 50"),
    ):
        beam.read_synthesised(SBS[0], start, count)


@pytest.mark.parametrize(
    ("key", "value"),
    [("nchans", 32), ("nbits", 4), ("tsamp", 2e-3), ("fch1", 1400.0), ("foff", 1.0)],
)
def test_tabs_agree(tmp_path, key, value):
    make(tmp_path, HEADER, n_tabs=2)
    paths = filterbank_paths(tmp_path, 3, 3)
    FilterbankWriter(paths[2], replace(HEADER, **{key: value})).close()
    with pytest.raises(FilterbankError, match=rf"CB03_02\.fil: {key}: {value}, but .*CB03_00\.fil"):
        CompoundBeam(paths)


@pytest.mark.parametrize(("late", "same"), [(4e-4, True), (6e-4, False)])
def test_tabs_begin_together(tmp_path, late, same):
    make(tmp_path, HEADER, n_tabs=1)
    paths = [filterbank_paths(tmp_path, 3, 1)[0], tmp_path / "other.fil"]
    FilterbankWriter(paths[1], replace(HEADER, tstart=59000.0 + late / 86400)).close()
    if same:
        CompoundBeam(paths).close()
    else:
        with pytest.raises(FilterbankError, match=r"other\.fil: tstart: 59000\.0"):
            CompoundBeam(paths)


def test_a_tab_that_is_missing_or_not_begun(tmp_path):
    make(tmp_path, HEADER, n_tabs=2)
    paths = filterbank_paths(tmp_path, 3, 3)
    with pytest.raises(FileNotFoundError, match=r"CB03_02\.fil"):
        CompoundBeam(paths)
    paths[2].touch()
    with pytest.raises(IncompleteHeaderError, match=r"CB03_02\.fil: empty"):
        CompoundBeam(paths)
