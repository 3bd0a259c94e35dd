"""Injected bursts: told from others by a list, and nothing of them leaves but notices of such."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from nodes import wait_for
from test_alerts_of_a_service import Kept as KeptGenerator
from test_alerts_of_a_service import recent, service
from test_amber_clustering import DiedError, decide_while_nothing_comes, entry, observation
from test_amber_clustering import Kept as KeptClustering
from test_amber_clustering import service as clustering
from triggers import made_trigger

from darc.candidates import injections as injections_module
from darc.candidates.injections import (
    LISTED,
    Injection,
    InjectionFile,
    Injections,
    injections_of,
    packages_of,
    parse_injections,
)
from darc.config.instrument import Instrument
from darc.config.source_settings import SourceSettings
from darc.model.candidate import CANDIDATE
from darc.model.event import RoadState, Tense
from darc.model.observation import Observation
from darc.model.trigger import Trigger
from darc.node.node_config import load_config
from darc.queues.messages import ContentKind, QueueEntry
from darc.queues.plain_connection import pack, unpack
from darc.science.same_burst import Scales, of_brighter
from darc.services.base.alerts import PULSES
from darc.services.base.known_pulses import KnownPulses
from darc.services.dada_trigger.service import DADATrigger
from darc.services.lofar_trigger.service import LOFARTrigger
from darc.trigger_files.candidate_source import SourceContext
from simulator.bursts import AmberSearch, Burst, detections

__all__ = ["clustering", "observation", "service"]

SEARCH = AmberSearch()
SCALES = Scales.of_band(SEARCH.tsamp, 1219.7, 1519.5)


def listed(directory: Path, *lines: str, name: str = "injections.txt") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


# -- the list ------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e5), st.floats(0, 1e4), st.floats(1, 1e4), st.floats(0.01, 1e3)
        ).map(lambda values: Injection(*values))
    )
)
def test_what_is_listed_is_read_again(injections: list[Injection]) -> None:
    text = "".join(
        f"{one.time!r} {one.dm!r} {one.snr!r} {one.width!r}  # x\n" for one in injections
    )
    assert parse_injections(text, "file") == (injections, [])


@given(st.text())
def test_no_text_ends_it(text: str) -> None:
    parse_injections(text, "file")


def test_a_line_that_is_none_is_named_and_the_others_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darc.candidates.injections.STILL_SECONDS", 3600.0)
    path = listed(tmp_path, "1.5 300 20 1", "2.5 300 20", "3.5 x 20 1", "# 4.5", "4.5 1 nan 1", "")
    file = InjectionFile(path)
    found, problems = file.read()
    assert [one.time for one in found] == [1.5]
    assert [problem.split(": ")[0] for problem in problems] == [f"{path}:{n}" for n in (2, 3, 5)]
    assert "allowed: time (s since the start), DM (pc cm-3)" in problems[0]
    assert file.read() == ([], [])
    with path.open("a") as more:
        more.write("5.5 300 20 1\n6.5 300")  # the last one is being written
    found, problems = file.read()
    assert [one.time for one in found] == [5.5]
    assert problems == []  # said once


def test_what_was_listed_stays_whatever_becomes_of_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = listed(tmp_path, "1.5 300 20 1", "2.5 300 20 1")
    file = InjectionFile(path)
    assert len(file.read()[0]) == 2
    listed(tmp_path, "2.5 300 20 1")
    assert file.read() == ([], [])
    path.unlink()
    for _ in range(2):
        assert file.read() == ([], [])
    assert [one.time for one in file.known] == [1.5, 2.5]
    assert [message.split("/")[-1] for message in caplog.messages] == [
        "injections.txt does not list 1 injections any more: they remain injections",
        "injections.txt is gone: the 2 injections that it listed remain injections",
    ]
    listed(tmp_path, "2.5 300 20 1", "3.5 300 20 1")
    assert [one.time for one in file.read()[0]] == [3.5]


def test_a_last_line_without_an_end_is_read_once_nobody_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "injections.txt"
    path.write_text("1.5 300 20 1\n2.5 300 20 1")
    file = InjectionFile(path)
    monkeypatch.setattr("darc.candidates.injections.STILL_SECONDS", 3600.0)
    assert [one.time for one in file.read()[0]] == [1.5]
    assert file.read() == ([], [])
    monkeypatch.setattr("darc.candidates.injections.STILL_SECONDS", 0.0)
    assert [one.time for one in file.read()[0]] == [2.5]


def test_a_long_list_comes_in_packages_and_is_remembered_by_them(observation: Observation) -> None:
    night = [Injection(float(number), 1000.0, 20.0, 1.0) for number in range(25_000)]
    packages = [unpack(pack(plain)) for plain in packages_of(night)]
    assert len(packages) == 3
    first = Injections.of(observation, {})
    memory: dict[str, Any] = {}
    for plain in (packages[0], *packages):  # one of them twice
        memory |= first.add(injections_of(plain))
    assert len(memory) == 3
    again = Injections.of(observation, unpack(pack(memory)))
    assert list(again.listed) == night
    assert again.add(night) == {}


@pytest.mark.parametrize(
    "plain", [None, {}, {LISTED: 3}, {LISTED: [3]}, {LISTED: [[1.0]]}, {LISTED: [["a", 1, 1, 1]]}]
)
def test_what_lists_no_injections_is_refused(plain: Any) -> None:
    with pytest.raises(ValueError, match="injection"):
        injections_of(plain)


@pytest.mark.parametrize("width", [1e3, 1e9, 1e10])
def test_a_width_in_another_unit_ends_no_service(width: float) -> None:
    found = Injections(SCALES, {Injection(1.5, 300.0, 20.0, width): None})
    records = np.array([(0, 12, 1.5, 300.0, 20.0)], CANDIDATE)
    assert found.mask(records).tolist() == [False]


def file_of(observation: Observation, instrument: Instrument, name: str | None) -> InjectionFile:
    return InjectionFile.of(SourceContext.of(observation, instrument), name)


def test_the_list_is_beside_the_trigger_files_of_any_source(
    tmp_path: Path, observation: Observation
) -> None:
    """Also where the configuration, and not the parset, says where they are."""
    instrument = load_config(None).instrument
    heimdall = replace(instrument, candidate_source="heimdall")
    elsewhere = replace(heimdall, source=SourceSettings(directory=f"{tmp_path}/{{date}}"))
    both = replace(observation, candidate_dir="/candidates")
    neither = replace(observation, amber_dir="", candidate_dir="")
    for one, at, directory in [
        (observation, instrument, observation.amber_dir),
        (both, instrument, observation.amber_dir),
        (both, heimdall, "/candidates"),
        (both, elsewhere, f"{tmp_path}/{observation.date}"),
    ]:
        assert file_of(one, at, "list.txt").path == Path(directory, "list.txt")
    assert file_of(neither, elsewhere, "list.txt").path is not None
    for at in (instrument, heimdall):
        assert file_of(neither, at, "list.txt").path is None
    assert file_of(both, elsewhere, None).path is None


def test_a_pipe_in_its_place_holds_up_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "injections.txt")
    found, (problem,) = InjectionFile(tmp_path / "injections.txt").read()
    assert found == []
    assert "a pipe" in problem


def test_all_that_a_search_finds_of_an_injection_is_of_it_and_nothing_of_other_bursts() -> None:
    """With the search's own model of a burst at other DMs, widths and beams as the oracle."""
    bursts = [
        Burst(time_s=2.0 + 2.5 * n, dm=dm, width_samples=width, snr=snr, beam=n)
        for n, (dm, width, snr) in enumerate(
            [(400.0, 5, 15.0), (400.0, 50, 40.0), (900.0, 10, 60.0), (2000.0, 200, 25.0)]
        )
    ]
    for which in bursts:
        found, truth = [], []
        for one in bursts:
            rows = [
                (line.beam, line.step, line.time(SEARCH), line.dm, line.snr)
                for grid in SEARCH.grids
                for line in detections(one, grid, SEARCH, 14.0)
            ]
            assert len(rows) >= 3
            found += rows
            truth += [one is which] * len(rows)
        records = np.array(found, CANDIDATE)
        width = which.width_samples * SEARCH.tsamp * 1e3
        of = Injections(SCALES, {Injection(which.time_s, which.dm, which.snr, width): None})
        assert of.mask(records).tolist() == truth


