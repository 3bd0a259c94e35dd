"""Dumps of a polarisation calibrator: in which observations, and when."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from darc.config.config import Config
from darc.model.observation import Observation
from darc.node.read_observation import read_observation
from darc.science.dump_window import DumpWindow
from darc.services.dada_trigger import polcal
from darc.services.dada_trigger.dump_request import format_request
from darc.services.dada_trigger.settings import DadaTriggerSettings
from simulator.write_parsets import write_observation

START = 1_558_223_473.6  # Unix s
DURATION = 300.0
SAMPLES = 12500  # of a page


@pytest.fixture(scope="module")
def observation(tmp_path_factory: pytest.TempPathFactory, config: Config) -> Observation:
    """In compound beam 7, where the source is."""
    directory: Path = tmp_path_factory.mktemp("observation")
    made = write_observation(
        directory, task_id="pol1", source="3C286polcal", start=START, duration=DURATION, beam=7
    )
    return read_observation(made.parset, config.instrument)


@pytest.mark.parametrize(
    ("source", "beam", "source_beam", "expected"),
    [
        ("3C286polcal", 7, 7, True),
        ("polcal", 7, 7, True),
        ("PolCal3C286", 7, 7, True),
        ("3C286polcal", 7, 8, False),  # another worker's
        ("3C286polcal", 7, None, False),
        ("3C286polcal", None, 7, False),  # a master's
        ("3C286polcal", None, None, False),
        ("3C286", 7, 7, False),
        ("B0531+21", 0, 0, False),
    ],
)
def test_which_observations(
    observation: Observation,
    source: str,
    beam: int | None,
    source_beam: int | None,
    expected: bool,
) -> None:
    one = replace(observation, source=source, beam=beam, source_beam=source_beam)
    assert polcal.is_polcal(one) is expected


def spans(windows: tuple[DumpWindow, ...]) -> list[tuple[float, float]]:
    """To the microsecond."""
    return [(round(one.start, 6), round(one.end, 6)) for one in windows]


def test_when(observation: Observation, rules: DadaTriggerSettings) -> None:
    """The numbers of the specification, by hand: pages 59, 117, 176, 234, of 30 each."""
    windows = polcal.schedule(observation, rules, SAMPLES)
    expected = [(round(n * 1.024, 6), round((n + 30) * 1.024, 6)) for n in (59, 117, 176, 234)]
    assert spans(windows) == expected


def test_all_of_the_settings_count(observation: Observation, rules: DadaTriggerSettings) -> None:
    changed = replace(rules, polcal_dump_size=2.0, polcal_interval=4.0, polcal_max_dumps=3)
    windows = polcal.schedule(replace(observation, tsamp=1e-4), changed, 5000)  # pages of 0.5 s
    assert spans(windows) == [(4, 6), (8, 10), (12, 14)]
    assert polcal.schedule(observation, replace(rules, polcal_max_dumps=0), SAMPLES) == ()
    assert polcal.schedule(replace(observation, duration=91.0), rules, SAMPLES) == ()


def test_the_request(observation: Observation, rules: DadaTriggerSettings) -> None:
    first, *_ = polcal.schedule(observation, rules, SAMPLES)
    assert format_request(polcal.request(observation, first)) == (
        "N_EVENTS 1\n2019-05-18-23:51:13\n2019-05-18-23:52:13 416 2019-05-18-23:52:44 136 0 0 0 0\n"
    )


@given(st.floats(1, 40_000), st.floats(0.1, 60), st.floats(0.1, 120), st.integers(0, 40))
def test_every_schedule_can_be_requested(
    observation: Observation,
    rules: DadaTriggerSettings,
    duration: float,
    size: float,
    interval: float,
    most: int,
) -> None:
    one = replace(observation, duration=duration)
    changed = replace(rules, polcal_dump_size=size, polcal_interval=interval, polcal_max_dumps=most)
    windows = polcal.schedule(one, changed, SAMPLES)
    assert len(windows) <= most
    assert [window.start for window in windows] == sorted(window.start for window in windows)
    for window in windows:
        assert window.end <= duration + 1e-3
        assert format_request(polcal.request(one, window)).startswith("N_EVENTS 1\n")
