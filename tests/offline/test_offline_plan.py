"""What is to be done for which observation."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from darc.model.observation import Observation, Pointing
from darc.node.node_config import load_config
from darc.node.read_observation import read_observation
from darc.offline.offline_plan import plan
from simulator.write_parsets import write_observation


@pytest.fixture
def observation(tmp_path: Path) -> Observation:
    made = write_observation(
        tmp_path, task_id="one", source="J0332+5434", start=time.time(), duration=10.0,
        pointing=(53.2, 54.5),
    )  # fmt: skip
    return read_observation(made.parset, load_config().instrument)


def keys(observation: Observation, **changed: Any) -> list[str]:
    config = load_config()
    changed_one = replace(observation, **changed)
    tasks, problems = plan(changed_one, config.offline_processing, config)
    assert not problems
    return [task.key for task in tasks]


def test_a_test_pulsar_is_folded_by_the_beam_that_holds_it(observation: Observation) -> None:
    assert keys(observation) == ["fold B0329+54"]
    assert keys(observation, source="B0329+54") == ["fold B0329+54"]
    assert keys(observation, source_beam=3) == []
    assert keys(observation, source_beam=None) == []
    assert keys(observation, source="B1919+21") == []
    assert keys(observation, proctrigger=False) == []
    assert keys(observation, beam=None) == []


def test_a_drift_scan_is_measured_by_the_beams_that_it_passes(observation: Observation) -> None:
    drift = {"source": "3C286drift0107", "source_beam": None}
    assert keys(observation, **drift, beam=7) == ["drift 3C286"]
    assert keys(observation, **drift, beam=8) == []
    assert keys(observation, source="3C286drift07", beam=7) == ["drift 3C286"]


def test_repeaters_are_looked_for_where_they_may_be(observation: Observation) -> None:
    def near(ra: float, dec: float, frame: str = "J2000") -> list[str]:
        pointings = (Pointing(0, ra, dec),)
        return keys(observation, source="X", pointings=pointings, reference_frame=frame)

    assert near(29.5, 65.7) == ["repeater FRB 180916"]
    assert near(83.0, 33.1) == ["repeater FRB 121102"]
    assert near(40.0, 65.7) == []
    assert near(200.0, 65.7, "HADEC") == ["repeater FRB 180916"]
    assert near(29.5, 10.0, "HADEC") == []


def test_a_table_that_is_missing_is_said_and_the_rest_done(observation: Observation) -> None:
    config = load_config()
    settings = replace(config.offline_processing, pulsar_file="/none/pulsars.yaml")
    tasks, problems = plan(observation, settings, config)
    assert not tasks
    assert "/none/pulsars.yaml" in problems[0]


def test_files_are_taken_as_the_instrument_says(observation: Observation) -> None:
    config = load_config()
    instrument = replace(config.instrument, data_start="observation", data_tsamp=1e-3)
    config = replace(config, instrument=instrument)
    tasks, _ = plan(observation, config.offline_processing, config)
    times = tasks[0].place.files().times
    assert (times.by_header, times.tsamp) == (False, 1e-3)
    assert times.span == (observation.start, observation.end)
