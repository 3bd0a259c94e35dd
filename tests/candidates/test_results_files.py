"""The files at an observation's end: what is missing is said, and the rest is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from beams import burst, settings
from msgspec.structs import replace

from darc.candidates.pool_jobs import BeamSky
from darc.candidates.pool_tasks import ResultsTask
from darc.candidates.results.trigger_lists import read_summary, read_triggers
from darc.model.arrival import ArrivalReference
from darc.model.observation import Pointing
from darc.model.processing_outcome import ListedCandidate, ProcessingSummary

ARRIVAL = ArrivalReference(
    frequency=1519.505615, start=1558182896.25, tsamp=8.192e-5, telescope="WSRT"
)


def write_results(job: ResultsTask) -> Any:
    from darc.candidates.write_results import write_results as write  # noqa: PLC0415 (matplotlib)

    return write(job)


def read_table(path: Path) -> Any:
    from astropy.table import Table  # noqa: PLC0415

    return Table.read(path)


@pytest.fixture
def job(tmp_path: Path) -> ResultsTask:
    data = tmp_path / "output" / "data"
    rows = [ListedCandidate(7, 10.0 + n, 100.0, float(n), 1, 0, 0.5 + n / 10) for n in range(3)]
    return ResultsTask(
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
        arrival=ARRIVAL,
    )


def test_files_that_are_gone_keep_nothing_from_being_written(job):
    written = write_results(job)
    assert len([text for text in written.problems if ".hdf5" in text]) == 3
    assert read_summary(job.directory / "CB07_summary.yaml") == ProcessingSummary(17, 5, 4, 3)
    listed = read_triggers(job.directory / "CB07_triggers.txt")
    assert [row.probability for row in listed] == [0.7, 0.6, 0.5], "the most probable first"
    assert len(job.clusters.read_text().splitlines()) == 6


def test_lists_have_their_references_beside_them(job):
    """The lists themselves are byte for byte as specified."""
    write_results(job)
    text = (job.directory / "CB07_triggers.txt").read_text()
    assert text.startswith("#cb snr dm time downsamp sb p\n07 12.00 100.00 2.0000 1 0 0.70\n")
    assert job.clusters.read_text().startswith("#snr dm time downsamp sb\n")
    assert "#" not in job.clusters.read_text()[1:]
    remark = (job.directory / "CB07_summary.yaml").read_text().splitlines()[-1]
    assert remark == f"# {ARRIVAL}"
    found = read_table(job.directory / "CB07_triggers.ecsv")
    assert found["cb"].tolist() == [7, 7, 7]
    assert found["p"].tolist() == [0.7, 0.6, 0.5]
    from astropy.time import Time, TimeDelta  # noqa: PLC0415

    start = Time(ARRIVAL.start, format="unix", scale="utc", precision=6)
    arrived = start + TimeDelta(found["time"].data, format="sec")
    assert found["utc"].tolist() == arrived.isot.tolist()
    assert found["mjd"].data == pytest.approx(arrived.mjd, abs=2e-11)  # 2 µs
    assert found["width"].quantity.to_value("us") == pytest.approx([81.92] * 3)
    assert str(found["dm"].unit) == "pc / cm3"
    assert found.meta["reference_frequency_MHz"] == 1519.505615
    assert found.meta["dm_constant_MHz2_cm3_s_per_pc"] == 4148.808
    assert (found.meta["frame"], found.meta["telescope"]) == ("topocentric", "WSRT")
    clusters = read_table(job.clusters.with_suffix(".ecsv"))
    assert clusters["time"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert "1519.505615 MHz, topocentric" in clusters["time"].description


def test_tables_of_undated_data_are_read_too(job):
    write_results(replace(job, arrival=replace(ARRIVAL, start=None, frame="barycentric")))
    found = read_table(job.directory / "CB07_triggers.ecsv")
    assert "TDB" in found["mjd"].description
    assert found["mjd"].mask.all()
    assert "start_mjd" not in found.meta


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
