"""Requests for dumps: which there are for triggers that came together, to the byte."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from dump_requests import parse_request
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from triggers import TRIGGER, made_trigger

from darc.config.config import Config
from darc.model.counters import NotRequested
from darc.model.observation import Observation
from darc.model.trigger import Trigger
from darc.node.read_observation import read_observation
from darc.runtime.clock import Instant, Since
from darc.services.dada_trigger.dump_jobs import (
    BUFFER_MARGIN,
    MAX_EVENTS,
    SHORTEST,
    DumpJob,
    TriggerGroup,
    make_jobs,
    next_in_line,
)
from darc.services.dada_trigger.dump_request import DumpEvent
from darc.services.dada_trigger.settings import DadaTriggerSettings
from simulator.write_parsets import write_observation

START = 1_558_223_473.6  # Unix s; the raw data's start is the whole second of it
DURATION = 300.0
NOW = START + DURATION
SAMPLES = 12500  # of a page
LAST = BUFFER_MARGIN + SHORTEST  # what is left then is not worth asking for

#: The example of the specification.
EXAMPLE = """N_EVENTS 1
2019-05-18-23:51:13
2019-05-18-23:51:20 793 2019-05-18-23:51:26 937 1056.6 28.4666 10 35
"""


@pytest.fixture(scope="module")
def observation(tmp_path_factory: pytest.TempPathFactory, config: Config) -> Observation:
    directory: Path = tmp_path_factory.mktemp("observation")
    made = write_observation(
        directory, task_id="190518009", source="FAKE", start=START, duration=DURATION
    )
    return read_observation(made.parset, config.instrument)


def text_of(job: DumpJob) -> str:
    """What is sent while all of it is in the ring buffer."""
    return job.text(job.observation.start, math.inf)


def gathered(observation: Observation, *triggers: Trigger) -> TriggerGroup:
    now = taken(NOW)
    return TriggerGroup(observation, now, now, entries=[1], triggers=list(triggers))


def taken(unix: float) -> Since:
    """This moment, by a clock that says so."""
    return replace(Since.now(), unix=unix)


def event_of(job: DumpJob) -> DumpEvent:
    (event,) = parse_request(text_of(job)).events
    return event


# -- one trigger ---------------------------------------------------------------------------------


def test_the_example_of_the_specification(
    observation: Observation, rules: DadaTriggerSettings
) -> None:
    group = gathered(observation, TRIGGER)
    (job,), left_out = make_jobs(group, rules, SAMPLES)
    assert text_of(job) == EXAMPLE
    assert (job.key, job.port) == ("190518009", rules.port_iquv)
    assert job.names == ("190518009/9/4",)
    assert job.useful_until == pytest.approx(START + 13.937 + rules.buffer_length - LAST)
    assert job.gathered is group
    assert group.open_jobs == 1
    assert not left_out


def test_times_count_from_the_whole_second_that_the_raw_data_name(
    observation: Observation, rules: DadaTriggerSettings
) -> None:
    elsewhere = replace(observation, utc_start="2019-05-18-23:51:59")
    (job,), _ = make_jobs(gathered(elsewhere, TRIGGER), rules, SAMPLES)
    assert text_of(job).splitlines()[1:] == [
        "2019-05-18-23:51:59",
        "2019-05-18-23:52:06 793 2019-05-18-23:52:12 937 1056.6 28.4666 10 35",
    ]


def test_stokes_i_goes_to_its_own_port(
    observation: Observation, rules: DadaTriggerSettings
) -> None:
    (job,), _ = make_jobs(gathered(observation, made_trigger(stokes="I")), rules, SAMPLES)
    assert (job.port, text_of(job)) == (rules.port_i, EXAMPLE)
    assert job.names == ("190518009/9/4 (Stokes I)",)


def test_the_same_trigger_may_ask_for_both(
    observation: Observation, rules: DadaTriggerSettings
) -> None:
    group = gathered(observation, made_trigger(stokes="I"), TRIGGER)
    jobs, _ = make_jobs(group, rules, SAMPLES)
    assert [(job.port, text_of(job)) for job in jobs] == [
        (rules.port_iquv, EXAMPLE),
        (rules.port_i, EXAMPLE),
    ]
    assert len({name for job in jobs for name in job.names}) == 2
    assert group.open_jobs == 2


# -- windows -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tarr", "dm", "start", "end"),
    [
        (0.0, 10.0, 0.0, 6.144),  # clipped, and the length counts from there
        (1.0, 10.0, 0.0, 6.144),
        (100.0, 10.0, 97.952, 104.096),
        (299.0, 10.0, 296.952, 300.0),
        (302.0, 10.0, 299.952, 300.0),
        (100.0, 5000.0, 97.952, 97.952 + 4.96 + 4.096),  # 4.96 s across the band
    ],
)
def test_windows(
    observation: Observation,
    rules: DadaTriggerSettings,
    tarr: float,
    dm: float,
    start: float,
    end: float,
) -> None:
    trigger = made_trigger(tarr=tarr, dm=dm)
    (job,), left_out = make_jobs(gathered(observation, trigger), rules, SAMPLES)
    event = event_of(job)
    assert event.start == pytest.approx(start, abs=1e-3)
    assert event.end == pytest.approx(end, abs=0.02 if dm > 1000 else 1e-3)
    assert not left_out


@pytest.mark.parametrize("tarr", [302.048, 302.0479, 1e6, 1e308, -0.001, -100.0, -1e308])
def test_outside(observation: Observation, rules: DadaTriggerSettings, tarr: float) -> None:
    """What is a ten-thousandth of a second inside rounds to no time at all."""
    group = gathered(observation, made_trigger(tarr=tarr))
    assert make_jobs(group, rules, SAMPLES) == ([], {NotRequested.OUTSIDE: ["190518009/9/4"]})
    assert group.open_jobs == 0


def test_the_settings_and_the_length_of_a_page_count(
    observation: Observation, rules: DadaTriggerSettings
) -> None:
    changed = replace(rules, min_window_size=4.0, delay_end=1.0, buffer_length=3.0, port_iquv=5)
    (job,), _ = make_jobs(gathered(observation, made_trigger(tarr=50.0)), changed, 6250)
    event = event_of(job)
    assert (event.start, event.end) == (48.976, 48.976 + 4.0 + 1.0 + 1.024)
    assert job.useful_until == pytest.approx(START + 55.0 + 3.0 - LAST)
    assert job.port == 5


def test_what_comes_before_its_time_is_not_asked_for_longer(
    observation: Observation, rules: DadaTriggerSettings
) -> None:
    group = gathered(observation, made_trigger(tarr=250.0))
    group.taken = group.begun = taken(START + 200.0)
    (job,), _ = make_jobs(group, rules, SAMPLES)
    expected = event_of(job).end - 250.0 + rules.buffer_length - LAST
    assert job.useful_until - job.now() == pytest.approx(expected, abs=1.0)


# -- several -------------------------------------------------------------------------------------


def test_more_than_fit(observation: Observation, rules: DadaTriggerSettings) -> None:
    """The strongest, in order of time; what is outside takes no one's place."""
    inside = [
        made_trigger(window=number, tarr=250.0 - number, snr=10.0 + number % 50)
        for number in range(150)
    ]
    outside = [made_trigger(window=1000 + number, tarr=500.0, snr=99.0) for number in range(30)]
    (job,), left_out = make_jobs(gathered(observation, *outside, *inside), rules, SAMPLES)
    request = parse_request(text_of(job))
    assert text_of(job).startswith(f"N_EVENTS {MAX_EVENTS}\n")
    assert len(request.events) == len(job.names) == len(job.triggers) == MAX_EVENTS
    starts = [event.start for event in request.events]
    assert starts == sorted(starts)
    weakest = sorted((one.snr for one in inside), reverse=True)[MAX_EVENTS - 1]
    assert min(event.snr for event in request.events) == weakest
    assert {reason: len(names) for reason, names in left_out.items()} == {
        NotRequested.OUTSIDE: 30,
        NotRequested.TOO_MANY: 50,
    }
    last = max(event.end for event in request.events)
    assert job.useful_until == pytest.approx(START + last + rules.buffer_length - LAST)


