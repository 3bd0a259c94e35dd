"""Data files that start later than their observation, or are sampled otherwise."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from beams import HEADER, TSAMP, burst, job, samples, settings, write_beam
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from darc.candidates import extract_cluster
from darc.candidates.data_availability import BeamAvailability, last_sample
from darc.candidates.extract_cluster import extract_candidate
from darc.candidates.file_clock import DataTimes, FileClock, file_clock
from darc.candidates.pool_jobs import BeamFiles
from darc.candidates.results.candidate_file import read_candidate
from darc.data_files.data_file_error import DataFileError
from darc.data_files.filterbank_writer import FilterbankWriter
from darc.data_files.translated_header import TranslatedHeader
from darc.model.arrival import BARYCENTRIC, mjd_of, unix_of
from darc.model.processing_outcome import ClusterOutcome, Score

START = unix_of(59000.0)
KNOWN = HEADER.arrival_reference


@pytest.fixture(autouse=True)
def _scores(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fixed:
        def score(self, *_: object) -> Score:
            return Score(1.0, 1.0)

    monkeypatch.setattr(extract_cluster, "classifier_of", lambda path: Fixed())


def late_file(directory: Path, late: float, pulse_at: float) -> BeamFiles:
    """A file that starts late, with a burst at a time since the observation's start."""
    header = replace(HEADER, tstart=mjd_of(START + late))
    return write_beam(directory, [burst(pulse_at - late)], header=header)


@pytest.mark.parametrize("late", [5.0, -2.0, 1000.0])
def test_a_burst_is_extracted_where_it_is_in_a_file_that_starts_late(tmp_path, late):
    pulse = burst(late + 3.0)
    files = late_file(tmp_path, late, pulse.time)
    outcome = extract_candidate(replace(job(files, pulse), arrival=KNOWN))
    assert outcome.fate is ClusterOutcome.KEPT, outcome.reason
    assert outcome.listed.time == pytest.approx(pulse.time, abs=0.02)
    found = read_candidate(outcome.path)
    assert found.pulse == pulse
    assert found.arrival.start == START
    assert found.measured.time == pytest.approx(pulse.time, abs=0.02)


def test_what_came_before_the_first_sample_is_not_in_the_data(tmp_path):
    files = late_file(tmp_path, 5.0, 8.0)
    outcome = extract_candidate(replace(job(files, burst(4.0)), arrival=KNOWN))
    assert outcome.fate is ClusterOutcome.NOT_IN_DATA
    assert "at 4 s is before the first sample of" in outcome.reason
    assert "CB00.fil, 5 s after the observation's start" in outcome.reason


def test_a_file_of_another_observation_is_refused(tmp_path):
    files = late_file(tmp_path, 20 * 86400.0, 20 * 86400.0 + 3)
    outcome = extract_candidate(replace(job(files, burst(3.0)), arrival=KNOWN))
    assert outcome.fate is ClusterOutcome.FAILED
    assert "CB00.fil: starts 1.728e+06 s after the observation; allowed: up to" in outcome.reason


def test_widths_are_those_of_the_observation_whatever_the_files_sampling(tmp_path):
    """A search of samples 8 times as long as those on disk."""
    pulse, known = burst(3.0, width=4, snr=30.0), replace(KNOWN, tsamp=8 * TSAMP)
    there = replace(pulse, downsampling=32)
    files = write_beam(tmp_path, [there])
    wanted = job(files, pulse)
    assert extract_candidate(replace(wanted, pulse=there)).listed.downsampling in range(20, 45)
    outcome = extract_candidate(replace(wanted, arrival=known))
    assert outcome.fate is ClusterOutcome.KEPT, outcome.reason
    assert outcome.listed.downsampling in range(3, 6)
    found = read_candidate(outcome.path)
    assert found.arrival.width_ms(found.measured.downsampling) == pytest.approx(32, rel=0.4)
    assert found.measured.bin_length == pytest.approx(32 * TSAMP)  # 4 ms without


def test_a_header_with_a_wrong_date_is_left_out_of_account_where_told_so(tmp_path):
    """The data begin with the observation, whatever the header says; also where waited for."""
    pulse = burst(3.0)
    files = write_beam(tmp_path, [pulse], header=replace(HEADER, tstart=mjd_of(START - 9e5)))
    wanted = replace(job(files, pulse), arrival=KNOWN)
    refused = extract_candidate(wanted)
    assert refused.fate is ClusterOutcome.FAILED
    assert "instrument.data_start: observation" in refused.reason
    trusted = replace(files, times=DataTimes(by_header=False))
    outcome = extract_candidate(replace(wanted, files=trusted))
    assert outcome.fate is ClusterOutcome.KEPT, outcome.reason
    assert outcome.listed.time == pytest.approx(3.0, abs=0.02)
    beam, rules = BeamAvailability(trusted, KNOWN), settings().extractor
    beam.poll()
    assert beam.has(pulse, [0], rules)
    assert not beam.has(burst(9.0), [0], rules)


