"""The files at an observation's end: what is missing is said, and the rest is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from beams import burst, settings

from darc.model.observation import Pointing
from darc.model.processed import ListedCandidate, Summary
from darc.processing.results import write_results
from darc.processing.tasks import BeamSky, ResultsJob
from darc.results.lists import read_summary, read_triggers


@pytest.fixture
def job(tmp_path: Path) -> ResultsJob:
    data = tmp_path / "output" / "data"
    rows = [ListedCandidate(7, 10.0 + n, 100.0, float(n), 1, 0, 0.5 + n / 10) for n in range(3)]
    return ResultsJob(
        observation="obs1",
        cb=7,
        directory=tmp_path / "results" / "20260518" / "obs",
        clusters=tmp_path / "output" / "grouped_pulses.singlepulse",
        pulses=tuple(burst(float(number)) for number in range(5)),
        kept=tuple((data / f"{number}.hdf5", row) for number, row in enumerate(rows)),
        n_passed=4,
        n_raw=17,
        trigger_files=(),
        settings=settings(),
        beam=BeamSky(None, None, (0.0, 0.0, 0.0), Path("galaxy_ymw16.npz")),
    )


def test_files_that_are_gone_keep_nothing_from_being_written(job):
    written = write_results(job)
    assert len([text for text in written.problems if ".hdf5" in text]) == 3
    assert read_summary(job.directory / "CB07_summary.yaml") == Summary(17, 5, 4, 3)
    listed = read_triggers(job.directory / "CB07_triggers.txt")
    assert [row.probability for row in listed] == [0.7, 0.6, 0.5], "the most probable first"
    assert len(job.clusters.read_text().splitlines()) == 6


def test_plots_that_cannot_be_made_keep_nothing_from_being_written(job):
    visualizer = replace(job.settings.visualizer, colour_gal="no colour")
    written = write_results(replace(job, settings=replace(job.settings, visualizer=visualizer)))
    assert any("CB07.pdf" in text and "no colour" in text for text in written.problems)
    assert (job.directory / "CB07_summary.yaml").exists()


def test_a_map_that_is_not_there(job):
    sky = BeamSky(Pointing(7, 83.6, 22.0), None, (0.0, 0.0, 0.0), Path("/no/map.npz"))
    written = write_results(replace(job, beam=sky))
    assert any("/no/map.npz" in text for text in written.problems)
    assert (job.directory / "CB07_summary.yaml").exists()


def test_the_list_of_clusters_that_cannot_be_written(job, tmp_path):
    (tmp_path / "output").write_text("in the way")
    assert any("output" in text for text in write_results(job).problems)
    assert (job.directory / "CB07_summary.yaml").exists()


def test_a_directory_that_cannot_be_written_is_an_error(job, tmp_path):
    (tmp_path / "results").write_text("in the way")
    with pytest.raises(OSError, match="results"):
        write_results(job)


def test_what_was_left_half_written_is_removed(job, tmp_path):
    data = tmp_path / "output" / "data"
    for directory in (job.directory, data):
        directory.mkdir(parents=True)
    of_a_killed_process = [job.directory / ".CB07.pdf.00ff.new", data / ".TOA1.hdf5.00ff.new"]
    of_another_beam = job.directory / ".CB08.pdf.00ff.new"
    for path in (*of_a_killed_process, of_another_beam):
        path.touch()
    write_results(job)
    assert [path.exists() for path in of_a_killed_process] == [False, False]
    assert of_another_beam.exists()