triggers = st.builds(
    made_trigger,
    window=st.integers(0, 5),
    tarr=st.floats(-10, DURATION + 10),
    dm=st.floats(0, 100_000),
    snr=st.floats(0, 100_000),
    downsampling=st.integers(0, 2**53),
    sb=st.integers(0, 2**53),
    stokes=st.sampled_from(["IQUV", "I"]),
)


@given(st.lists(triggers, max_size=8) | st.lists(triggers, min_size=101, max_size=110))
def test_every_gathering(
    observation: Observation, rules: DadaTriggerSettings, wanted: list[Trigger]
) -> None:
    group = gathered(observation, *wanted)
    jobs, left_out = make_jobs(group, rules, SAMPLES)
    assert group.open_jobs == len(jobs)
    assert len({job.port for job in jobs}) == len(jobs)
    asked = sum(len(job.names) for job in jobs)
    assert asked + sum(map(len, left_out.values())) == len(wanted)
    assert all(left_out.values())
    for job in jobs:
        events = parse_request(text_of(job)).events  # strict: it could be told
        assert len(events) == len(job.triggers) <= MAX_EVENTS
        assert {one.stokes for one in job.triggers} == {
            "IQUV" if job.port == rules.port_iquv else "I"
        }
        numbers = [(one.dm, one.snr, one.downsampling, one.sb) for one in job.triggers]
        assert sorted((one.dm, one.snr, one.width, one.beam) for one in events) == sorted(numbers)
        for event in events:
            assert 0 <= event.start < event.end <= DURATION


