"""One cluster and its data: what becomes of it, and what is said where something is wrong."""

from __future__ import annotations

import resource
import struct
from pathlib import Path

import numpy as np
import pytest
from beams import HEADER, N_CHANNELS, TSAMP, burst, job, samples, write_beam
from msgspec.structs import replace

from darc.candidates import extract_cluster
from darc.candidates.extract_cluster import extract_candidate
from darc.candidates.results.candidate_file import read_candidate
from darc.data_files.filterbank_header import format_header
from darc.data_files.filterbank_writer import FilterbankWriter
from darc.model.processing_outcome import ClusterOutcome, Score


@pytest.fixture(autouse=True)
def _scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the classifier makes of generated bursts is its own tests' business."""
    give(monkeypatch, Score(0.75, 0.25))


def give(monkeypatch: pytest.MonkeyPatch, score: Score) -> None:
    class Fixed:
        def score(
            self, freq_time: np.ndarray, dm_time: np.ndarray, measured: dict[str, float]
        ) -> Score:
            assert measured["snr"] > 10 > measured["dm0_share"], "what the extraction knows"
            assert freq_time.ndim == dm_time.ndim == 2
            return score

    monkeypatch.setattr(extract_cluster, "classifier_of", lambda path: Fixed())


def test_a_burst_is_kept_in_a_file_that_says_what_was_found(tmp_path):
    pulse = burst(3.0)
    outcome = extract_candidate(job(write_beam(tmp_path, [pulse], cb=7), pulse))
    assert outcome.fate is ClusterOutcome.KEPT, outcome.reason
    assert outcome.path.parent == tmp_path / "triggers_realtime" / "data"
    found = read_candidate(outcome.path)
    assert (found.cb, found.pulse, found.score) == (7, pulse, Score(0.75, 0.25))
    assert abs(found.measured.time - pulse.time) <= 2 * found.measured.bin_length
    assert found.freq_time.shape == (64, 64)
    assert outcome.listed.probability == 0.75
    assert outcome.listed.snr == pytest.approx(found.measured.snr)


@pytest.mark.parametrize("unit", [1e-30, 1e-20, 1e20, 1e30])
def test_floats_in_any_unit_give_the_same(tmp_path, unit):
    pulse = burst(3.0)
    usual = extract_candidate(job(write_beam(tmp_path / "usual", [pulse]), pulse))
    files = write_beam(tmp_path / "other", [pulse])
    header = replace(HEADER, nbits=32)
    data = (samples([pulse], 8000).astype(np.float64) * unit).astype(np.float32)
    (files.directory / "CB00.fil").write_bytes(format_header(header) + data.tobytes())
    outcome = extract_candidate(job(files, pulse))
    assert outcome.fate is ClusterOutcome.KEPT, outcome.reason
    assert outcome.listed.snr == pytest.approx(usual.listed.snr, rel=0.05)


