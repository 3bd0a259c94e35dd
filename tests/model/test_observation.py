"""Observations: made from parsets, checked, written and read again."""

from __future__ import annotations

import bz2
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from default_config import CONFIG
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from darc.config.instrument import Instrument
from darc.model.observation import Observation, ObservationError, Pointing
from darc.model.observation_build import build_observation
from darc.model.parset import parse_parset
from darc.node.read_observation import UnknownConfigType, read_observation

DATA = Path(__file__).parents[3] / "shared" / "data" / "observation"
needs_data = pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is not here")

WORKER = {
    "taskid": "190518009",
    "datetimesource": "2019-05-18-23:51:13.B1933+16",
    "startpacket": "1217362088000000",
    "duration": "299.008",
    "beam": "0",
    "amber_dir": "/data/amber",
    "amber_config": "amber.conf",
    "output_dir": "/data",
}
TELESCOPE = """task.taskID = 42
task.source.name = B1933+16_pol
task.source.beam = 3
task.directionReferenceFrame = HADEC
task.telescopes = [RT2, RT3]
task.beamSet.0.compoundBeams = [0..3]
task.beamSet.0.compoundBeam.10.phaseCenter = [-3.5deg, +0.0   deg]
task.beamSet.0.compoundBeam.2.phaseCenter = [293.9deg, 16.3deg]
"""
AMBER = "opencl_device=[1, 2, 3]\n"

ARTS = CONFIG.instrument


