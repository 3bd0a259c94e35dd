"""amber_clustering between entries and commits: what it remembers, and what it is told."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct, field
from msgspec.structs import replace

from darc.config.config import Config
from darc.model.candidate import CANDIDATE, records_to_bytes
from darc.model.observation import Observation, Pointing
from darc.model.trigger import Trigger
from darc.node.node_config import load_config
from darc.node.read_observation import read_observation
from darc.queues.messages import Commit, ContentKind, Order, OrderState, QueueEntry
from darc.queues.plain_connection import pack, unpack
from darc.runtime.paths import packaged
from darc.services.amber_clustering.service import AMBERClustering
from darc.services.base.service import LOOP_SECONDS
from simulator.write_parsets import write_observation

START = 1_700_000_000.0


class DiedError(Exception):
    pass


class Kept(AMBERClustering):
    """Its commits are kept here, as the journal would; it dies at the one that it is told."""

    def prepare(self) -> None:
        super().prepare()
        self.commits: list[Commit] = []
        self.dies_before = self.dies_after = 0

    def commit(self, commit: Commit) -> None:
        number = len(self.commits) + 1
        if number == self.dies_before:
            raise DiedError
        self.commits.append(Commit.from_plain(unpack(pack(commit.to_plain()))))
        if number == self.dies_after:
            raise DiedError

    @property
    def memory(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for commit in self.commits:
            found |= {key: unpack(pack(value)) for key, value in commit.memory.items()}
        return found

    @property
    def completed(self) -> list[int]:
        return [number for commit in self.commits for number in commit.completed]

    def sent(self, queue: str) -> list[Trigger]:
        return [
            Trigger.from_plain(plain)
            for commit in self.commits
            for put in commit.puts
            if queue in put.queues and put.kind is ContentKind.TRIGGERS
            for plain in unpack(put.content)
        ]


@pytest.fixture
def service(tmp_path: Path) -> Callable[..., Kept]:
    def make(**rules: Any) -> Kept:
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({"amber_clustering": rules}))
        return Kept(load_config(path))

    return make


@pytest.fixture
def observation(tmp_path: Path, service: Callable[..., Kept]) -> Observation:
    made = write_observation(
        tmp_path / "observation",
        task_id="clu1",
        source="R1",
        start=START,
        duration=600.0,
        pointing=(192.86, 27.13),
    )
    return read_observation(made.parset, service().config.instrument)


def entry(
    number: int, watermark: float, *times: float, snr: float = 30.0, dm: float = 700.0
) -> QueueEntry:
    found = np.zeros(len(times), CANDIDATE)
    found["time"], found["snr"], found["dm"], found["downsampling"] = times, snr, dm, 10
    return QueueEntry(
        number, ContentKind.CANDIDATES, records_to_bytes(found), "clu1", watermark, watermark
    )


def test_late_lines_do_not_send_a_trigger_twice_not_even_after_a_death(service, observation):
    first = service(thresh_iquv={"interval": 0})
    first.start_observation(observation, {})
    for one in (entry(1, 100.0, 5.1), entry(2, 101.0)):
        first.process(one, observation)
    assert [trigger.identity for trigger in first.sent("lofar_trigger")] == ["clu1/5/7"]
    again = service(thresh_iquv={"interval": 0})
    again.start_observation(observation, first.memory)
    for one in (entry(3, 102.0, 5.2, snr=60.0), entry(4, 103.0)):
        again.process(one, observation)
    assert again.sent("dada_trigger") == again.sent("lofar_trigger") == []
    counts = again.memory["counts"]
    assert counts["windows"] == counts["candidates"] == 2
    assert (counts["iquv_triggers_repeated"], counts["lofar_triggers_repeated"]) == (1, 1)


def test_one_dump_a_minute_of_data_time_not_even_after_a_death(service, observation):
    first = service()
    first.start_observation(observation, {})
    for one in (entry(1, 100.0, 5.1, 6.1), entry(2, 101.0)):
        first.process(one, observation)
    assert [trigger.window for trigger in first.sent("dada_trigger")] == [5]
    again = service()
    again.start_observation(observation, first.memory)
    for one in (entry(3, 102.0, 64.9), entry(4, 103.0), entry(5, 104.0, 65.0), entry(6, 105.0)):
        again.process(one, observation)
    assert [trigger.window for trigger in again.sent("dada_trigger")] == [65]
    assert again.memory["counts"]["iquv_triggers_held_back"] == 2
    assert [trigger.window for trigger in again.sent("lofar_trigger")] == [64, 65]


def test_outputs_and_the_entries_they_come_from_are_one_commit(service, observation):
    one = service()
    one.start_observation(observation, {})
    begun = len(one.commits)
    one.process(entry(1, 100.0, 5.1), observation)
    assert len(one.commits) == begun
    one.process(entry(2, 101.0), observation)
    (commit,) = one.commits[begun:]
    assert sorted(commit.completed) == [1, 2]
    assert len(commit.puts) == 2
    assert "window 5" in commit.memory


def test_an_entry_that_is_none_is_completed_and_counted(service, observation):
    one = service()
    one.start_observation(observation, {})
    one.process(replace(entry(1, 100.0, 5.1), content=b"rubbish"), observation)
    one.process(replace(entry(2, 100.0, 5.1), kind=ContentKind.PLAIN), observation)
    assert one.bad_entries == 2
    assert one.completed == [1, 2]
    one.process(replace(entry(3, 100.0, 5.1), observation="other"), None)
    assert one.completed == [1, 2, 3]


def test_an_abort_leaves_nothing_on_the_queue(service, observation):
    one = service()
    one.start_observation(observation, {})
    for what in (entry(1, 100.0, 5.1), entry(2, 101.0), entry(3, 101.1, 6.1), entry(4, 0.0, 7.1)):
        one.process(what, observation)
    one.abort_observation(observation)
    assert sorted(one.completed) == [1, 2, 3, 4]
    begun = len(one.commits)
    one.abort_observation(observation)
    assert len(one.commits) == begun


@pytest.mark.parametrize("name", ["R1", "FRB 121102", "FRB20121102A"])
def test_an_override_finds_a_source_by_any_of_its_names(service, observation, name):
    one = service(lofar_trigger_sources=[name], thresh_lofar_override={"cb": None})
    one.start_observation(observation, {})
    one.process(entry(1, 100.0, 5.1, snr=11.0, dm=557.0), observation)
    one.process(entry(2, 101.0), observation)
    assert [trigger.src_name for trigger in one.sent("lofar_trigger")] == ["FRB 121102"]


@pytest.mark.parametrize("broken", ["source_file", "galaxy_map"])
def test_a_broken_file_is_named_and_work_goes_on(service, observation, tmp_path, caplog, broken):
    path = tmp_path / "broken"
    path.write_bytes(b"\xff: [")
    one = service(**{broken: str(path)})
    with caplog.at_level(logging.ERROR):
        one.start_observation(observation, {})
    assert len(caplog.records) == 1
    assert str(path) in caplog.text
    one.process(entry(1, 100.0, 5.1, dm=1700.0), observation)
    one.process(entry(2, 101.0), observation)
    assert len(one.sent("dada_trigger")) == 1
    # Without the Milky Way's DM a new source triggers no LOFAR; without a source list it does.
    assert len(one.sent("voevent_generator")) == (broken == "source_file")


def test_hour_angles_become_right_ascensions_at_mid_observation(service, observation):
    """By the almanac's formulae: sidereal time at the site, and precession since 2000."""
    hour_angle, declination = 10.0, 40.0
    hadec = replace(
        observation,
        reference_frame="HADEC",
        pointings=(Pointing(0, hour_angle, declination),),
    )
    field = service().field_of(hadec)
    days = (START + 300.0) / 86400 + 40587 - 51544.5
    longitude = math.degrees(math.atan2(443593.39226634375, 3828630.63486200943))
    sidereal = 280.46061837 + 360.98564736629 * days + longitude
    ra, dec = math.radians(sidereal - hour_angle), math.radians(declination)
    years = days / 365.25
    moved = (3.07496 + 1.33621 * math.sin(ra) * math.tan(dec)) * 15 / 3600 * years
    expected = (math.degrees(ra) - moved) % 360
    assert field is not None
    assert field.ra == pytest.approx(expected, abs=0.03)
    assert field.dec == pytest.approx(declination - 20.0431 * math.cos(ra) / 3600 * years, abs=0.03)