def test_again_it_is_the_same_file(tmp_path):
    pulse = burst(3.0)
    files = write_beam(tmp_path, [pulse])
    first, again = (extract_candidate(job(files, pulse)) for _ in range(2))
    assert first == again
    assert len(list(first.path.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("score", "fate"),
    [
        (Score(0.5, 0.9), ClusterOutcome.UNLIKELY),
        (Score(0.51, 0.9), ClusterOutcome.KEPT),
        (Score(0.9, 0.0), ClusterOutcome.UNLIKELY),
        (Score(0.9, 0.01), ClusterOutcome.KEPT),
        (Score(float("nan"), 0.9), ClusterOutcome.UNLIKELY),
    ],
)
def test_both_thresholds_are_strict(tmp_path, monkeypatch, score, fate):
    give(monkeypatch, score)
    pulse = burst(3.0)
    wanted = job(write_beam(tmp_path, [pulse]), pulse, thresh_freqtime=0.5, thresh_dmtime=0.0)
    outcome = extract_candidate(wanted)
    assert outcome.fate is fate
    assert (outcome.path is not None) == (fate is ClusterOutcome.KEPT)


def test_what_is_not_there_is_too_weak(tmp_path):
    outcome = extract_candidate(job(write_beam(tmp_path), burst(3.0)))
    assert outcome.fate is ClusterOutcome.TOO_WEAK
    assert "wanted: 5.0" in outcome.reason


def test_interference_is_stronger_at_dm_0(tmp_path):
    files = write_beam(tmp_path, [burst(3.0, dm=0.0, snr=40.0)])
    found = burst(3.0, dm=10.0)
    assert extract_candidate(job(files, found)).fate is ClusterOutcome.STRONGER_AT_DM_0
    assert extract_candidate(job(files, found, snr_dm0_filter=False)).fate is ClusterOutcome.KEPT


@pytest.mark.parametrize(
    ("pulse", "fate"),
    [
        (burst(0.0), ClusterOutcome.KEPT),
        (burst(6.5), ClusterOutcome.KEPT),
        (burst(7.99), ClusterOutcome.TOO_WEAK),  # most of its dispersed rest is behind the end
        (burst(8.0), ClusterOutcome.NOT_IN_DATA),
        (burst(1e6), ClusterOutcome.NOT_IN_DATA),
        (burst(3.0, dm=0.0), ClusterOutcome.KEPT),
        (burst(3.0, dm=10_000.0), ClusterOutcome.TOO_WEAK),
        (burst(7.9, dm=10_000.0), ClusterOutcome.NOT_IN_DATA),
    ],
)
def test_at_the_ends_and_beyond(tmp_path, pulse, fate):
    outcome = extract_candidate(job(write_beam(tmp_path, [pulse]), pulse))
    assert outcome.fate is fate, outcome.reason


def test_a_dm_of_10000_where_there_are_data_enough(tmp_path):
    pulse = burst(1.0, dm=10_000.0, width=64)
    files = write_beam(tmp_path, [pulse], seconds=30.0)
    assert extract_candidate(job(files, pulse)).fate is ClusterOutcome.KEPT


def test_a_width_beyond_all_reason_asks_for_no_more_than_there_is(tmp_path):
    pulse = replace(burst(3.0), downsampling=100_000)
    outcome = extract_candidate(job(write_beam(tmp_path), pulse))
    assert outcome.fate is not ClusterOutcome.KEPT
    assert outcome.reason


def test_a_stretch_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(extract_cluster, "MAX_STRETCH", 10_000)
    outcome = extract_candidate(job(write_beam(tmp_path), burst(3.0)))
    assert outcome.fate is ClusterOutcome.FAILED
    assert "CB00.fil" in outcome.reason
    assert "allowed: 10000" in outcome.reason


# -- files ---------------------------------------------------------------------------------------


def test_no_file(tmp_path):
    files = write_beam(tmp_path)
    (files.directory / "CB00.fil").unlink()
    outcome = extract_candidate(job(files, burst(3.0)))
    assert outcome.fate is ClusterOutcome.FAILED
    assert "CB00.fil" in outcome.reason


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "CB00.fil"),
        (b"no filterbank at all" * 100, "CB00.fil"),
        (b"\x0c\x00\x00\x00HEADER_START\x06\x00\x00\x00nchans\xff", "ends after"),
        (format_header(HEADER).replace(b"nchans@", b"nchans\x00"), "nchans"),
        (format_header(HEADER).replace(struct.pack("<d", TSAMP), b"\xff" * 8), "tsamp"),
    ],
)
def test_a_nonsense_header(tmp_path, content, what):
    files = write_beam(tmp_path)
    (files.directory / "CB00.fil").write_bytes(content)
    outcome = extract_candidate(job(files, burst(3.0)))
    assert outcome.fate is ClusterOutcome.FAILED
    assert "CB00.fil" in outcome.reason
    assert what in outcome.reason


def test_a_file_that_ends_within_the_header(tmp_path):
    files = write_beam(tmp_path)
    path = files.directory / "CB00.fil"
    path.write_bytes(path.read_bytes()[:60])
    outcome = extract_candidate(job(files, burst(3.0)))
    assert outcome.fate is ClusterOutcome.FAILED
    assert "CB00.fil" in outcome.reason


def test_a_file_with_a_header_alone(tmp_path):
    files = write_beam(tmp_path, seconds=0)
    assert extract_candidate(job(files, burst(0.0))).fate is ClusterOutcome.NOT_IN_DATA


def test_only_the_tabs_that_a_beam_needs(tmp_path):
    pulse = burst(3.0)
    files = write_beam(tmp_path, [pulse], n_tabs=4)
    for unneeded in ("CB00_00.fil", "CB00_02.fil"):
        (files.directory / unneeded).unlink()
    of_two = tuple([1] * 16 + [3] * 16)
    assert extract_candidate(job(files, pulse, tabs=of_two)).fate is ClusterOutcome.KEPT
    outcome = extract_candidate(job(files, pulse, tabs=(2,)))
    assert outcome.fate is ClusterOutcome.FAILED
    assert "CB00_02.fil: no such file; instrument.data_directory" in outcome.reason


def test_a_tab_that_does_not_exist(tmp_path):
    outcome = extract_candidate(job(write_beam(tmp_path, n_tabs=3), burst(3.0), tabs=(3,)))
    assert outcome.fate is ClusterOutcome.FAILED
    assert "no TAB 3; there are 3" in outcome.reason


