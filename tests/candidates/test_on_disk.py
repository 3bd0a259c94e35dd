"""Whether data are there: never sooner than the extraction needs them, and not much later."""

from __future__ import annotations

import pytest
from beams import HEADER, TSAMP, burst, samples, settings, write_beam
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from darc.candidates.data_availability import BeamAvailability, last_sample
from darc.candidates.extract_cluster import extraction_settings
from darc.candidates.pool_jobs import BeamFiles
from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.filterbank_writer import FilterbankWriter
from darc.model.processing_outcome import Detection
from darc.science.dedispersion import Band
from darc.science.extraction_plan import plan_extraction

ARTS = FilterbankHeader(
    nchans=1536, nbits=8, tsamp=81.92e-6, fch1=1519.50561502, foff=-300 / 1536, tstart=59000.0
)
LOW = FilterbankHeader(nchans=256, nbits=8, tsamp=1e-3, fch1=110.0, foff=0.25, tstart=59000.0)


@given(
    header=st.sampled_from([ARTS, LOW, HEADER]),
    dm=st.floats(0, 10_000),
    width=st.integers(1, 5000),
    time=st.floats(0, 50_000),
)
def test_as_much_as_the_extraction_needs_and_little_more(header, dm, width, time):
    rules = settings().extractor
    band = Band(header.f_lowest, header.channel_width, header.nchans)
    plan = plan_extraction(
        band, header.tsamp, dm=dm, width=width, time=time, settings=extraction_settings(rules)
    )
    wanted = last_sample(header, Detection(0, width, time, dm, 20.0), rules)
    assert plan.end <= wanted <= plan.end + 0.05 * plan.count + 70 * plan.bin_samples


def test_a_pulse_waits_until_its_last_sample_is_there(tmp_path):
    pulse, rules = burst(3.0), settings().extractor
    (tmp_path / "filterbank").mkdir()
    beam = BeamAvailability(BeamFiles(tmp_path / "filterbank", 0, 1))
    assert beam.poll() == ()
    assert not beam.has(pulse, [0], rules)
    data = samples([pulse], 8000)
    needed = int(last_sample(HEADER, pulse, rules))
    with FilterbankWriter(tmp_path / "filterbank" / "CB00.fil", HEADER) as file:
        beam.poll()
        assert not beam.has(pulse, [0], rules)
        file.append(data[:needed])
        beam.poll()
        assert not beam.has(pulse, [0], rules)
        before = beam.poll()
        file.append(data[needed : needed + 1])
        assert not beam.has(pulse, [0], rules)
        assert beam.poll() > before
        assert beam.has(pulse, [0], rules)
    assert not beam.has(replace(pulse, time=needed * TSAMP), [0], rules)


def test_of_all_tabs_that_it_needs(tmp_path):
    pulse, rules = burst(3.0), settings().extractor
    files = write_beam(tmp_path, n_tabs=3)
    (files.directory / "CB00_01.fil").unlink()
    beam = BeamAvailability(files)
    beam.poll()
    assert beam.has(pulse, [0, 2], rules)
    assert not beam.has(pulse, [0, 1], rules)


@pytest.mark.parametrize(("content", "there"), [(b"", False), (b"nonsense" * 100, True)])
def test_what_waiting_does_not_help_is_not_waited_for(tmp_path, content, there):
    files = write_beam(tmp_path)
    (files.directory / "CB00.fil").write_bytes(content)
    beam = BeamAvailability(files)
    beam.poll()
    assert beam.has(burst(3.0), [0], settings().extractor) is there
    assert beam.has(burst(3.0), [1], settings().extractor)  # no such TAB
