"""Filterbank files that are made: extraction finds in them what their bursts say."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from extraction_settings import PER_CHANNEL
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from nodes import patience

from darc.data_files.beams import CompoundBeam
from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.filterbank_reader import Filterbank
from darc.science.extraction import Extraction, extract
from darc.science.extraction_plan import plan_extraction
from darc.science.synthesised_beam import synthesised_beams
from darc.trigger_files.amber import Columns, parse_lines
from simulator import filterbanks
from simulator.bursts import Burst
from simulator.filterbank_data import CHUNK, Filterbanks, SimulatedInstrument, filterbank_paths
from simulator.filterbanks import FilterbankPlayer, WrittenBlock, write_filterbanks
from simulator.generator import make_observation_candidates
from simulator.interference import Interference, random_interference

TSAMP = 327.68e-6
SBS = synthesised_beams(
    n_sbs=71, n_subbands=32, n_tabs=12, band_low=1201, bandwidth=300, reference_freq=1501
)
BURST = Burst(time_s=1.0003, dm=300.0, width_samples=8, snr=30.0, beam=0)


def instrument(
    *,
    nbits: int = 8,
    descending: bool = True,
    n_tabs: int = 1,
    sbs: np.ndarray | None = None,
    nchans: int = 384,
) -> SimulatedInstrument:
    width = 300 / nchans
    first, step = (1519.6 - width / 2, -width) if descending else (1219.6 + width / 2, width)
    header = FilterbankHeader(nchans=nchans, nbits=nbits, tsamp=TSAMP, fch1=first, foff=step)
    return SimulatedInstrument(header=header, n_tabs=n_tabs, sbs=sbs)


@pytest.fixture(autouse=True)
def fewer_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.filterbank_data._NUMBERS", 1 << 22)


def extracted(directory: Path, made: Filterbanks, searched: Burst, beam: int) -> Extraction:
    """What the worker makes of the files where the search says that there is a burst."""
    paths = filterbank_paths(directory, 0, made.instrument.n_tabs)
    with CompoundBeam(paths) as files:
        plan = plan_extraction(
            files.band,
            files.header.tsamp,
            dm=searched.dm,
            width=searched.width_samples,
            time=searched.time_s,
            settings=PER_CHANNEL,
        )
        sbs = made.instrument.sbs
        tabs = np.array([beam]) if sbs is None else sbs[beam]
        plan = plan.within(files.n_samples(tabs))
        data = files.read_synthesised(tabs, plan.start, plan.count)
        return extract(data, plan, PER_CHANNEL, descending=files.header.descending)


def check(found: Extraction, burst: Burst, searched: Burst) -> None:
    """As much, when, and where it should be; noise of 1 in S/N, and what a boxcar loses."""
    assert -3 < found.snr - burst.snr < 3.5
    step = found.dms[1] - found.dms[0]
    assert abs(found.best_dm - burst.dm) < step
    middle = searched.time_s + searched.width_samples * TSAMP / 2
    assert abs(found.time + found.bin_length / 2 - middle) < 1.01 * found.bin_length
    if burst.dm > 100:
        assert found.snr_dm0 < 9


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("nbits", [1, 2, 4, 8, 16, 32])
def test_found_whatever_the_format(tmp_path, nbits, descending):
    # Of a signal that is not weak in a sample, one bit keeps less.
    burst = replace(BURST, snr=30.0 if nbits > 1 else 15.0)
    made = Filterbanks(instrument(nbits=nbits, descending=descending), [burst], seed=nbits)
    write_filterbanks(tmp_path, made, duration=3.0)
    check(extracted(tmp_path, made, made.searched[0], 0), burst, made.searched[0])


@pytest.mark.parametrize(
    ("dm", "width", "scattering"),
    [(50.0, 1, 0.0), (50.0, 40, 0.0), (1000.0, 3, 0.0), (1000.0, 100, 0.0), (200.0, 5, 4e-3)],
)
def test_found_whatever_the_burst(tmp_path, dm, width, scattering):
    # Cleaning takes what is strong in a sample of one channel.
    snr = 30.0 if width > 1 else 15.0
    burst = replace(BURST, dm=dm, width_samples=width, scattering_s=scattering, snr=snr)
    made = Filterbanks(instrument(), [burst], seed=1)
    write_filterbanks(tmp_path, made, duration=6.0)
    searched = made.searched[0]
    found = extracted(tmp_path, made, searched, 0)
    if scattering:  # A boxcar is no match to an exponential.
        assert searched.snr < 0.95 * burst.snr
        assert searched.width_samples > width
        burst = replace(burst, snr=searched.snr)
    check(found, burst, searched)


@pytest.mark.parametrize("beam", [0, 17, 35, 70])
def test_synthesised_beams(tmp_path, beam):
    """Its SB has it all, those a period away what the search says, and the middle ones less."""
    burst = replace(BURST, beam=beam)
    made = Filterbanks(instrument(n_tabs=12, sbs=SBS), [burst], seed=beam)
    write_filterbanks(tmp_path, made, duration=2.0)
    check(extracted(tmp_path, made, made.searched[0], beam), burst, made.searched[0])
    for other in (beam - 12, beam + 12):
        if 0 <= other < 71:
            found = extracted(tmp_path, made, made.searched[0], other)
            assert found.snr == pytest.approx(0.7 * burst.snr, abs=3)
    away = beam + 6 if beam < 64 else beam - 6
    assert extracted(tmp_path, made, made.searched[0], away).snr < 0.6 * burst.snr


def test_tied_array_beams(tmp_path):
    burst = replace(BURST, beam=1)
    made = Filterbanks(instrument(n_tabs=3), [burst], seed=1)
    paths = write_filterbanks(tmp_path, made, duration=2.0)
    assert [path.name for path in paths] == ["CB00_00.fil", "CB00_01.fil", "CB00_02.fil"]
    for beam, part in enumerate((0.7, 1.0, 0.7)):
        found = extracted(tmp_path, made, made.searched[0], beam)
        assert found.snr == pytest.approx(part * burst.snr, abs=3)


def test_trigger_files_agree_with_the_data(tmp_path):
    """The brightest line is where extraction finds the burst."""
    made = Filterbanks(instrument(), [BURST], seed=1)
    search = made.instrument.search()
    generated = make_observation_candidates(
        made.searched, duration=3.0, seed=1, interference_rate=0, search=replace(search, beams=1)
    )
    (truth,) = generated.truth
    write_filterbanks(tmp_path, made, duration=3.0)
    seen = replace(BURST, dm=truth.dm, time_s=truth.time, width_samples=truth.downsampling)
    found = extracted(tmp_path, made, seen, 0)
    assert found.snr == pytest.approx(truth.snr, abs=3 + 0.1 * truth.snr)
    assert abs(found.time - truth.time) <= max(found.bin_length, truth.downsampling * TSAMP)
    assert abs(found.best_dm - truth.dm) < found.dms[1] - found.dms[0] + 0.2


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(1, 2 * CHUNK), min_size=1, max_size=6),
    st.sampled_from([1, 8, 32]),
    st.integers(0, 3),
)
def test_blocks_do_not_matter(sizes, nbits, seed):
    bursts = [replace(BURST, time_s=0.1 * k, scattering_s=1e-3 * k, beam=k) for k in range(2)]
    some = instrument(nbits=nbits, n_tabs=2, nchans=16)
    interference = [
        Interference(time_s=0.05, duration_s=0.01, strength=1.0, period_s=0.1, repeats=9),
        *random_interference(3.0, some.band, seed, per_minute=100),
    ]
    first = Filterbanks(some, bursts, interference, seed=seed)
    second = Filterbanks(some, bursts, interference, seed=seed)
    total = sum(sizes)
    for tab in range(2):
        whole = first.block(tab, 0, total)
        ends = np.cumsum(sizes).tolist()
        parts = [second.block(tab, e - s, e) for s, e in zip(sizes, ends, strict=True)]
        np.testing.assert_array_equal(whole, np.concatenate(parts))
    other = Filterbanks(some, bursts, interference, seed=seed + 1)
    assert total < 100 or (other.block(0, 0, total) != first.block(0, 0, total)).any()


def test_tabs_have_noise_of_their_own():
    made = Filterbanks(instrument(n_tabs=2, nbits=32, nchans=16), [], seed=1)
    tabs = np.array([made.block(tab, 0, 4 * CHUNK) for tab in (0, 1)], dtype=np.float64)
    assert tabs.std(axis=1) / tabs.mean(axis=1) == pytest.approx(np.full((2, 16), 0.1), rel=0.1)
    tabs -= tabs.mean(axis=1, keepdims=True)
    assert abs(np.corrcoef(*tabs.reshape(2, -1))[0, 1]) < 0.05


def test_interference_is_where_it_should_be():
    one = Interference(
        time_s=10 * TSAMP,
        duration_s=2 * TSAMP,
        strength=50.0,
        f_low=1300,
        f_high=1400,
        period_s=20 * TSAMP,
        repeats=3,
    )
    made = Filterbanks(instrument(nbits=32, nchans=64), [], [one], seed=1)
    with_it = made.block(0, 0, 100)
    difference = with_it - Filterbanks(made.instrument, [], seed=1).block(0, 0, 100)
    times, channels = np.nonzero(difference > 100)
    assert np.unique(times).tolist() == [10, 11, 30, 31, 50, 51]
    frequencies = made.instrument.header.frequencies[np.unique(channels)]
    assert frequencies.min() == pytest.approx(1300, abs=5)
    assert frequencies.max() == pytest.approx(1400, abs=5)


def test_a_file_is_read_while_it_grows(tmp_path):
    """What has been written is there, and is what it will be at the end."""
    made = Filterbanks(instrument(n_tabs=2, nchans=64), [BURST], seed=1)
    log: list[WrittenBlock] = []
    stop = threading.Event()
    player = FilterbankPlayer(
        tmp_path, made, duration=3600.0, speed=20.0, block_samples=200, threads=2, log=log
    )
    thread = threading.Thread(target=player.play, args=[stop])
    thread.start()
    try:
        until = time.monotonic() + patience(60)
        while len(log) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        with CompoundBeam(filterbank_paths(tmp_path, 0, 2)) as beam:
            there = beam.n_samples(np.array([0, 1]))
            assert 600 <= there < 3600 / TSAMP
            early = beam.read_tab(1, 0, there).copy()
            while beam.n_samples(np.array([0, 1])) == there and time.monotonic() < until:
                time.sleep(0.01)
            assert beam.n_samples(np.array([0, 1])) > there
    finally:
        stop.set()
        thread.join()
    np.testing.assert_array_equal(early, made.block(1, 0, there))
    assert [block.end for block in log] == [200 * (n + 1) for n in range(len(log))]
    assert all(block.late >= 0 for block in log)


def test_a_file_that_is_there_already(tmp_path):
    (tmp_path / "CB00.fil").write_bytes(b"")
    made = Filterbanks(instrument(nchans=16), [], seed=1)
    with pytest.raises(FileExistsError):
        write_filterbanks(tmp_path, made, duration=0.1)


@pytest.mark.parametrize(
    "change", [{"duration": 0.0}, {"speed": 0.0}, {"block_samples": 0}, {"threads": 0}]
)
def test_what_cannot_be_played(tmp_path, change):
    made = Filterbanks(instrument(nchans=16), [], seed=1)
    with pytest.raises(ValueError, match="allowed: above 0"):
        FilterbankPlayer(tmp_path, made, **{"duration": 1.0, **change})


def test_a_beam_that_there_is_not():
    with pytest.raises(ValueError, match="a burst in beam 1; there are 1"):
        Filterbanks(instrument(nchans=16), [replace(BURST, beam=1)], seed=1)
    with pytest.raises(ValueError, match="TAB 11 in the table of SBs; there are 2"):
        instrument(n_tabs=2, sbs=SBS)


def test_the_command(tmp_path, capsys):
    arguments = "--bursts 1 --duration 6 --tabs 1 --channels 64 --tsamp 1e-3 --speed inf"
    filterbanks.main([str(tmp_path / "made"), *arguments.split()])
    truth = yaml.safe_load((tmp_path / "made" / "truth.yaml").read_text())
    assert len(truth["bursts"]) == len(truth["made"]) == 1
    with Filterbank(tmp_path / "made" / "CB00.fil") as file:
        assert file.n_samples() == 6000
        assert file.header.descending
    lines = (tmp_path / "made" / "CB00_step1.trigger").read_bytes().splitlines(keepends=True)
    lines += (tmp_path / "made" / "CB00_step2.trigger").read_bytes().splitlines(keepends=True)[1:]
    lines += (tmp_path / "made" / "CB00_step3.trigger").read_bytes().splitlines(keepends=True)[1:]
    found = parse_lines(
        b"".join(lines[1:]), Columns.from_header(lines[0]), batch_length_s=1.024, tsamp=1e-3
    ).candidates
    assert found["snr"].max() == pytest.approx(truth["bursts"][0]["snr"], rel=1e-4)
    with pytest.raises(SystemExit):
        filterbanks.main([str(tmp_path / "made"), *arguments.split()])
    assert "CB00" in capsys.readouterr().err
