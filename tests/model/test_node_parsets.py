"""The parsets of nodes, made of the telescope's own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from default_config import CONFIG
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from darc.model.node_parsets import NodeParsets, make_node_parsets, worker_name
from darc.model.observation import Observation, ObservationError, Pointing
from darc.model.observation_build import build_observation
from darc.model.parset import Parset, embedded_parset, parse_parset

ARTS = CONFIG.instrument
AMBER = "opencl_device=[1, 2, 3]\n"
PAGE = Fraction(12500) * Fraction("81.92E-6")

#: Of a telescope that knows none of ARTS's keys but the paths, which nobody else can tell.
PLAIN = {
    "task.taskID": "42",
    "task.source.name": "R1",
    "task.startTime": "2026-01-02 03:04:05.5",
    "task.duration": "10",
    "task.beamSet.0.compoundBeam.2.phaseCenter": "[10deg, -20.5 deg]",
    "ARTSSurveyControl.amber_dir": "/data/{date}/{datetimesource}/amber",
    "ARTSSurveyControl.amber_config": "/etc/amber.conf",
    "ARTSSurveyControl.output_dir": "/data/{date}",
}
TELESCOPE = {
    **PLAIN,
    "task.observingMode": "arts_sc3_survey",
    "arts.survey.science_mode": "TAB",
    "arts.survey.beams": "[0..3, 7]",
    "arts.survey.snr_threshold": "7.5",
    "arts.survey.process_triggers": "true",
    "arts.survey.enable_iquv": "false",
    "ARTSSurveyControl.missing_beams": "[1]",
    "ARTSSurveyControl.time_unit": "1000000",
    "ARTSSurveyControl.bw": "200",
    "ARTSSurveyControl.nchan": "1024",
    "ARTSSurveyControl.min_freq": "1300",
    "ARTSSurveyControl.master_dir": "{home}/.controller",
    "ARTSSurveyControl.amber_config": "amber.conf",
    "ARTSSurveyControl.amber_conf_dir": "amber_conf",
    "ARTSSurveyControl.network_port_event_i": "30000",
    "ARTSSurveyControl.network_port_event_iquv": "30001",
    "ARTSSurveyControl.sc3.page_size": "12500",
    "ARTSSurveyControl.sc3.tsamp": "81.92E-6",
    "ARTSSurveyControl.sc3.tab.ntabs": "9",
    "ARTSSurveyControl.sc3.tab.nsynbeams": "114",
    "ARTSSurveyControl.sc3.iab.ntabs": "1",
    "ARTSSurveyControl.sc3.iab.nsynbeams": "1",
}


def telescope(entries: Mapping[str, str]) -> Parset:
    return parse_parset("".join(f"{key} = {value}\n" for key, value in entries.items()), "t")


def make(
    changes: Mapping[str, str] | None = None,
    base: Mapping[str, str] = TELESCOPE,
    without: tuple[str, ...] = (),
) -> NodeParsets:
    entries = {key: value for key, value in base.items() if key not in without}
    return make_node_parsets(telescope({**entries, **(changes or {})}), ARTS, home="/home/me")


def master_of(made: NodeParsets) -> Observation:
    return build_observation(parse_parset(made.master, "m"), None, None, ARTS)


def worker_of(made: NodeParsets, beam: int) -> Observation:
    return build_observation(parse_parset(made.workers[beam], "w"), None, AMBER, ARTS)


def problems_of(entries: Mapping[str, str]) -> list[str]:
    with pytest.raises(ObservationError) as caught:
        make_node_parsets(telescope(entries), ARTS, home="/home/me")
    return [str(problem) for problem in caught.value.problems]


class TestSamples:
    """What the telescope's control made of its parset is what is made of it here."""

    @staticmethod
    def parsed(shared_data: Path, name: str) -> Parset:
        return parse_parset((shared_data / "observation" / name).read_text(), name)

    @pytest.fixture
    def made(self, shared_data: Path) -> NodeParsets:
        parset = self.parsed(shared_data, "input.parset")
        return make_node_parsets(parset, ARTS, home="/home/arts")

    def test_the_observations_are_the_same(self, shared_data: Path, made: NodeParsets) -> None:
        worker = self.parsed(shared_data, "darc_CB00.parset")
        master = self.parsed(shared_data, "darc_master.parset")
        amber = (shared_data / "observation" / "amber.conf").read_text()
        expected = build_observation(worker, master, amber, ARTS)
        assert worker_of(made, 0) == replace(expected, config_file="w")
        expected = build_observation(master, None, None, ARTS)
        assert master_of(made) == replace(expected, config_file="m")

    def test_the_keys_are_the_same(self, shared_data: Path, made: NodeParsets) -> None:
        for name, text in (
            ("darc_CB00.parset", made.workers[0]),
            ("darc_master.parset", made.master),
        ):
            theirs = dict(self.parsed(shared_data, name).values)
            ours = dict(parse_parset(text, "").values)
            # Theirs has keys more that its control added: the addresses of dataWriter.
            ours.pop("parset"), theirs.pop("parset", None)
            theirs["bw"], ours["bw"] = float(theirs.get("bw", 300)), float(ours["bw"])
            differing = {key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]}
            assert differing == set()

    def test_every_worker_has_one(self, made: NodeParsets) -> None:
        assert list(made.workers) == list(range(40))
        for beam in (0, 39):
            observation = worker_of(made, beam)
            assert observation.beam == beam
            assert observation.beams == made.beams == tuple(range(40))
            assert len(observation.pointings) == 40