@given(
    st.lists(
        st.tuples(st.floats(0, 60), st.floats(0, 3000), st.floats(10, 1e5), st.floats(0.1, 1e4)),
        min_size=1,
        max_size=20,
    ),
    st.lists(
        st.tuples(
            st.just(0),
            st.integers(1, 10000),
            st.floats(0, 60),
            st.floats(0, 3000),
            st.floats(1, 99),
        ),
        min_size=1,
        max_size=20,
    ),
)
def test_an_injection_far_away_in_time_is_left_out_of_nothing(
    injections: list[tuple[float, ...]], candidates: list[tuple[Any, ...]]
) -> None:
    """What is compared is limited in time, by what the comparison itself may find."""
    found = Injections(SCALES, dict.fromkeys(Injection(*one) for one in injections))
    records = np.array(candidates, CANDIDATE)
    unlimited = Injections(SCALES, found.listed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(injections_module, "of_brighter", without_limit)
        expected = unlimited.mask(records)
    assert found.mask(records).tolist() == expected.tolist()


def without_limit(faint: Any, bright: Any, scales: Scales, reach: float) -> Any:
    return of_brighter(faint, bright, scales, math.inf)


def test_a_list_of_a_night_does_not_hold_up_a_window() -> None:
    night = [Injection(10.0 * number, 1000.0, 20.0, 1.0) for number in range(3600)]
    records = np.zeros(2000, CANDIDATE)
    records["time"] = np.linspace(18000, 18001, len(records))
    records["dm"], records["snr"], records["downsampling"] = 1000.0, 20.0, 10
    listed = Injections(SCALES, dict.fromkeys(night))
    assert 0 < listed.mask(records).sum() < 100

    def cost() -> float:
        """Processor time of the quickest of some (s)."""
        times = []
        for _ in range(5):
            began = time.thread_time()
            listed.mask(records)
            times.append(time.thread_time() - began)
        return min(times)

    limited = cost()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(injections_module, "of_brighter", without_limit)
        assert limited < cost() / 3


def listing(number: int, *lines: str) -> QueueEntry:
    """An entry in which amber_listener hands on what a list says."""
    (plain,) = packages_of(parse_injections("\n".join(lines), "list")[0])
    return QueueEntry(number, ContentKind.PLAIN, pack(plain), "clu1", 0.0, 0.0)


# -- triggers ------------------------------------------------------------------------------------


def test_an_injected_burst_leads_to_a_trigger_of_an_injection_alone(
    clustering: Any, observation: Observation, caplog: pytest.LogCaptureFixture
) -> None:
    one: KeptClustering = clustering(thresh_iquv={"interval": 0})
    one.start_observation(observation, {})
    one.process(listing(10, "5.1 700 30 0.8"), observation)
    one.process(entry(1, 100.0, 5.1, 9.1), observation)
    one.process(entry(2, 101.0), observation)
    assert [trigger.window for trigger in one.sent("dada_trigger")] == [9]
    assert [trigger.window for trigger in one.sent("lofar_trigger")] == [9]
    real, injected = sorted(one.sent("voevent_generator"), key=lambda trigger: -trigger.window)
    assert (real.window, real.injection, real.test) == (9, False, None)
    assert (injected.window, injected.injection, injected.test) == (5, True, True)
    counts = one.memory["counts"]
    assert (counts["injection_triggers"], counts["rejected_injected"]) == (1, 1)
    # Were it another burst, a person could see it.
    told = [line for line in caplog.messages if line.startswith("of an injection: ")]
    assert told == [
        "of an injection: 1 candidates; the brightest: S/N 30.0, DM 700.00, 5.100000 s,"
        " width 10 samples, beam 0"
    ]
    # The window opens again in another process: it leaves once.
    again: KeptClustering = clustering(thresh_iquv={"interval": 0})
    again.start_observation(observation, one.memory)
    again.process(entry(3, 102.0, 5.1005), observation)
    again.process(entry(4, 103.0), observation)
    assert again.sent("voevent_generator") == again.sent("dada_trigger") == []


def test_a_list_that_comes_after_it_was_decided_and_before_it_leaves_is_heeded(
    clustering: Any, observation: Observation
) -> None:
    one: KeptClustering = clustering(settle=0.01, interval=1.0)
    one.start_observation(observation, {})
    one.process(entry(1, 100.0, 5.1), observation)
    decide_while_nothing_comes(one)
    one.process(listing(10, "5.1 700 30 0.8"), observation)
    one.process(entry(2, 100.1), observation)
    assert one.sent("dada_trigger") == one.sent("lofar_trigger") == []
    assert [trigger.injection for trigger in one.sent("voevent_generator")] == [True]


def test_an_injection_hides_no_burst_of_its_window(
    clustering: Any, observation: Observation
) -> None:
    one: KeptClustering = clustering(thresh_iquv={"interval": 0})
    one.start_observation(observation, {})
    one.process(listing(10, "5.1 700 60 0.8"), observation)
    one.process(entry(1, 100.0, 5.1, snr=60.0), observation)
    one.process(entry(2, 101.0, 5.6, snr=30.0), observation)  # of the same DM bin
    one.process(entry(3, 102.0), observation)
    (dump,), (freeze,) = one.sent("dada_trigger"), one.sent("lofar_trigger")
    assert (dump.tarr, freeze.tarr) == (5.6, 5.6)
    assert [trigger.tarr for trigger in one.sent("voevent_generator") if trigger.injection] == [5.1]


@pytest.mark.parametrize("dies_after", range(1, 5))
def test_an_injection_is_one_whoever_dies_and_whatever_becomes_of_its_file(
    clustering: Any, observation: Observation, dies_after: int
) -> None:
    """Between the list and the decision, too: nothing reads the file again."""
    entries = [listing(1, "5.1 700 30 0.8"), entry(2, 100.0, 5.1, 5.1005), entry(3, 101.0)]
    assert not Path(observation.amber_dir, "injections.txt").exists()
    dying: KeptClustering = clustering(thresh_iquv={"interval": 0})
    dying.dies_after = dies_after
    with contextlib.suppress(DiedError):
        dying.start_observation(observation, {})
        for each in entries:
            dying.process(each, observation)
    again: KeptClustering = clustering(thresh_iquv={"interval": 0})
    again.start_observation(observation, dying.memory)
    for each in entries:
        if each.id not in dying.completed:
            again.process(each, observation)
    both = dying, again
    assert [trigger for one in both for trigger in one.sent("dada_trigger")] == []
    left = [trigger for one in both for trigger in one.sent("voevent_generator")]
    assert [trigger.injection for trigger in left] == [True]


def test_without_the_flag_a_trigger_is_as_versions_before_know_it() -> None:
    plain = made_trigger().to_plain()
    assert "injection" not in plain
    assert Trigger.from_plain(plain).injection is False
    injected = made_trigger(injection=True)
    assert Trigger.from_plain(injected.to_plain()) == injected


@pytest.mark.parametrize("kind", [DADATrigger, LOFARTrigger])
def test_neither_dump_nor_freeze_of_an_injection(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({kind.name: {}}))  # type: ignore[attr-defined]
    one = kind(load_config(path))
    both = made_trigger(injection=True), made_trigger(window=10)
    content = pack([trigger.to_plain() for trigger in both])
    found = one.take_triggers(QueueEntry(1, ContentKind.TRIGGERS, content, "", 0.0, 0.0))
    assert [trigger.window for trigger in found] == [10]
    assert one.outcomes == {"injection": 1}


def gather(one: KeptGenerator, *triggers: Trigger) -> None:
    """Let triggers come in one window, and wait until it is closed."""
    one.number += 1
    plain = pack([trigger.to_plain() for trigger in triggers])
    one.process(QueueEntry(one.number, ContentKind.TRIGGERS, plain, "", 0.0, 0.0), None)
    wait_for(lambda: one.idle() or one.number in one.completed)


# -- notices -------------------------------------------------------------------------------------


def test_of_an_injection_there_is_a_notice_where_tests_go_and_nothing_else(
    service: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, bytes]] = []
    trigger = recent(injection=True)
    known = KnownPulses(1.0)
    known.add(replace(trigger, injection=False), test=False)  # a burst of that moment
    one: KeptGenerator = service(
        {PULSES: known.to_plain()},
        roads=["vtp", "file", "webhook"],
        webhook={"url": "http://localhost/bursts", "test_url": "http://localhost/tests"},
        test=False,
    )
    monkeypatch.setattr(
        "darc.delivery.webhook.post_body", lambda url, body, timeout: sent.append((url, body))
    )
    gather(one, trigger)
    (event,) = one.book
    assert event.tense is Tense.INJECTION
    one.wait_for_state(event.id, 1, RoadState.ACKNOWLEDGED, "webhook")
    assert list(event.first.roads) == ["webhook"]
    one.put(one.finding(trigger, snr=90.0))
    one.wait_for_state(event.id, 2, RoadState.ACKNOWLEDGED, "webhook")
    assert {url for url, _ in sent} == {"http://localhost/tests"}
    notices = [json.loads(body) for _, body in sent]
    assert {notice["alert_tense"] for notice in notices} == {"injection"}
    assert [notice["alert_type"] for notice in notices] == ["initial", "update"]
    left = [path for name in ("voevents", "notices") for path in (tmp_path / name).glob("*")]
    assert left == []


def test_a_burst_at_the_moment_of_an_injection_is_announced(service: Any) -> None:
    one: KeptGenerator = service(test=True)  # of a node whose bursts are tests
    injected = recent(injection=True, test=True)
    burst = replace(injected, injection=False, test=None, window=5)
    gather(one, injected, burst)
    assert [event.tense for event in one.book] == [Tense.TEST, Tense.INJECTION]
    again = replace(injected, window=6)
    gather(one, again)
    assert len(one.book) == 2
    assert one.outcomes["announced_before"] == 1