@given(of_file=st.floats(1e-6, 1e-2), of_search=st.floats(1e-6, 1e-2), said=st.booleans())
def test_another_sampling_time_is_said_unless_it_is_meant(of_file, of_search, said):
    header, known = replace(HEADER, tsamp=of_file), replace(KNOWN, tsamp=of_search)
    is_same = abs(of_file / of_search - 1) < 1e-6
    clock = file_clock(header, known, "x", DataTimes(tsamp=of_file if said else None))
    assert (clock.differs == "") == (said or is_same)
    assert clock.samples == pytest.approx(of_search / of_file)
    other = file_clock(header, known, "x", DataTimes(tsamp=of_file * 1.5))
    assert f"samples of {of_file:.10g} s by its header" in other.differs
    assert f"of {of_file * 1.5:.10g} s by instrument.data_tsamp" in other.differs
    if not said and not is_same:
        assert clock.differs.endswith(f"of {of_search:.10g} s by the observation")


def test_waited_for_is_what_the_pulse_needs_of_the_file(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    pulse, rules, directory = burst(8.0), settings().extractor, tmp_path / "filterbank"
    directory.mkdir()
    beam = BeamAvailability(BeamFiles(directory, 0, 1), KNOWN)
    needed = int(last_sample(HEADER, burst(3.0), rules)) + 1
    with FilterbankWriter(
        directory / "CB00.fil", replace(HEADER, tstart=mjd_of(START + 5.0))
    ) as file:
        file.append(samples([], needed - 2))
        beam.poll()
        assert not beam.has(pulse, [0], rules)
        file.append(samples([], 2))
        beam.poll()
        assert beam.has(pulse, [0], rules)
    assert not beam.has(burst(8.2), [0], rules)
    assert beam.has(burst(1.0), [0], rules)  # will not come
    said = [record.message for record in caplog.records if "CB00.fil" in record.message]
    assert said == [
        f"{directory / 'CB00.fil'} starts 5 s after the observation: candidates are looked for"
        " there"
    ]


def test_a_file_of_another_observation_is_not_waited_for(tmp_path):
    beam = BeamAvailability(late_file(tmp_path, -20 * 86400.0, 3.0), KNOWN)
    beam.poll()
    assert beam.has(burst(3000.0), [0], settings().extractor)


@given(late=st.floats(-0.999, 0.999))
def test_starts_that_are_rounded_are_the_same(late):
    header = replace(HEADER, tstart=mjd_of(START + late))
    assert file_clock(header, KNOWN, "x") == FileClock()


@given(late=st.floats(1.01, 86399.0), before=st.booleans())
def test_others_are_not(late, before):
    late = -late if before else late
    header = replace(HEADER, tstart=mjd_of(START + late))
    assert file_clock(header, KNOWN, "x").late == pytest.approx(late, abs=2e-6)
    assert file_clock(header, replace(KNOWN, start=None), "x") == FileClock()
    assert file_clock(header, replace(KNOWN, frame=BARYCENTRIC), "x") == FileClock()
    assert file_clock(header, None, "x") == FileClock()
    assert file_clock(replace(header, tstart=0.0), KNOWN, "x") == FileClock()


@pytest.mark.parametrize("offset", [0.0, 0.032, 0.8, 12.5])
def test_what_counts_from_the_same_start_is_placed_to_the_sample(offset):
    """The observation's start is known to the second, the file's place to the sample."""
    header = TranslatedHeader(nchans=64, nbits=8, tsamp=TSAMP, fch1=1520.0, foff=-1.0)
    header = header.starting_at(START + 0.36, offset)
    assert file_clock(header, KNOWN, "x").late == pytest.approx(offset, abs=2e-6)


@pytest.mark.parametrize("offset", [0.0, 0.5, 12.5])
def test_a_later_file_that_is_processed_alone_is_its_own_observation(offset):
    header = TranslatedHeader(nchans=64, nbits=8, tsamp=TSAMP, fch1=1520.0, foff=-1.0)
    header = header.starting_at(START, offset)
    assert file_clock(header, header.arrival_reference, "x") == FileClock()


def test_a_sampling_time_that_is_rounded_is_the_same():
    known = replace(KNOWN, tsamp=TSAMP * (1 + 1e-9))
    assert file_clock(HEADER, known, "x") == FileClock()
    assert file_clock(HEADER, replace(KNOWN, tsamp=4 * TSAMP), "x").samples == 4.0
    with pytest.raises(DataFileError, match="x: starts 172800 s before the observation"):
        file_clock(replace(HEADER, tstart=58998.0), KNOWN, "x")


@pytest.mark.parametrize(
    ("wanted", "fate"),
    [(burst(100.0), ClusterOutcome.NOT_IN_DATA), (burst(3.0, dm=-1.0), ClusterOutcome.FAILED)],
    ids=["behind the end", "invalid"],
)
def test_another_sampling_is_told_also_of_what_was_not_found(tmp_path, wanted, fate):
    """A header's sampling time that is too short has a file end early: the only hint at it."""
    files = write_beam(tmp_path, [burst(3.0)])
    known = replace(KNOWN, tsamp=20 * TSAMP)
    outcome = extract_candidate(replace(job(files, wanted), arrival=known))
    assert outcome.fate is fate, outcome.reason
    file, differs = outcome.differs
    assert file.endswith("CB00.fil")
    assert differs == "samples of 0.001 s by its header, of 0.02 s by the observation"