def test_everything_a_node_has_to_know() -> None:
    made = make()
    assert made.task_id == "42"
    assert made.datetimesource == "2026-01-02-03:04:05.R1"
    assert made.beams == (0, 2, 3, 7)
    observation = worker_of(made, 7)
    assert observation == Observation(
        task_id="42",
        datetimesource="2026-01-02-03:04:05.R1",
        date="20260102",
        source="R1",
        start=float(1767323045 // PAGE * PAGE),
        utc_start="2026-01-02-03:04:05",
        duration=float(9 * PAGE),
        proctrigger=True,
        enable_iquv=False,
        beam=7,
        beams=(0, 2, 3, 7),
        source_beam=None,
        pointings=(Pointing(2, 10.0, -20.5),),
        reference_frame="J2000",
        dishes=(),
        n_dishes=8,
        min_freq=1300.0,
        bandwidth=200.0,
        nchan=1024,
        tsamp=81.92e-6,
        ntabs=9,
        nsynbeams=114,
        science_case=3,
        snrmin=7.5,
        amber_dir="/data/20260102/2026-01-02-03:04:05.R1/amber",
        amber_config="/home/me/.controller/amber.conf",
        amber_instances=3,
        amber_conf_dir="/home/me/.controller/amber_conf",
        output_dir="/data/20260102",
        master_dir="/home/me/.controller",
        event_port_i=30000,
        event_port_iquv=30001,
        config_file="w",
    )
    of_master = {"beam": None, "amber_instances": 0, "config_file": "m"}
    of_master |= dict.fromkeys(("amber_config", "amber_conf_dir", "master_dir"), "")
    assert master_of(made) == replace(observation, **of_master)


def test_the_incoherent_mode_has_numbers_of_its_own() -> None:
    observation = worker_of(make({"arts.survey.science_mode": "IAB"}), 0)
    assert (observation.ntabs, observation.nsynbeams) == (1, 1)
    assert not observation.searched_in_sbs


def test_of_another_telescope_the_instrument_gives_the_rest() -> None:
    instrument = replace(
        ARTS, n_compound_beams=3, time_unit=10, nchan=7, bandwidth=70.0, min_freq=400.0, tsamp=1e-3
    )
    instrument = replace(instrument, n_tabs=1, n_sbs=1, n_dishes=64)
    made = make_node_parsets(telescope(PLAIN), instrument, home="/h")
    observation = build_observation(parse_parset(made.workers[2], "w"), None, AMBER, ARTS)
    # It says nothing of pages: its own times hold.
    assert observation.start == 1767323045.5
    assert (observation.duration, observation.beams) == (10.0, (0, 1, 2))
    assert (observation.nchan, observation.bandwidth, observation.min_freq) == (7, 70.0, 400.0)
    assert (observation.tsamp, observation.ntabs, observation.nsynbeams) == (1e-3, 1, 1)
    assert observation.science_case is observation.snrmin is observation.event_port_i is None
    assert observation.proctrigger is observation.enable_iquv is True


def test_which_beams() -> None:
    assert make(without=("ARTSSurveyControl.missing_beams",)).beams == (0, 1, 2, 3, 7)
    assert make({"task.beamSet.0.compoundBeams": "[5]"}).beams == (0, 2, 3, 7)
    entries = {"task.beamSet.0.compoundBeams": "[5, 1]"}
    assert make(entries, without=("arts.survey.beams",)).beams == (5,)
    assert len(make(without=("arts.survey.beams",)).beams) == 39


def test_a_stop_time_does_for_a_duration() -> None:
    changes = {"task.stopTime": "2026-01-02T03:04:16"}
    observation = worker_of(make(changes, PLAIN, ("task.duration",)), 0)
    assert observation.duration == 10.5
    assert worker_of(make(changes, PLAIN), 0).duration == 10.0


def test_file_names_are_those_of_the_telescopes_control() -> None:
    assert (worker_name(0), worker_name(39)) == ("darc_CB00.parset", "darc_CB39.parset")


@given(
    st.datetimes(datetime(1991, 1, 1), datetime(2100, 1, 1)),
    st.floats(1.1, 1e6),
)
def test_an_observation_is_whole_pages(moment: datetime, duration: float) -> None:
    changes = {"task.startTime": str(moment), "task.duration": repr(duration)}
    made = parse_parset(make(changes, without=("ARTSSurveyControl.time_unit",)).master, "m")
    begin = Fraction(str(made.values["startpacket"])) / ARTS.time_unit
    assert (begin / PAGE).denominator == 1
    exact = Fraction((moment - datetime(1970, 1, 1)) // timedelta(microseconds=1), 10**6)
    assert begin <= exact < begin + PAGE
    pages = Fraction(repr(duration)) // PAGE
    assert made.values["duration"] == pytest.approx(float(pages * PAGE), abs=1e-9)


keys = st.from_regex(r"[A-Za-z][A-Za-z0-9_.]{0,20}", fullmatch=True)
values = st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"], exclude_characters="#"))


@given(st.dictionaries(keys, values))
def test_the_whole_parset_goes_with_each(more: dict[str, str]) -> None:
    parset = telescope({**{f"x.{key}": value for key, value in more.items()}, **TELESCOPE})
    made = make_node_parsets(parset, ARTS, home="/h")
    for text in (made.master, *made.workers.values()):
        carried = embedded_parset(parse_parset(text, "n"))
        assert carried
        assert carried.values == parset.values


@pytest.mark.parametrize(
    "entry", [("x", "a#b"), ("x", "a\nb"), ("#x", "a"), ("x", " a"), ("a=", "b")]
)
def test_what_no_line_can_hold_is_refused(entry: tuple[str, str]) -> None:
    parset = telescope(TELESCOPE)
    parset = replace(parset, values={**parset.values, entry[0]: entry[1]})
    with pytest.raises(ObservationError, match="without line breaks"):
        make_node_parsets(parset, ARTS, home="/h")


def test_all_missing_keys_are_named_at_once() -> None:
    problems = problems_of({"a": "b"})
    assert [problem.split(": ")[1] for problem in problems] == [
        *("task.startTime", "task.source.name", "task.taskID", "task.duration"),
        *("ARTSSurveyControl.amber_dir", "ARTSSurveyControl.output_dir"),
        "ARTSSurveyControl.amber_config",
    ]
    assert (
        problems[3]
        == "t: task.duration: missing; allowed: seconds, above 0 and up to 8640000 (100 days)"
    )


@pytest.mark.parametrize(
    "key",
    [
        *("task.observingMode", "arts.survey.science_mode", "ARTSSurveyControl.sc3.page_size"),
        *("ARTSSurveyControl.sc3.tsamp", "ARTSSurveyControl.sc3.tab.ntabs"),
    ],
)
def test_a_telescope_with_science_cases_says_what_they_are(key: str) -> None:
    (problem,) = problems_of({name: TELESCOPE[name] for name in TELESCOPE if name != key})
    assert problem.startswith(f"t: {key}: missing; allowed: ")


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("task.startTime", "yesterday", "'yesterday' is invalid; allowed: a time (UTC) such as"),
        ("task.startTime", "2026-13-02 03:04:05", "is invalid"),
        (
            "task.duration",
            "-1",
            "'-1' is invalid; allowed: seconds, above 0 and up to 8640000 (100 days)",
        ),
        ("task.duration", "1.0", "'1.0' is invalid; allowed: at least a page of 1.024 s"),
        ("task.source.name", "a/b", "'a/b' is invalid; allowed: a name without /"),
        ("task.taskID", "../x", "'../x' is invalid; allowed: letters, digits and . + - _"),
        ("task.observingMode", "imaging", "allowed: arts_sc<number>_<mode>"),
        ("arts.survey.science_mode", "tab", "'tab' is invalid; allowed: TAB or IAB"),
        ("arts.survey.beams", "[0, 40]", "allowed: a list of compound beams, each 0 to 39"),
        ("arts.survey.beams", "[1]", "no compound beam remains"),
        ("arts.survey.process_triggers", "yes", "'yes' is invalid; allowed: True or False"),
        ("ARTSSurveyControl.nchan", "0", "'0' is invalid; allowed: a whole number from 1"),
        ("ARTSSurveyControl.network_port_event_i", "65536", "allowed: 1 to 65535"),
        ("ARTSSurveyControl.amber_dir", "amber", "'amber' is invalid; allowed: an absolute path"),
        (
            "ARTSSurveyControl.amber_dir",
            "/{beam}",
            "placeholders: {home}, {date}, {datetimesource}",
        ),
        ("task.beamSet.0.compoundBeam.3.phaseCenter", "[1, 2]", "[<longitude>deg, <latitude>deg]"),
        ("task.directionReferenceFrame", "B1950", "'B1950' is invalid; allowed: J2000 or HADEC"),
    ],
)
def test_a_wrong_value_names_file_line_and_key(key: str, value: str, what: str) -> None:
    entries = {**TELESCOPE, key: value}
    (problem,) = problems_of(entries)
    assert problem.startswith(f"t:{list(entries).index(key) + 1}: {key}: ")
    assert what in problem


def test_relative_paths_need_a_master_dir() -> None:
    (problem, *_) = problems_of({**PLAIN, "ARTSSurveyControl.amber_config": "amber.conf"})
    assert (
        "ARTSSurveyControl.amber_config: 'amber.conf' is invalid; allowed: an absolute" in problem
    )


def test_an_empty_value_is_none() -> None:
    assert worker_of(make({"arts.survey.snr_threshold": ""}), 0).snrmin is None
    assert problems_of({**PLAIN, "task.taskID": ""})[0].startswith("t: task.taskID: missing")


@given(st.dictionaries(st.sampled_from([*TELESCOPE, "x"]), st.text(), max_size=4))
def test_anything_is_taken_or_refused_with_a_reason(changes: dict[str, str]) -> None:
    try:
        made = make(changes)
    except ObservationError as error:
        assert error.problems  # noqa: PT017 - some changes do no harm
    else:
        assert worker_of(made, made.beams[0]).datetimesource == made.datetimesource