def text_of(entries: dict[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in entries.items())


def with_telescope(text: str) -> dict[str, str]:
    return {"parset": bz2.compress(text.encode()).hex()}


def build(
    changes: dict[str, str] | None = None,
    master: dict[str, str] | None = None,
    without: tuple[str, ...] = (),
    amber: str | None = AMBER,
    instrument: Instrument = ARTS,
) -> Observation:
    entries = {**WORKER, **(changes or {})}
    for key in without:
        del entries[key]
    parsed = None if master is None else parse_parset(text_of(master), "m")
    return build_observation(parse_parset(text_of(entries), "w"), parsed, amber, instrument)


def test_a_worker_with_what_it_needs() -> None:
    observation = build()
    assert observation.start == 1558223472.64
    assert observation.end == pytest.approx(1558223771.648, abs=1e-6)
    assert observation.utc_start == "2019-05-18-23:51:13"
    assert observation.date == "20190518"
    assert observation.source == "B1933+16"
    assert observation.trigger_files() == [
        f"/data/amber/CB00_step{step}.trigger" for step in (1, 2, 3)
    ]
    assert observation.beams == (0,)
    assert observation.proctrigger is observation.enable_iquv is True
    assert (observation.nchan, observation.bandwidth, observation.tsamp) == (1536, 300, 81.92e-6)
    assert (observation.ntabs, observation.nsynbeams, observation.n_dishes) == (12, 71, 8)
    assert observation.searched_in_sbs
    assert observation.pointings == ()
    assert observation.pointing(0) is None
    assert observation.reference_frame == "J2000"
    assert observation.source_beam is observation.event_port_i is observation.snrmin is None
    assert observation.f_centre == ARTS.f_centre
    assert (observation.f_low, observation.f_high) == (ARTS.f_low, ARTS.f_high)
    assert observation.config_file == "w"


def test_the_parsets_values_win_over_the_instruments() -> None:
    observation = build(
        {
            **{"min_freq": "1250", "bw": "200", "nchan": "100", "tsamp": "1e-3", "ntabs": "1"},
            **{"nsynbeams": "1", "snrmin": "8", "science_case": "3", "enable_iquv": "False"},
            **{"proctrigger": "False", "utc_start": "2019-05-18-23:51:14"},
            **{"network_port_event_i": "30000", "network_port_event_iquv": "30001"},
            **{"master_dir": "/m", "amber_conf_dir": "/c", "date": "20190519"},
        }
    )
    assert (observation.f_low, observation.f_high, observation.f_centre) == (1249, 1449, 1349)
    assert (observation.tsamp, observation.ntabs, observation.snrmin) == (1e-3, 1, 8.0)
    assert not observation.searched_in_sbs
    assert not observation.enable_iquv
    assert not observation.proctrigger
    assert (observation.event_port_i, observation.event_port_iquv) == (30000, 30001)
    assert (observation.master_dir, observation.amber_conf_dir) == ("/m", "/c")
    assert (observation.utc_start, observation.date) == ("2019-05-18-23:51:14", "20190519")
    assert observation.science_case == 3


def test_the_telescopes_parset() -> None:
    for observation in (
        build(with_telescope(TELESCOPE), without=("taskid",)),
        build(master=with_telescope(TELESCOPE), without=("taskid",)),
    ):
        assert observation.task_id == "42"
        assert observation.source == "B1933+16_pol"
        assert observation.source_beam == 3
        assert observation.reference_frame == "HADEC"
        assert (observation.dishes, observation.n_dishes) == (("RT2", "RT3"), 2)
        assert observation.beams == (0, 1, 2, 3)
        assert observation.pointings == (Pointing(2, 293.9, 16.3), Pointing(10, -3.5, 0.0))
        assert observation.pointing(10) == Pointing(10, -3.5, 0.0)


def test_what_the_node_lacks_comes_from_the_master() -> None:
    master = {
        **{"beams": "[0, 1]", "tsamp": "1e-4", "bw": "250"},
        "utc_start": "2019-05-18-23:51:14",
    }
    observation = build({"bw": "200"}, master)
    assert observation.beams == (0, 1)
    assert observation.tsamp == 1e-4
    assert observation.bandwidth == 200
    assert observation.utc_start == "2019-05-18-23:51:14"


def test_the_beam_is_the_nodes_own() -> None:
    observation = build(master={"beam": "7"}, without=("beam", "amber_config"), amber=None)
    assert observation.beam is None
    assert observation.beams == tuple(range(40))
    assert observation.trigger_files() == []
    assert observation.amber_instances == 0


def test_an_empty_value_is_none() -> None:
    assert build({"tsamp": ""}, {"tsamp": "1e-4"}).tsamp == 1e-4


def test_all_missing_keys_are_named_at_once() -> None:
    with pytest.raises(ObservationError) as caught:
        build(without=tuple(key for key in WORKER if key != "beam"), amber=None)
    assert {problem.key for problem in caught.value.problems} == {
        *("taskid (or task.taskID)", "datetimesource", "startpacket", "duration"),
        *("amber_dir", "amber_config", "output_dir"),
    }
    assert all(problem.value is None and problem.file == "w" for problem in caught.value.problems)
    assert "w: duration: missing; allowed: seconds, above 0" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("duration", "-1"),
        ("duration", "0"),
        ("duration", "1e11"),
        ("duration", "8640001"),
        ("duration", "1e400"),
        ("duration", "9" * 5000),
        ("startpacket", "9" * 5000),
        ("startpacket", "0"),
        ("startpacket", "390625000000000"),  # 1985
        ("startpacket", "8600000000000000"),  # 2318
        ("datetimesource", "0001-01-01-00:00:00.FAKE"),
        ("datetimesource", "9999-12-31-23:59:59.FAKE"),
        ("utc_start", "2318-01-01-00:00:00"),
        ("tsamp", "1e-200"),
        ("tsamp", "11"),
        ("min_freq", "0.5"),
        ("min_freq", "1e300"),
        ("bw", "1e9"),
        ("bw", "9999999"),
        ("nchan", "1000001"),
        ("amber_dir", "a\0b"),
        ("output_dir", "x" * 5000),
        ("startpacket", "-5"),
        ("startpacket", "999999999999999999"),
        ("time_unit", "0"),
        ("beam", "40"),
        ("beam", "-1"),
        ("beams", "[0, 40]"),
        ("beams", "[]"),
        ("task.source.beam", "40"),
        ("task.beamSet.0.compoundBeam.40.phaseCenter", "[1deg, 2deg]"),
        ("task.beamSet.0.compoundBeam.4.phaseCenter", "[1deg, 91deg]"),
        ("task.beamSet.0.compoundBeam.4.phaseCenter", "[1deg]"),
        ("task.beamSet.0.compoundBeam.4.phaseCenter", "[nandeg, 2deg]"),
        ("task.directionReferenceFrame", "B1950"),
        ("task.telescopes", "RT2"),
        ("task.source.name", "../x"),
        ("datetimesource", "2019-05-18-23:51:13.a/../../b"),
        ("datetimesource", "2019-05-18-23:51:13..."),
        ("datetimesource", "2019-05-18-23:51:13."),
        ("datetimesource", "2019-13-18-23:51:13.B1933+16"),
        ("datetimesource", "2019-05-18-23:51:13B1933+16"),
        ("datetimesource", "../../etc"),
        ("taskid", "../x"),
        ("taskid", "a b"),
        ("date", "../.."),
        ("date", "20191318"),
        ("utc_start", "2019-05-18 23:51:13"),
        ("utc_start", "2019-05-18-24:51:13"),
        ("nchan", "0"),
        ("nchan", "x"),
        ("tsamp", "nan"),
        ("tsamp", "-1"),
        ("bw", "0"),
        ("min_freq", "-3"),
        ("ntabs", "0"),
        ("nsynbeams", "0"),
        ("science_case", "four"),
        ("network_port_event_i", "0"),
        ("network_port_event_iquv", "65536"),
        ("parset", "zz"),
    ],
)
def test_a_wrong_value_names_file_line_and_key(key: str, value: str) -> None:
    with pytest.raises(ObservationError) as caught:
        build({"a": "b", key: value})
    (problem,) = [problem for problem in caught.value.problems if problem.key == key]
    assert (problem.file, problem.allowed != "") == ("w", True)
    assert problem.line == [*WORKER, "a", key].index(key) + 1


