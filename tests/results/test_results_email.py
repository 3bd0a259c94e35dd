"""The e-mail about an observation's results says what its times refer to."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace
from results_made_up import ARRIVAL, candidate, observation, read_observation

from darc.candidates.results.observation_info import write_info
from darc.candidates.results.trigger_lists import listed
from darc.model.processing_outcome import ProcessingSummary
from darc.model.results import (
    BeamResults,
    BeamState,
    Coordinates,
    ObservationResults,
    ShownCandidate,
)
from darc.model.results_email import results_email


def results(n: int) -> ObservationResults:
    made = observation(beams=1)
    beams = (BeamResults(0, BeamState.DONE, ProcessingSummary(1, 1, 1, n)),)
    shown = tuple(ShownCandidate(listed(candidate(seed))) for seed in range(n))
    return ObservationResults(made, True, beams, (), shown, 0.0, arrival=ARRIVAL)


def test_it_says_what_times_refer_to() -> None:
    _, text = results_email(results(2), 10, "page")
    assert "times: s since 2019-05-18T12:34:56.000000 UTC, at 1519.505615 MHz" in text
    assert "topocentric\nwidths: samples of 8.192e-05 s\nDM constant: 4148.808000" in text


def test_without_candidates_there_is_nothing_to_refer_to() -> None:
    _, text = results_email(results(0), 10, "page")
    assert "times:" not in text


def test_the_observation_has_it_as_a_remark(tmp_path: Path) -> None:
    made = observation()
    write_info(tmp_path / "info.yaml", made, ARRIVAL)
    assert (tmp_path / "info.yaml").read_text().splitlines()[-1] == f"# {ARRIVAL}"
    assert read_observation(tmp_path / "info.yaml") == made


def test_the_milky_way_by_two_models_is_named() -> None:
    one = results(1)
    beam = replace(one.beams[0], dms_galaxy={"YMW16": 43.21, "NE2025": 50.0})
    place = (Coordinates(0, 83.6, 22.0, 184.6, -5.8),)
    _, text = results_email(replace(one, beams=(beam,), coordinates=place), 10, "page")
    assert "43.2 pc cm-3 (YMW16), 50.0 pc cm-3 (NE2025)" in text
    only = replace(beam, dms_galaxy={"YMW16": 43.21})
    _, text = results_email(replace(one, beams=(only,), coordinates=place), 10, "page")
    assert "YMW16" not in text
    assert "43.2" in text