def test_without_a_pointing_it_is_said_once(service, observation, caplog):
    one = service()
    with caplog.at_level(logging.WARNING):
        one.start_observation(replace(observation, pointings=()), {})
        for number in range(1, 6):
            one.process(entry(number, 100.0 + number, float(number), dm=1700.0), observation)
    assert [text for text in caplog.messages if "pointing" in text] == caplog.messages
    assert len(caplog.messages) == 1
    assert one.sent("lofar_trigger") == []


class StubLink:
    """A master that answers what it was told."""

    def __init__(self, memory: dict[str, Any]) -> None:
        self.memory = memory
        self.done: list[str] = []

    def recall(self, task_id: str) -> dict[str, Any]:
        return self.memory

    def finished(self, task_id: str) -> None:
        self.done.append(task_id)


def test_killed_between_its_last_commit_and_saying_so_it_says_so_again(service, observation):
    """The entry that ends the observation does not come twice."""
    first = service()
    first.queue_link = StubLink({})
    first.obey([Order(observation.to_plain(), OrderState.RUNNING)])
    first.process(entry(1, 100.0, 5.1), observation)
    first.process(replace(entry(2, 101.0), kind=ContentKind.END), observation)
    assert sorted(first.completed) == [1, 2]
    again = service()
    again.queue_link = StubLink(first.memory)
    again.obey([Order(observation.to_plain(), OrderState.STOPPED)])
    assert again.queue_link.done == first.queue_link.done == ["clu1"]
    assert again.observations == again.commits == []