def test_a_wrong_value_in_the_telescopes_parset_names_where_it_is() -> None:
    text = TELESCOPE.replace("HADEC", "B1950")
    with pytest.raises(ObservationError, match=r"m:1 \(parset\):4: task.directionReferenceFrame"):
        build(master=with_telescope(text))


@pytest.mark.parametrize(
    ("amber", "message"),
    [
        (None, "w:7: amber_config: 'amber.conf' is invalid; allowed: a file that can be read"),
        ("x=1\n", "amber.conf: opencl_device: missing"),
        ("x=1\nopencl_device=[a]\n", "amber.conf:2: opencl_device: '[a]' is invalid"),
        ("opencl_device=[]", "amber.conf:1: opencl_device: '[]' is invalid"),
        ("opencl_device=", "amber.conf:1: opencl_device: '' is invalid"),
    ],
)
def test_ambers_configuration(amber: str | None, message: str) -> None:
    with pytest.raises(ObservationError) as caught:
        build(amber=amber)
    assert message in str(caught.value)
    assert build(amber="a=1\n opencl_device = [0, 0] # two").amber_instances == 2


def test_round_trip() -> None:
    for observation in (build(), build(with_telescope(TELESCOPE)), build(without=("beam",))):
        plain = observation.to_plain()
        assert Observation.from_plain(plain) == observation
        assert Observation.from_plain(json.loads(json.dumps(plain))) == observation


@pytest.mark.parametrize(
    "change",
    [
        {"beam": "0"},
        {"beam": True},
        {"beam": -1},
        {"start": "1"},
        {"start": float("nan")},
        {"duration": -1.0},
        {"proctrigger": 1},
        {"beams": 3},
        {"beams": [0, None]},
        {"dishes": "RT2"},
        {"pointings": [[0, 1.0, 2.0]]},
        {"pointings": [{"beam": 0, "longitude_deg": 1.0}]},
        {"reference_frame": "B1950"},
        {"task_id": None},
        {"extra": 1},
    ],
)
def test_from_plain_is_strict(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="observation: " + next(iter(change))):
        Observation.from_plain({**build().to_plain(), **change})


def test_from_plain_wants_every_key() -> None:
    plain = build().to_plain()
    del plain["beam"]
    with pytest.raises(ValueError, match="beam: missing"):
        Observation.from_plain(plain)


@given(st.integers(5 * 10**14, 5 * 10**15), st.floats(0.001, 1e5))
def test_times_survive(startpacket: int, duration: float) -> None:
    observation = build({"startpacket": str(startpacket), "duration": repr(duration)})
    assert observation.start == pytest.approx(startpacket / 781250, abs=1e-6)
    assert Observation.from_plain(json.loads(json.dumps(observation.to_plain()))) == observation


@given(st.dictionaries(st.sampled_from([*WORKER, "parset", "bw", "task.telescopes"]), st.text()))
def test_anything_is_taken_or_refused_with_a_reason(changes: dict[str, str]) -> None:
    try:
        observation = build(changes)
    except ObservationError as error:
        assert error.problems  # noqa: PT017 - some changes do no harm
    else:
        assert "/" not in observation.datetimesource
        assert "/" not in observation.task_id


