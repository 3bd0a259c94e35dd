"""The static site: as files, and in a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from msgspec.structs import replace
from results_made_up import observation

from darc.candidates.results.results_site import make_entry, write_observation_page
from darc.candidates.results.site_lists import write_lists
from darc.model.processing_outcome import ProcessingSummary
from darc.model.results import BeamState, ObservationResults

ROW = re.compile(r'<td role="cell" data-p="([^"]*)"')


@pytest.fixture
def results(made_results: ObservationResults) -> ObservationResults:
    return made_results


@pytest.fixture
def another_file_system(tmp_path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="darc-", dir="/dev/shm") as name:
        if Path(name).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("temporary files are in memory, too: there is no second file system")
        yield Path(name)


def links(page: str) -> list[str]:
    return re.findall(r'(?:href|src)="([^"]*)"', page)


def test_what_is_linked_is_there(tmp_path: Path, results: ObservationResults) -> None:
    site = tmp_path / "site"
    page = write_observation_page(site, results)
    assert write_lists(site) == []
    assert page == site / "20190518" / "2019-05-18-12:34:56.B1933+16" / "index.html"
    for file in (page, site / "index.html"):
        found = [one for one in links(file.read_text()) if not one.startswith(("#", "data:"))]
        assert len(found) > 2
        for link in found:
            assert not link.startswith(("/", "http"))
            target = Path(os.path.normpath(file.parent / unquote(link)))
            assert target.is_file()
            assert target.is_relative_to(site)


def test_the_most_probable_come_first_and_then_the_strongest(
    tmp_path: Path, results: ObservationResults
) -> None:
    text = write_observation_page(tmp_path / "site", results).read_text()
    shown = [float(one) for one in ROW.findall(text)]
    assert shown == sorted((one.listed.probability for one in results.candidates), reverse=True)


def test_files_are_copied_once_and_those_of_two_beams_are_two(
    tmp_path: Path, results: ObservationResults
) -> None:
    (first, second, *_) = results.candidates
    assert first.picture
    own = tmp_path / first.picture.name
    shutil.copy2(first.picture, own)
    first = replace(first, picture=own)
    second = replace(second, listed=replace(second.listed, cb=13), picture=own)
    first = replace(first, listed=replace(first.listed, cb=12))
    page = write_observation_page(tmp_path, replace(results, candidates=(first, second)))
    pictures = sorted((page.parent / "pictures").iterdir())
    assert [one.name for one in pictures] == [f"CB{cb}_{own.name}" for cb in (12, 13)]
    inodes = [one.stat().st_ino for one in pictures]
    write_observation_page(tmp_path, replace(results, candidates=(first, second)))
    assert [one.stat().st_ino for one in pictures] == inodes
    own.write_bytes(b"another one")
    write_observation_page(tmp_path, replace(results, candidates=(first, second)))
    assert pictures[0].read_bytes() == b"another one"


@pytest.mark.parametrize(("mode", "is_same"), [(0o644, True), (0o664, False), (0o600, False)])
def test_only_what_nobody_else_can_change_is_linked(
    tmp_path: Path, results: ObservationResults, mode: int, is_same: bool
) -> None:
    shown = results.candidates[0]
    assert shown.picture
    own = tmp_path / "CB00" / shown.picture.name
    own.parent.mkdir()
    shutil.copy2(shown.picture, own)
    own.chmod(mode)
    of_one = replace(results, candidates=(replace(shown, picture=own),))
    for _ in range(2):
        site = write_observation_page(tmp_path / "site", of_one).parent
        (picture,) = (site / "pictures").iterdir()
        assert picture.samefile(own) is is_same
        assert picture.read_bytes() == own.read_bytes()


def test_to_another_file_system_files_are_copied(
    tmp_path: Path, results: ObservationResults, another_file_system: Path
) -> None:
    site = write_observation_page(another_file_system / "site", results).parent
    assert len(list((site / "pictures").iterdir())) == len(results.candidates)


def test_the_numbers_of_an_observation(results: ObservationResults) -> None:
    entry = make_entry(results)
    assert (entry.beams, entry.beams_done, entry.failed) == (40, 36, (7,))
    done = [beam.summary for beam in results.beams if beam.summary]
    assert entry.counts.ncand_raw == sum(one.ncand_raw for one in done if one.ncand_raw >= 0)
    nothing = [replace(beam, summary=None) for beam in results.beams]
    assert make_entry(replace(results, beams=tuple(nothing))).counts == ProcessingSummary(
        -1, -1, -1, -1
    )


def test_the_index_is_made_of_what_is_there(tmp_path: Path, results: ObservationResults) -> None:
    for day in (17, 19, 18):
        made = replace(
            results.observation,
            date=f"201905{day}",
            datetimesource=f"2019-05-{day}-12:34:56.X",
            start=1558182896.0 + 86400 * (day - 18),
            source=f"of the {day}th",
        )
        write_observation_page(tmp_path, replace(results, observation=made))
    assert write_lists(tmp_path) == []
    text = (tmp_path / "index.html").read_text()
    assert re.findall(r"of the (\d+)th", text) == ["19", "18", "17"]
    (entry,) = tmp_path.glob("20190518/*/observation.json")
    plain = json.loads(entry.read_text())
    entry.write_text("{")
    (problem,) = write_lists(tmp_path)
    assert problem.startswith(f"{entry}: no JSON")
    entry.write_text(json.dumps(plain | {"format": 2}))
    assert write_lists(tmp_path) == [f"{entry}: format 2, not 1"]
    entry.write_text(json.dumps(plain | {"beams": "many"}))
    (problem,) = write_lists(tmp_path)
    assert "beams: 'many' is not a whole number" in problem
    text = (tmp_path / "index.html").read_text()
    assert re.findall(r"of the (\d+)th", text) == ["19", "17"]
    assert "Left out" in text


def test_an_index_of_nothing(tmp_path: Path) -> None:
    assert write_lists(tmp_path / "site") == []
    assert "No observations yet" in (tmp_path / "site" / "index.html").read_text()


def test_an_observation_without_anything(tmp_path: Path) -> None:
    made = observation(beams=1)
    page = write_observation_page(tmp_path, ObservationResults(made, False, (), (), (), made.start))
    assert "No candidates yet" in page.read_text()
    assert write_lists(tmp_path) == []


@pytest.mark.parametrize("name", ["..", "a/b", "", "."])
def test_a_name_that_leads_elsewhere(
    tmp_path: Path, results: ObservationResults, name: str
) -> None:
    wrong = replace(results.observation, datetimesource=name)
    with pytest.raises(ValueError, match="no name of a directory"):
        write_observation_page(tmp_path, replace(results, observation=wrong))


def test_names_are_no_markup(tmp_path: Path, results: ObservationResults) -> None:
    evil = "</title><script>alert(1)</script>\u202e\"'&"
    made = replace(results.observation, source=evil, datetimesource="<img src=x>#?%.fil")
    page = write_observation_page(tmp_path, replace(results, observation=made))
    write_lists(tmp_path)
    for text in (page.read_text(), (tmp_path / "index.html").read_text()):
        assert "<script>" not in text
        assert "<img src=x>" not in text
        assert "\u202e" not in text
        assert "&lt;script&gt;alert(1)" in text
    (link,) = [one for one in links((tmp_path / "index.html").read_text()) if "fil" in one]
    assert (tmp_path / unquote(link)) == page


def test_the_script_is_small_and_the_page_of_many_too(
    tmp_path: Path, results: ObservationResults
) -> None:
    many = tuple(replace(one, picture=None) for one in results.candidates) * 50
    page = write_observation_page(tmp_path, replace(results, candidates=many))
    assert len(ROW.findall(page.read_text())) == len(many) >= 1000
    assert (tmp_path / "results.js").stat().st_size < 10_000
    assert page.stat().st_size < 1000 * len(many)


def test_a_state_for_each_beam(tmp_path: Path, results: ObservationResults) -> None:
    text = write_observation_page(tmp_path, results).read_text()
    for state in BeamState:
        wanted = sum(beam.state is state for beam in results.beams)
        assert len(re.findall(rf"</svg> {state}</td>", text)) == wanted > 0


@pytest.mark.parametrize(("frame", "scale"), [("topocentric", "UTC"), ("barycentric", "TDB")])
def test_the_scale_of_times_is_that_of_their_frame(
    tmp_path: Path, results: ObservationResults, frame: str, scale: str
) -> None:
    reference = replace(results.observation.arrival_reference("WSRT"), frame=frame)
    page = write_observation_page(tmp_path, replace(results, arrival=reference)).read_text()
    assert f"{frame}, {scale}, at" in page
    assert ("UTC, MJD" in page) is (scale == "UTC")
    assert ("MJD TDB" in page) is (scale == "TDB")
