"""Trigger lists, summaries, and what the master adds."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import astuple, replace
from results_made_up import ARRIVAL, candidate, in_hour_angle, observation, read_observation

from darc.candidates.results.observation_info import (
    coordinates,
    write_coordinates,
    write_info,
)
from darc.candidates.results.trigger_lists import (
    ResultFileError,
    listed,
    read_summary,
    read_triggers,
    write_summary,
    write_triggers,
)
from darc.model.observation import Observation
from darc.model.processing_outcome import NOTHING_SEARCHED, ListedCandidate, ProcessingSummary

#: Of WSRT, m.
POSITION = (3828445.7, 445223.9, 5064921.6)

counts = st.integers(0, 10**12)
rows = st.builds(
    ListedCandidate,
    cb=st.integers(0, 999),
    snr=st.floats(0, 1e6),
    dm=st.floats(0, 1e5),
    time=st.floats(-100, 1e6),
    downsampling=counts,
    beam=st.integers(0, 1000),
    probability=st.floats(0, 1),
)


@given(st.lists(rows, max_size=20))
def test_lists_there_and_back(
    tmp_path_factory: pytest.TempPathFactory, made: list[ListedCandidate]
) -> None:
    path = tmp_path_factory.mktemp("lists") / "CB01_triggers.txt"
    write_triggers(path, made)
    found = read_triggers(path)
    assert len(found) == len(made)
    for one, other in zip(found, made, strict=True):
        assert one.snr == pytest.approx(other.snr, abs=0.00501)
        assert one.dm == pytest.approx(other.dm, abs=0.00501)
        assert one.time == pytest.approx(other.time, abs=0.0000501)
        assert one.probability == pytest.approx(other.probability, abs=0.00501)
        assert (one.cb, one.beam, one.downsampling) == (other.cb, other.beam, other.downsampling)
    again = path.read_bytes()
    write_triggers(path, found)
    assert path.read_bytes() == again


def test_a_list_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "CB12_triggers.txt"
    write_triggers(path, [listed(candidate()), listed(candidate(cb=3, probability=0.5))])
    assert path.read_bytes() == (
        b"#cb snr dm time downsamp sb p\n"
        b"12 23.40 560.00 123.4567 41 35 0.97\n"
        b"03 23.40 560.00 123.4567 41 35 0.50\n"
    )
    write_triggers(path, [])
    assert path.read_bytes() == b"#cb snr dm time downsamp sb p\n"
    assert read_triggers(path) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "list.txt:1: '' is not the header"),
        ("#cb snr dm\n", "list.txt:1: '#cb snr dm' is not the header"),
        ("{header}", "list.txt:1: the line has no end"),
        ("{header}\n{row}", "list.txt:2: the line has no end"),
        ("{header}\n{row}\n\n", "list.txt:3: '' has 1 columns, not 7"),
        ("{header}\n{row} 8\n", "list.txt:2: .* has 8 columns, not 7"),
        (
            "{header}\n{row}\n12 high 560.00 1.0 41 35 0.97\n",
            "list.txt:3: snr: 'high' is no number",
        ),
        ("{header}\n12 nan 560.00 1.0 41 35 0.97\n", "list.txt:2: snr: 'nan' is no number"),
        ("{header}\n12 1_0 560.00 1.0 41 35 0.97\n", "list.txt:2: snr: '1_0' is no number"),
        ("{header}\n12 1.0 560.00 1.0 41.5 35 0.97\n", "downsamp: '41.5' is no whole number"),
        ("{header}\n12 1.0 560.00 1.0 41 35 1.97\n", "list.txt:2: p: 1.97 is not from 0 to 1"),
        ("{header}\r\n{row}\r\n", "is not the header"),
    ],
)
def test_a_list_that_is_wrong(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "list.txt"
    header, row = "#cb snr dm time downsamp sb p", "12 23.40 560.00 123.4567 41 35 0.97"
    path.write_bytes(text.format(header=header, row=row).encode())
    with pytest.raises(ResultFileError, match=what):
        read_triggers(path)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_list_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("lists") / "any"
    path.write_bytes(b"#cb snr dm time downsamp sb p\n" + data)
    with contextlib.suppress(ResultFileError):
        assert read_triggers(path) or not data
    path.write_bytes(data)
    with contextlib.suppress(ResultFileError):
        assert read_summary(path) is None


def test_what_is_no_number_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    with pytest.raises(ValueError, match="not finite"):
        write_triggers(path, [replace(listed(candidate()), snr=math.nan)])
    assert list(tmp_path.iterdir()) == []


@given(st.builds(ProcessingSummary, *[st.integers(-1, 10**15)] * 4))
def test_summaries_there_and_back(
    tmp_path_factory: pytest.TempPathFactory, made: ProcessingSummary
) -> None:
    path = tmp_path_factory.mktemp("summaries") / "CB01_summary.yaml"
    write_summary(path, made, ARRIVAL)
    assert read_summary(path) == made


def test_a_summary_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "CB12_summary.yaml"
    write_summary(path, NOTHING_SEARCHED, ARRIVAL)
    assert path.read_text() == (
        "ncand_raw: -1\nncand_post_clustering: -1\n"
        f"ncand_post_thresholds: -1\nncand_post_classifier: -1\n# {ARRIVAL}\n"
    )


@pytest.mark.parametrize("text", ["", "\n", "  \n\n"])
def test_an_empty_summary_is_that_of_a_beam_that_failed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "CB12_summary.yaml"
    path.write_text(text)
    assert read_summary(path) is None
    with pytest.raises(FileNotFoundError):
        read_summary(tmp_path / "CB13_summary.yaml")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("ncand_raw: 1\n", "summary.yaml:1: ncand_post_clustering: missing"),
        ("{whole}more: 1\n", "summary.yaml:5: more: unknown"),
        ("{whole}ncand_raw: 2\n", "summary.yaml:5: ncand_raw: duplicate key"),
        ("null\n", "summary.yaml:1: .*null is not a mapping"),
        ("# only a comment\n", "summary.yaml:1: .*null is not a mapping"),
        ("[1, 2]\n", "summary.yaml:1: .*a list of 2 is not a mapping"),
        ("a: [\n", "summary.yaml:2: not valid YAML"),
    ],
)
def test_a_summary_that_is_wrong(tmp_path: Path, text: str, what: str) -> None:
    names = ("raw", "post_clustering", "post_thresholds", "post_classifier")
    whole = "".join(f"ncand_{name}: 1\n" for name in names)
    path = tmp_path / "summary.yaml"
    path.write_text(text.format(whole=whole))
    with pytest.raises(ResultFileError, match=what):
        read_summary(path)


@pytest.mark.parametrize("value", ["-2", "1.5", "many", "true", "null", "'3'"])
def test_a_count_that_is_none(tmp_path: Path, value: str) -> None:
    path = tmp_path / "summary.yaml"
    write_summary(path, ProcessingSummary(1, 2, 3, 4), ARRIVAL)
    path.write_text(path.read_text().replace("thresholds: 3", f"thresholds: {value}"))
    with pytest.raises(ResultFileError, match=r"summary.yaml:3: ncand_post_thresholds: "):
        read_summary(path)


def test_an_observation_there_and_back(tmp_path: Path) -> None:
    for made in (observation(), observation("<script>: 'ä' #\n", 0), in_hour_angle(observation())):
        write_info(tmp_path / "info.yaml", made, ARRIVAL)
        assert read_observation(tmp_path / "info.yaml") == made


@example("1e+100", 1.0)
@example("0o17", 1.0)
@given(st.text(max_size=50), st.floats(1e-12, 8_640_000))
def test_any_source_there_and_back(
    tmp_path_factory: pytest.TempPathFactory, source: str, duration: float
) -> None:
    path = tmp_path_factory.mktemp("info") / "info.yaml"
    made = replace(observation(beams=1), source=source, duration=duration)
    write_info(path, made, ARRIVAL)
    assert read_observation(path) == made


def test_coordinates_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "coordinates.txt"
    write_coordinates(path, observation(beams=2), POSITION)
    lines = path.read_text().splitlines()
    assert lines[:2] == ["#CB RA Dec Gl Gb", "00 293.90000 16.30000 52.43237 -2.04047"]
    assert lines[2].startswith("01 ")


def test_coordinates_of_hour_angles(tmp_path: Path) -> None:
    path = tmp_path / "coordinates.txt"
    made = in_hour_angle(observation())
    (one,) = coordinates(made, POSITION)
    assert 0 <= one.ra < 360
    assert one.dec == pytest.approx(16.3, abs=0.2)
    write_coordinates(path, made, POSITION)
    (line,) = path.read_text().splitlines()[1:]
    assert list(map(float, line.split())) == pytest.approx(astuple(one), abs=1e-5)


@pytest.mark.parametrize(
    "made", [replace(observation(), pointings=()), replace(observation(), beams=())]
)
def test_coordinates_that_are_not_known(tmp_path: Path, made: Observation) -> None:
    write_coordinates(tmp_path / "coordinates.txt", made, POSITION)
    assert (tmp_path / "coordinates.txt").read_text() == "#CB RA Dec Gl Gb\n"