class TestFiles:
    """Reading the files."""

    @pytest.fixture
    def write(self, tmp_path: Path) -> Callable[..., Path]:
        (tmp_path / "amber.conf").write_text(AMBER)
        (tmp_path / "parset").mkdir()

        def write(name: str, entries: dict[str, str] = WORKER) -> Path:
            path = tmp_path / name
            path.write_text(text_of(entries))
            return path

        return write

    def test_both_kinds_say_the_same(self, write: Callable[..., Path], tmp_path: Path) -> None:
        first = read_observation(write("w.parset"), ARTS)
        for name in ("w.yaml", "w.yml"):
            (tmp_path / name).write_text("".join(f"{k}: {v}\n" for k, v in WORKER.items()))
            second = read_observation(tmp_path / name, ARTS)
            assert replace(second, config_file=first.config_file) == first

    def test_files_that_are_none(self, write: Callable[..., Path], tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            read_observation(tmp_path / "none.parset", ARTS)
        with pytest.raises(UnknownConfigType):
            read_observation(write("w.txt"), ARTS)
        (tmp_path / "w.parset").write_bytes(b"a=b\n\xff")
        with pytest.raises(ObservationError, match=r"w.parset:2: file: not UTF-8"):
            read_observation(tmp_path / "w.parset", ARTS)
        (tmp_path / "w.parset").write_bytes(b"\n" * (16 * 2**20 + 1))
        with pytest.raises(ObservationError, match="too large"):
            read_observation(tmp_path / "w.parset", ARTS)

    def test_ambers_configuration_must_be_there(self, write: Callable[..., Path]) -> None:
        path = write("w.parset", {**WORKER, "amber_config": "/none/amber.conf"})
        with pytest.raises(ObservationError, match=r"w.parset:7: amber_config: '/none/amber.conf'"):
            read_observation(path, ARTS)

    def test_the_masters_parset(
        self, write: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = write("w.parset", {**WORKER, "master_dir": str(tmp_path)})
        assert read_observation(path, ARTS).dishes == ()
        same = {"datetimesource": WORKER["datetimesource"]}
        write("parset/darc_master.parset", with_telescope(TELESCOPE) | same)
        assert read_observation(path, ARTS).dishes == ("RT2", "RT3")
        other = {"datetimesource": "2019-05-18-22:51:13.B1933+16"}
        write("parset/darc_master.parset", with_telescope(TELESCOPE) | other)
        assert read_observation(path, ARTS).dishes == ()
        assert "is not used: it describes 2019-05-18-22:51:13.B1933+16" in caplog.text

    @needs_data
    def test_the_samples(self, tmp_path: Path) -> None:
        (tmp_path / "parset").mkdir()
        shutil.copy(DATA / "darc_master.parset", tmp_path / "parset")
        text = (DATA / "darc_CB00.parset").read_text()
        text = text.replace("/home/arts/.controller/amber.conf", str(DATA / "amber.conf"))
        text = text.replace("master_dir=/home/arts/.controller", f"master_dir={tmp_path}")
        (tmp_path / "darc_CB00.parset").write_text(text)
        worker = read_observation(tmp_path / "darc_CB00.parset", ARTS)
        master = read_observation(DATA / "darc_master.parset", ARTS)
        for observation in (worker, master):
            assert observation.task_id == "190518009"
            assert observation.source == "B1933+16"
            assert observation.source_beam == 0
            assert observation.n_dishes == 8
            assert observation.beams == tuple(range(40))
            assert observation.pointing(1) == Pointing(1, 292.37258, 15.259014)
            assert observation.utc_start == "2019-05-18-23:51:13"
            assert observation.science_case == 4
            assert Observation.from_plain(observation.to_plain()) == observation
        assert (worker.beam, master.beam) == (0, None)
        assert worker.amber_instances == 3


# -- without a parset of a telescope ---------------------------------------------------------


HEIMDALL = replace(ARTS, candidate_source="heimdall")
FEW = {
    "taskid": "h1",
    "task.source.name": "J0000+00",
    "start": "2026-05-18T23:51:13.5",
    "duration": "300",
    "beam": "0",
    "candidate_dir": "/data/heimdall",
    "output_dir": "/data/h1",
}


def few(**changes: str) -> Observation:
    text = text_of({**FEW, **changes})
    return build_observation(parse_parset(text, "w"), None, None, HEIMDALL)


@pytest.mark.parametrize(
    "start",
    [
        "2026-05-18T23:51:13.5",
        "2026-05-18 23:51:13.5",
        "2026-05-18-23:51:13.5",
        "2026-05-18T23:51:13.500Z",
        "1779148273.5",
    ],
)
def test_few_keys_are_enough_for_another_search_engine(start: str) -> None:
    observation = few(start=start)
    assert observation.start == 1779148273.5
    assert observation.datetimesource == "2026-05-18-23:51:13.J0000+00"
    assert (observation.date, observation.utc_start) == ("20260518", "2026-05-18-23:51:13")
    assert (observation.amber_dir, observation.candidate_dir) == ("", "/data/heimdall")
    assert observation.trigger_files() == []
    assert Observation.from_plain(observation.to_plain()) == observation


@pytest.mark.parametrize("start", ["yesterday", "2026-13-01T00:00:00", "1e99", "nan", "1"])
def test_a_start_that_is_no_time_is_named(start: str) -> None:
    with pytest.raises(ObservationError) as caught:
        few(start=start)
    assert f"w:3: start: {start!r} is invalid" in str(caught.value)


def test_a_missing_directory_of_candidates_is_named() -> None:
    with pytest.raises(ObservationError) as caught:
        build_observation(
            parse_parset(text_of({key: FEW[key] for key in FEW if key != "candidate_dir"}), "w"),
            None,
            None,
            HEIMDALL,
        )
    (problem,) = caught.value.problems
    assert (problem.key, problem.value) == ("candidate_dir", None)
    assert "instrument.source.directory" in problem.allowed