# -- whose turn it is ----------------------------------------------------------------------------


def test_the_oldest_of_each_port_is_next() -> None:
    jobs = [
        DumpJob("190518009", port, "", (str(n),), 0.0, 0.0, taken(NOW))
        for n, port in enumerate([7, 8, 7, 8, 9])
    ]
    assert [job.names for job in next_in_line(jobs)] == [("0",), ("1",), ("4",)]
    assert next_in_line([]) == []


def test_what_has_left_the_ring_buffer_is_cut_off(
    rules: DadaTriggerSettings, observation: Observation
) -> None:
    """With it, dada_dbevent would drop all that it overlaps."""
    old, young = made_trigger(tarr=20.0), made_trigger(tarr=26.0, dm_bin=5)
    (job,), _ = make_jobs(gathered(observation, old, young), rules, SAMPLES)

    def at(time: float) -> tuple[DumpEvent, ...]:
        return parse_request(job.text(START + time, 10.0)).events

    whole = parse_request(text_of(job)).events
    assert len(whole) == 2
    first, second = at(31.0)
    assert first == replace(whole[0], start=pytest.approx(21.0 + BUFFER_MARGIN, abs=1e-3))
    assert second == whole[1]
    # Later, the second alone; and where nothing is left, all: clocks may differ.
    (last,) = at(whole[0].end + 10.0)
    assert last.end == whole[1].end
    assert at(1000.0) == whole


@pytest.mark.parametrize("samples", [12500, 1_250_000])
def test_it_is_asked_for_as_long_as_any_of_it_is_there(
    rules: DadaTriggerSettings, observation: Observation, samples: int
) -> None:
    """Coarse sampling has long pages: the window begins long before the pulse."""
    (job,), _ = make_jobs(gathered(observation, made_trigger(tarr=250.0)), rules, samples)
    whole = parse_request(text_of(job)).events
    (event,) = whole

    def at(unix: float) -> tuple[DumpEvent, ...]:
        return parse_request(job.text(unix, rules.buffer_length)).events

    assert job.useful_until > START + event.start + rules.buffer_length
    (left,) = at(job.useful_until - 0.01)
    assert (left.start, left.end) == (
        pytest.approx(event.end - SHORTEST - 0.01, abs=2e-3),
        event.end,
    )
    assert at(job.useful_until + 0.01) == whole


@pytest.mark.parametrize("set_by", [-3600.0, 3600.0])
def test_a_clock_that_is_set_makes_no_data_older(
    rules: DadaTriggerSettings,
    observation: Observation,
    monkeypatch: pytest.MonkeyPatch,
    set_by: float,
) -> None:
    (job,), _ = make_jobs(gathered(observation, TRIGGER), rules, SAMPLES)
    assert job.now() == pytest.approx(NOW, abs=5.0)
    real = Instant.now().seconds
    monkeypatch.setattr("darc.runtime.clock.time.time", lambda: NOW + set_by)
    assert job.now() == pytest.approx(NOW + Instant.now().seconds - real, abs=5.0)


@pytest.mark.parametrize("ahead", [-3600.0, -5.0, 2.0, 3600.0])
@pytest.mark.parametrize("when", ["at the start", "at the trigger"])
def test_a_clock_that_is_wrong_for_a_while_makes_no_data_older_or_younger(
    rules: DadaTriggerSettings, observation: Observation, ahead: float, when: str
) -> None:
    """A trigger comes 3 s after its pulse, of which all is in the ring buffer."""
    right, wrong = taken(START + 203.0), taken(START + 203.0 + ahead)
    begun, came = (wrong, right) if when == "at the start" else (right, wrong)
    group = TriggerGroup(observation, begun, came, triggers=[made_trigger(tarr=200.0)])
    (job,), _ = make_jobs(group, rules, SAMPLES)
    expected = event_of(job).end - 203.0 + rules.buffer_length - LAST
    assert job.useful_until - job.now() == pytest.approx(expected, abs=1.0)
    # What is left of it then, and no more, is asked for.
    late = parse_request(job.text(job.now() + rules.buffer_length - 3.0, rules.buffer_length))
    assert late.events[0].start == pytest.approx(200.0 + BUFFER_MARGIN, abs=1.0)