def test_an_observation_keeps_the_settings_of_its_start(
    service, observation, monkeypatch, tmp_path
):
    """Whoever edits the configuration for the next observation, and whatever dies meanwhile."""
    config = tmp_path / "config.yaml"
    monkeypatch.setenv("DARC_CONFIG", str(config))
    first = service(clustering_window=2.0)
    first.queue_link = StubLink({})
    first.obey([Order(observation.to_plain(), OrderState.RUNNING, "run")])
    again = service(clustering_window=0.5)
    again.queue_link = StubLink(first.memory)
    again.obey([Order(observation.to_plain(), OrderState.RUNNING, "run")])
    assert again.settings.clustering_window == 2.0
    another = service(clustering_window=0.5)
    another.queue_link = StubLink({})
    another.obey([Order(observation.to_plain(), OrderState.RUNNING, "run")])
    assert another.settings.clustering_window == 0.5


def test_the_same_observation_started_again_is_another_one(service, observation):
    """Also for a service that has not seen how the first one ended, and has its entries still."""
    one = service()
    one.queue_link = StubLink({})
    first, second = (replace(observation, run=run) for run in ("1f", "2a"))
    one.obey([Order(first.to_plain(), OrderState.RUNNING)])
    one.process(replace(entry(1, 100.0, 5.1), observation=first.key), first)
    one.obey([Order(first.to_plain(), OrderState.ABORTED)])
    assert one.observations == []
    one.obey([Order(second.to_plain(), OrderState.RUNNING)])
    assert one.observations == ["clu1"]
    one.process(replace(entry(2, 101.0, 5.1, 6.1), observation=first.key), None)
    one.process(replace(entry(3, 102.0, 5.1), observation=second.key), second)
    end = QueueEntry(4, ContentKind.END, b"", first.key, 0.0, 0.0)
    one.process(end, None)
    one.process(replace(entry(5, 103.0), observation=second.key), second)
    assert one.observations == ["clu1"]
    assert one.counts["clu1"]["candidates"] == 1
    assert sorted(one.completed) == [1, 2, 3, 4, 5]


# -- windows that settle ---------------------------------------------------------------------

SETTLES_SOON = {"settle": 0.25, "interval": 1.0}


def test_a_trigger_leaves_when_its_window_has_settled(service, observation):
    one = service(**SETTLES_SOON)
    one.start_observation(observation, {})
    for given_entry in (entry(1, 100.0, 5.1), entry(2, 100.25)):
        one.process(given_entry, observation)
    assert [trigger.identity for trigger in one.sent("dada_trigger")] == ["clu1/5/7"]
    assert one.sent("dada_trigger")[0].stages.waited <= 0.25
    assert one.completed == []
    one.process(entry(3, 101.0), observation)
    assert len(one.sent("dada_trigger")) == len(one.sent("lofar_trigger")) == 1
    assert sorted(one.completed) == [1, 2, 3]
    counts = one.memory["counts"]
    assert counts["windows"] == counts["candidates"] == 1
    assert "iquv_triggers_repeated" not in counts


def decide_while_nothing_comes(one: Kept) -> None:
    """As the loop of a service does that gets no entry."""
    while (wait := one.patience()) < LOOP_SECONDS:
        time.sleep(max(0.0, wait))
        one.idle()