def test_fewer_channels_than_subbands(tmp_path):
    header = replace(HEADER, nchans=16, foff=-300 / 16)
    files = write_beam(tmp_path, n_tabs=2, header=header)
    outcome = extract_candidate(job(files, burst(3.0), tabs=tuple([0, 1] * 16)))
    assert outcome.fate is ClusterOutcome.FAILED
    assert "32 subbands of 16 channels" in outcome.reason


def test_nan_in_32_bit_data(tmp_path):
    pulse = burst(3.0)
    files = write_beam(tmp_path)
    path = files.directory / "CB00.fil"
    path.unlink()
    data = samples([pulse], 8000).astype(np.float32)
    data[2000:2400, 5] = np.nan
    data[:, 9] = np.nan
    with FilterbankWriter(path, replace(HEADER, nbits=32)) as file:
        file.append(data)
    outcome = extract_candidate(job(files, pulse))
    assert outcome.fate is ClusterOutcome.KEPT, outcome.reason
    assert np.isfinite(read_candidate(outcome.path).freq_time).all()
    path.unlink()
    with FilterbankWriter(path, replace(HEADER, nbits=32)) as file:
        file.append(np.full_like(data, np.nan))
    outcome = extract_candidate(job(files, pulse))
    assert outcome.fate is ClusterOutcome.FAILED
    assert "no channel is left" in outcome.reason
    assert "CB00.fil" in outcome.reason


@pytest.mark.parametrize("value", [0, 7])
def test_what_was_not_recorded_is_not_in_the_data(tmp_path, value):
    """As zeros that fill a gap, or channels whose weights are all 0: it is no weak candidate."""
    files = write_beam(tmp_path)
    path = files.directory / "CB00.fil"
    path.unlink()
    with FilterbankWriter(path, HEADER) as file:
        file.append(np.full((8000, N_CHANNELS), value, np.uint8))
    outcome = extract_candidate(job(files, burst(3.0)))
    assert outcome.fate is ClusterOutcome.NOT_IN_DATA
    assert outcome.reason.startswith("no channel varies there")


# -- the mask ------------------------------------------------------------------------------------


def test_masked_channels_are_not_used(tmp_path):
    pulse, mask = burst(3.0), tmp_path / "zapped_channels_1370.conf"
    files = write_beam(tmp_path, [pulse])
    mask.write_text("\n".join(map(str, range(N_CHANNELS // 2))))
    outcome = extract_candidate(job(files, pulse, mask=mask))
    freq_time = read_candidate(outcome.path).freq_time
    assert not freq_time[:32].any()
    assert freq_time[32:].any()


@pytest.mark.parametrize(
    ("text", "what"),
    [(f"3\n{N_CHANNELS}\n", f":2: there is no channel {N_CHANNELS}"), ("3\nx\n", ":2: ")],
)
def test_a_mask_with_channels_that_do_not_exist(tmp_path, text, what):
    mask = tmp_path / "mask.conf"
    mask.write_text(text)
    outcome = extract_candidate(job(write_beam(tmp_path), burst(3.0), mask=mask))
    assert outcome.fate is ClusterOutcome.FAILED
    assert f"{mask}{what}" in outcome.reason


def test_a_mask_that_is_not_there_or_no_text(tmp_path):
    files, mask = write_beam(tmp_path), tmp_path / "mask.conf"
    outcome = extract_candidate(job(files, burst(3.0), mask=mask))
    assert outcome.fate is ClusterOutcome.FAILED
    assert str(mask) in outcome.reason
    mask.write_bytes(b"\xff\xfe")
    outcome = extract_candidate(job(files, burst(3.0), mask=mask))
    assert outcome.fate is ClusterOutcome.FAILED
    assert str(mask) in outcome.reason


def test_a_candidate_that_cannot_be_written(tmp_path: Path):
    pulse = burst(3.0)
    files = write_beam(tmp_path, [pulse])
    (tmp_path / "triggers_realtime").write_text("in the way")
    outcome = extract_candidate(job(files, pulse))
    assert outcome.fate is ClusterOutcome.FAILED
    assert "triggers_realtime" in outcome.reason


def test_a_disk_that_is_full(tmp_path):
    pulse = burst(3.0)
    wanted = job(write_beam(tmp_path, [pulse]), pulse)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        outcome = extract_candidate(wanted)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert outcome.fate is ClusterOutcome.FAILED
    assert str(wanted.output) in outcome.reason
    assert not list(wanted.output.iterdir())