def test_it_is_decided_before_a_window_has_settled(service, observation):
    one = service(**SETTLES_SOON)
    one.start_observation(observation, {})
    one.process(entry(1, 100.0, 5.1), observation)
    assert 0.0 < one.patience() <= 0.125
    decide_while_nothing_comes(one)
    assert one.commits[-1].puts == () == one.commits[-1].completed
    one.process(entry(2, 100.25), observation)
    (trigger,) = one.sent("dada_trigger")
    assert trigger.stages.clustered == trigger.stages.closed
    assert one.patience() == LOOP_SECONDS


def test_what_comes_after_that_is_decided_about_too(service, observation):
    one = service(**SETTLES_SOON)
    one.start_observation(observation, {})
    one.process(entry(1, 100.0, 5.1, snr=30.0), observation)
    decide_while_nothing_comes(one)
    one.process(entry(2, 100.2, 5.1, snr=50.0), observation)
    one.process(entry(3, 100.45), observation)
    (trigger,) = one.sent("dada_trigger")
    assert (trigger.snr, trigger.count) == (50.0, 2)
    assert trigger.stages.clustered > trigger.stages.closed


def test_a_trigger_does_not_wait_for_the_decision_about_another_window(service, observation):
    clustering = service(thresh_iquv={"interval": 0})
    clustering.start_observation(observation, {})
    clustering.work(entry(1, 100.0, 5.1, 7.3), observation)
    before = len(clustering.commits)
    clustering.work(entry(2, 101.0), observation)
    first, second = clustering.commits[before : before + 2]
    assert [len(commit.puts) > 0 for commit in (first, second)] == [True, True]
    assert len(clustering.sent("dada_trigger")) == 2


def test_a_line_after_it_has_settled_is_decided_about_with_those_of_before(service, observation):
    """Alone, neither has the 10 beams that a signal of the sky is seen in."""
    one = service(**SETTLES_SOON, thresh_lofar={"snr_min": 40})
    one.start_observation(observation, {})
    for given_entry in (
        entry(1, 100.0, 5.1, snr=30.0),
        entry(2, 100.25),
        entry(3, 100.5, 5.1, snr=50.0),
        entry(4, 100.75),
    ):
        one.process(given_entry, observation)
    assert [trigger.snr for trigger in one.sent("dada_trigger")] == [30.0]
    assert [(trigger.snr, trigger.count) for trigger in one.sent("lofar_trigger")] == [(50.0, 2)]


def test_another_dm_bin_of_the_window_that_has_its_request_is_requested_too(service, observation):
    one = service(**SETTLES_SOON)
    one.start_observation(observation, {})
    for given_entry in (
        entry(1, 100.0, 5.1),
        entry(2, 100.25),
        entry(3, 100.5, 5.2, dm=1700.0),
        entry(4, 100.75, 6.1),
        entry(5, 101.0),
        entry(6, 101.75),
    ):
        one.process(given_entry, observation)
    sent = one.sent("dada_trigger")
    assert [(trigger.window, trigger.dm) for trigger in sent] == [(5, 700.0), (5, 1700.0)]
    assert one.memory["counts"]["iquv_triggers_held_back"] == 1


class Run(Struct):
    """An observation from entries, by processes that die."""

    memory: dict[str, Any] = field(default_factory=dict)
    waiting: dict[int, QueueEntry] = field(default_factory=dict)
    sent: dict[str, list[str]] = field(default_factory=dict)  # by queue, identities

    def keep(self, process: Kept) -> None:
        """Keep what a process has committed, as the journal would."""
        self.memory |= process.memory
        self.memory = {key: value for key, value in self.memory.items() if value is not None}
        for number in process.completed:
            del self.waiting[number]
        for queue in ("dada_trigger", "lofar_trigger"):
            found = [trigger.identity for trigger in process.sent(queue)]
            self.sent.setdefault(queue, []).extend(found)


def run(
    make: Callable[[], Kept],
    observation: Observation,
    entries: Sequence[QueueEntry],
    deaths: Sequence[tuple[int, int]] = (),
) -> Run:
    """Process the entries; each death is after an entry, at one of the commits that follow."""
    found = Run()
    left = sorted(deaths)
    process = make()
    process.start_observation(observation, {})
    for one in entries:
        found.waiting[one.id] = one
        work = [one]
        while work:
            if left and left[0][0] <= one.id:
                _, which = left.pop(0)
                number = len(process.commits) + 1 + which // 2
                process.dies_before, process.dies_after = (0, number) if which % 2 else (number, 0)
            try:
                for each in work:
                    process.process(each, observation)
                work = []
            except DiedError:
                found.keep(process)
                process = make()
                process.start_observation(observation, unpack(pack(found.memory)))
                work = list(found.waiting.values())
    found.keep(process)
    return found


@st.composite
def lines_in_entries(draw: st.DrawFn) -> list[QueueEntry]:
    """Of two windows and three DM bins, weak ones and strong ones, stamped or not."""
    entries, watermark = [], 100.0
    for number in range(1, draw(st.integers(2, 12))):
        watermark += draw(st.sampled_from([0.0, 0.125, 0.25, 0.5, 1.25]))
        lines = draw(
            st.lists(
                st.tuples(
                    st.sampled_from([5.1, 5.6, 6.1]),
                    st.sampled_from([12.0, 25.0, 60.0]),
                    st.sampled_from([300.0, 700.0, 1700.0]),
                    st.sampled_from([10, 90, 500]),
                ),
                max_size=3,
            )
        )
        candidates = np.zeros(len(lines), CANDIDATE)
        for place, (at, snr, dm, width) in enumerate(lines):
            candidates[place]["time"], candidates[place]["snr"] = at, snr
            candidates[place]["dm"], candidates[place]["downsampling"] = dm, width
        stamped = draw(st.booleans()) or not lines
        content = records_to_bytes(candidates)
        given_stamp = watermark if stamped else 0.0
        entries.append(
            QueueEntry(number, ContentKind.CANDIDATES, content, "clu1", given_stamp, watermark)
        )
    nothing = ContentKind.CANDIDATES, b"", "clu1"
    last = len(entries) + 1
    rest = [QueueEntry(last + n, *nothing, watermark + 2 * n, watermark) for n in range(3)]
    return [*entries, *rest]


@pytest.fixture
def settles_soon_or_late(service: Callable[..., Kept]) -> list[Config]:
    rules = {**SETTLES_SOON, "thresh_iquv": {"interval": 0}}
    return [service(**rules | more).config for more in ({}, {"settle": 1.0})]


@given(
    lines_in_entries(),
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3)), max_size=4),
)
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_the_same_lines_give_the_same_triggers_whoever_dies_and_none_twice(
    settles_soon_or_late, observation, entries, deaths
):
    soon, late = settles_soon_or_late
    undisturbed = run(lambda: Kept(soon), observation, entries)
    disturbed = run(lambda: Kept(soon), observation, entries, deaths)
    assert disturbed.sent == undisturbed.sent
    assert disturbed.memory.get("counts") == undisturbed.memory.get("counts")
    assert not disturbed.waiting
    longest = run(lambda: Kept(late), observation, entries)
    for queue, identities in disturbed.sent.items():
        assert len(set(identities)) == len(identities)
        assert set(longest.sent[queue]) <= set(identities)


def test_the_lists_of_the_start_hold_though_they_are_gone(service, observation, tmp_path):
    path, map_file = tmp_path / "sources.yaml", tmp_path / "map.npz"
    path.write_text("frbs: {R1: 702.0}\naliases: {an alias: R1}\n")
    shutil.copy(packaged("conf/galaxy_ymw16.npz"), map_file)
    rules = {
        "source_file": str(path),
        "galaxy_map": str(map_file),
        "lofar_trigger_sources": ["an alias"],
        "thresh_iquv": {"interval": 0},
    }
    first = service(**rules)
    first.start_observation(observation, {})
    path.unlink()
    map_file.unlink()
    again = service(**rules)
    again.start_observation(observation, first.memory)
    for one in (entry(1, 100.0, 5.1), entry(2, 101.0)):
        again.process(one, observation)
    (trigger,) = again.sent("lofar_trigger")
    assert (trigger.src_name, trigger.dm) == ("R1", 702.0)
    assert again.losses == {}


def test_lists_that_cannot_be_read_are_problems(service, observation, tmp_path):
    one = service(source_file=str(tmp_path / "none.yaml"), galaxy_map=str(tmp_path / "none.npz"))
    one.start_observation(observation, {})
    assert {kind: loss["number"] for kind, loss in one.losses.items()} == {
        "sources_unknown": 1,
        "galactic_dm_unknown": 1,
    }
