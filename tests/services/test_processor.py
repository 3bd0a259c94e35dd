"""The processor between entries and commits, with real processes that extract."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from msgspec.structs import replace
from nodes import patience, wait_for

from darc.candidates.injections import LISTED
from darc.candidates.observation_inputs import mask_file
from darc.candidates.observation_work import ObservationWork
from darc.candidates.results.candidate_file import read_candidate, write_candidate
from darc.candidates.results.trigger_lists import read_summary, read_triggers
from darc.candidates.task_queue import TaskQueue
from darc.model.candidate import CANDIDATE, candidates_from_bytes, records_to_bytes
from darc.model.counters import Rejection
from darc.model.finding import AlertOrder, BurstFinding, about_event
from darc.model.observation import Observation
from darc.model.processing_outcome import (
    NOTHING_SEARCHED,
    ClusterOutcome,
    Detection,
    ProcessingSummary,
)
from darc.node.node_config import load_config
from darc.node.read_observation import read_observation
from darc.queues.messages import Commit, ContentKind, QueueEntry
from darc.queues.plain_connection import pack, unpack
from darc.runtime.clock import Instant, Since
from darc.services.processor import service as processor
from darc.services.processor.service import ProcessorManager
from darc.services.voevent_generator.people_sender import _picture
from simulator.amber_files import format_header, format_line
from simulator.write_parsets import write_observation

sys.path.insert(0, str(Path(__file__).parents[1] / "candidates"))

from beams import burst, write_beam

START = 1_700_000_000.0  # long ago: all data there will be are there
TASK = "pro1"
#: A cluster's row in the memory: its pulse, S/N last, and behind that what became of it.
N_PULSE_VALUES = 5


class Kept(ProcessorManager):
    """Its commits are kept here, as the journal would."""

    def prepare(self) -> None:
        super().prepare()
        self.memory: dict[str, dict[str, Any]] = {}
        self.completed: list[int] = []
        self.finished: list[str] = []
        self.outcomes: list[float] = []  # S/N of the clusters that have one, in order
        self.past: set[str] = set()
        self.told: list[BurstFinding | AlertOrder] = []

    def commit(self, commit: Commit) -> None:
        commit = Commit.from_plain(commit.to_plain())
        memory = self.memory.setdefault(commit.observation, {})
        for key, value in commit.memory.items():
            if value is None:
                memory.pop(key, None)
            else:
                memory[key] = unpack(pack(value))
                if key.startswith("cluster ") and len(value) > N_PULSE_VALUES:
                    self.outcomes.append(value[N_PULSE_VALUES - 1])
        self.completed += commit.completed
        for put in commit.puts:
            assert put.queues == ("voevent_generator",)
            self.told += map(about_event, unpack(put.content))

    def finish(self, observation: Observation) -> None:
        self.finished.append(observation.task_id)

    def is_past(self, observation: Observation) -> bool:
        return observation.task_id in self.past


@pytest.fixture(scope="module")
def shared_queue() -> Iterator[TaskQueue]:
    """Its process has imported what tasks need, which takes longer than they do."""
    queue = TaskQueue()
    yield queue
    queue.close()


@pytest.fixture
def service(tmp_path: Path, shared_queue: TaskQueue) -> Iterator[Callable[..., Kept]]:
    made: list[Kept] = []

    def make(own_processes: bool = False, **rules: Any) -> Kept:
        path = tmp_path / "config.yaml"
        usual = {
            "result_dir": str(tmp_path / "results"),
            "interval": 0.1,
            "stop_delay": 0,
            # Each costs most of a second of processor time before it has done anything.
            "num_extractor": 1,
            "extractor": {"delay": 0},
            "classifier": {"thresh_freqtime": 0},
            "processing_time_limit": 0,
        }
        master = {"end_delay": rules.pop("end_delay", 60)}
        path.write_text(yaml.safe_dump({"processor": usual | rules, "darc_master": master}))
        made.append(one := Kept(load_config(path)))
        if not own_processes:
            one.task_queue = shared_queue
        return one

    yield make
    for one in made:
        if one.task_queue is not shared_queue:
            one.task_queue.close()
        for task_id in one.processing:
            one.task_queue.drop(task_id)


@pytest.fixture
def observe(tmp_path: Path, service: Callable[..., Kept]) -> Callable[..., Observation]:
    def make(task_id: str = TASK, **keys: Any) -> Observation:
        usual = {"source": "R1", "start": START, "duration": 8.0, "n_tabs": 1, "instances": 1}
        more = keys.pop("more", {})
        made = write_observation(
            tmp_path / task_id, task_id=task_id, **(usual | keys), more={**more}
        )
        return read_observation(made.parset, service().config.instrument)

    return make


def entry(
    number: int, *pulses: Detection, watermark: float = 1.0, task_id: str = TASK
) -> QueueEntry:
    found = np.array(
        [(one.beam, one.downsampling, one.time, one.dm, one.snr) for one in pulses], CANDIDATE
    )
    return QueueEntry(
        number, ContentKind.CANDIDATES, records_to_bytes(found), task_id, watermark, watermark
    )


def end(number: int, task_id: str = TASK) -> QueueEntry:
    return QueueEntry(number, ContentKind.END, b"", task_id, 0.0, 0.0)


def run_until(one: Kept, condition: Callable[[], Any], timeout: float = 100.0) -> None:
    def turn() -> Any:
        one.idle()
        return condition()

    wait_for(turn, timeout)


def results(tmp_path: Path, observation: Observation) -> Path:
    return tmp_path / "results" / observation.date / observation.datetimesource


def summary(tmp_path: Path, observation: Observation) -> ProcessingSummary | None:
    return read_summary(results(tmp_path, observation) / f"CB{observation.beam:02d}_summary.yaml")


def rows(one: Kept) -> dict[str, list[Any]]:
    return {key: row for key, row in one.memory[TASK].items() if key.startswith("cluster ")}


PULSES = [burst(1.0, dm=500.0), burst(3.0, dm=200.0), burst(5.0, dm=100.0)]


def test_from_candidates_to_results(tmp_path, service, observe):
    observation, one = observe(), service(own_processes=True, num_extractor=2)
    write_beam(Path(observation.output_dir), PULSES)
    one.start_observation(observation, {})
    nothing, weak = burst(6.5, dm=900.0), burst(2.0, snr=9.0)
    one.process(entry(1, *PULSES[:2], weak), observation)
    one.process(entry(2, PULSES[2], nothing, watermark=2.0), observation)
    one.process(end(3), observation)
    assert one.processing.keys() == {TASK}
    run_until(one, lambda: one.finished)
    assert one.completed == [1, 2, 3]
    assert one.candidates_received == 5
    assert one.fates == {TASK: {"kept": 3, "too weak": 1}}
    assert (one.clusters_done, one.clusters_waiting, one.clusters_in_work) == (4, 0, 0)
    assert not rows(one), "nothing is left in memory"
    directory = results(tmp_path, observation)
    assert summary(tmp_path, observation) == ProcessingSummary(5, 4, 3, 3)
    assert {line.dm for line in read_triggers(directory / "CB00_triggers.txt")} == {500, 200, 100}
    assert (directory / "CB00.pdf").read_bytes().startswith(b"%PDF")
    output = Path(observation.output_dir) / "triggers_realtime"
    assert len(list((output / "data").glob("TOA*.hdf5"))) == 3
    clusters = (output / "grouped_pulses.singlepulse").read_text().splitlines()
    assert clusters[0] == "#snr dm time downsamp sb"
    assert len(clusters) == 5


def test_data_that_are_sampled_otherwise_than_their_observation_says(tmp_path, service, observe):
    """Told once for an observation, with both values; not where the instrument says so."""
    observation, one = observe(more={"tsamp": 2e-3}), service()
    write_beam(Path(observation.output_dir), PULSES)
    one.start_observation(observation, {})
    one.process(entry(1, *PULSES), observation)
    run_until(one, lambda: one.clusters_done == 3)
    (found,) = one.losses["data_sampled_otherwise"]["last"]
    assert found["what"].endswith("filterbank/CB00.fil")
    assert found["why"] == "samples of 0.001 s by its header, of 0.002 s by the observation"
    # A process that goes on with the observation, however much later, does not say it again.
    again = service()
    again.memory |= one.memory
    again.start_observation(observation, one.memory[observation.key])
    one.abort_observation(observation)
    again.process(entry(2, PULSES[0], replace(PULSES[0], time=4.0, snr=99.0)), observation)
    run_until(again, lambda: again.clusters_done)
    assert again.losses == {}
    again.abort_observation(observation)
    meant = service()
    instrument = replace(meant.config.instrument, data_tsamp=1e-3)
    meant.config = replace(meant.config, instrument=instrument)
    meant.start_observation(observation, {})
    meant.process(entry(1, *PULSES), observation)
    run_until(meant, lambda: meant.clusters_done == 3)
    assert not meant.losses


def line_of(pulse: Detection) -> bytes:
    return format_line(
        beam=pulse.beam,
        batch=0,
        sample=0,
        integration_step=pulse.downsampling,
        time=pulse.time,
        dm_id=0,
        dm=pulse.dm,
        snr=pulse.snr,
    )


@pytest.mark.parametrize("past", [False, True])
def test_of_an_injected_burst_there_is_no_result(tmp_path, service, observe, past):
    """The list is gone at the next start; what it said is remembered."""
    observation, one = observe(), service()
    write_beam(Path(observation.output_dir), PULSES)
    injected = PULSES[0]
    width = injected.downsampling * observation.tsamp * 1e3
    values = [injected.time, injected.dm, injected.snr, width]
    if past:
        one.past.add(observation.task_id)
        Path(observation.amber_dir).mkdir(exist_ok=True)
        path = Path(observation.amber_dir) / "injections.txt"
        path.write_text(" ".join(map(str, values)) + "\nsoon 700 30 0.8\n")
        Path(observation.trigger_files()[0]).write_bytes(
            format_header() + b"".join(map(line_of, PULSES[:2]))
        )
        one.start_observation(observation, {})
        assert one.losses["injection_unknown"]["number"] == 1
        path.unlink()
        memory = one.memory[observation.key]
        work = ObservationWork(observation, one.settings, one.config, memory, past=past)
        read = work.reading_job().run()
        assert (read.n_candidates, read.rejected) == (2, {Rejection.INJECTED: 1})
        assert {row["dm"] for row in read.clusters} == {PULSES[1].dm}
        one.abort_observation(observation)
        return
    one.start_observation(observation, {})
    content = pack({LISTED: [values]})
    one.process(QueueEntry(9, ContentKind.PLAIN, content, TASK, 0.0, 0.0), observation)
    again = service()
    again.memory |= one.memory
    again.start_observation(observation, one.memory[observation.key])
    one.abort_observation(observation)
    again.process(entry(1, *PULSES[:2]), observation)
    again.process(end(2), observation)
    run_until(again, lambda: again.finished)
    assert summary(tmp_path, observation) == ProcessingSummary(2, 1, 1, 1)


def test_who_announces_bursts_is_told_of_those_that_were_classified(tmp_path, service, observe):
    observation = observe()
    write_beam(Path(observation.output_dir), PULSES)
    for limit, fate in ((0, "kept"), (1, "unlikely")):
        one = service(classifier={"thresh_freqtime": limit})
        one.start_observation(observation, {})
        one.process(entry(1, PULSES[0], burst(6.5, dm=900.0)), observation)
        run_until(one, lambda one=one: one.clusters_done == 2)
        assert one.fates[TASK] == {fate: 1, "too weak": 1}
        (found,) = one.told
        assert (found.observation, found.cb, found.host) == (
            observation.key,
            0,
            one.config.hostname,
        )
        assert found.arrival == pytest.approx(START + 1.0, abs=0.01)
        assert (found.dm, 0 <= found.probability <= 1) == (500.0, True)
        assert found.snr >= 10
        # People are sent it, where it is at hand.
        assert bool(found.picture) is (fate == "kept")
        assert bool(found.picture and _picture(found.picture)) is (fate == "kept")


def test_each_cluster_is_processed_once_whatever_dies_when(tmp_path, service, observe):
    """A service that goes on where another one left off, at every stage."""
    observation = observe()
    write_beam(Path(observation.output_dir), PULSES)
    first = service(own_processes=True)
    first.start_observation(observation, {})
    first.process(entry(1, *PULSES[:2]), observation)
    first.process(entry(2, PULSES[2], watermark=2.0), observation)
    # Of windows that are open, nothing was committed: they come again.
    assert not first.completed or 2 not in first.completed
    first.process(end(3), observation)
    assert sorted(first.completed) == [1, 2, 3]
    run_until(first, lambda: first.clusters_done)
    first.task_queue.close()
    assert 0 < first.clusters_done < 3
    second = service()
    second.memory = first.memory
    second.start_observation(observation, dict(first.memory[TASK]))
    run_until(second, lambda: second.finished)
    assert first.clusters_done + second.clusters_done == 3
    assert summary(tmp_path, observation) == ProcessingSummary(3, 3, 3, 3)


def test_the_brightest_come_first(tmp_path, service, observe):
    observation, one = observe(), service()
    files = write_beam(Path(observation.output_dir))
    (files.directory / "CB00.fil").unlink()
    one.start_observation(observation, {})
    bright = [burst(float(time), snr=snr) for time, snr in ((1, 20), (2, 50), (3, 11), (4, 30))]
    one.process(entry(1, *bright), observation)
    one.process(end(2), observation)
    one.stop_observation(observation)
    run_until(one, lambda: one.finished)
    assert one.outcomes == [50, 30, 20, 11]
    assert one.fates[TASK] == {"failed": 4}


def test_a_pool_process_that_is_killed_costs_nothing(tmp_path, service, observe, monkeypatch):
    faults = tmp_path / "faults"
    faults.mkdir()
    (faults / "pool process.before working").touch()
    monkeypatch.setenv("DARC_FAULT_POINTS", str(faults))
    observation, one = observe(), service(own_processes=True)
    write_beam(Path(observation.output_dir), PULSES)
    one.start_observation(observation, {})
    one.process(entry(1, *PULSES), observation)
    one.process(end(2), observation)
    run_until(one, lambda: one.finished)
    assert not list(faults.iterdir())
    assert one.fates[TASK] == {"kept": 3}


def test_a_late_line_that_is_better_takes_the_place_of_another(tmp_path, service, observe):
    observation, one = observe(), service()
    pulse = PULSES[0]
    write_beam(Path(observation.output_dir), [pulse])
    one.start_observation(observation, {})
    early = Detection(pulse.beam, pulse.downsampling, pulse.time + 0.01, pulse.dm + 2, 15.0)
    one.process(entry(1, early), observation)
    run_until(one, lambda: one.clusters_done == 1)
    data = Path(observation.output_dir) / "triggers_realtime" / "data"
    (before,) = data.glob("*.hdf5")
    assert before.with_suffix(".png").exists()
    one.process(entry(2, pulse, watermark=5.0), observation)
    one.process(end(3), observation)
    run_until(one, lambda: one.finished)
    assert not before.exists()
    assert not before.with_suffix(".png").exists()
    assert len(list(data.iterdir())) == 1  # the picture is among the results
    assert summary(tmp_path, observation) == ProcessingSummary(2, 1, 1, 1)


def test_a_candidate_that_nobody_heard_of_does_not_stay(tmp_path, service, observe):
    """The service dies when it has a result, and then a better line takes the cluster."""
    observation, first = observe(), service(own_processes=True)
    pulse = PULSES[0]
    write_beam(Path(observation.output_dir), PULSES)
    first.start_observation(observation, {})
    early = Detection(pulse.beam, pulse.downsampling, pulse.time + 0.01, pulse.dm + 2, 15.0)
    first.process(entry(1, early), observation)
    run_until(first, lambda: first.clusters_in_work)
    first.task_queue.wait(patience(60.0))  # until it could take the result
    first.task_queue.close()
    data = Path(observation.output_dir) / "triggers_realtime" / "data"
    (unknown,) = data.glob("*.hdf5")
    stored = read_candidate(unknown)
    others = write_candidate(data, replace(stored, cb=7, pulse=burst(7.0)))
    others.with_suffix(".png").touch()
    second = service()
    second.memory = first.memory
    second.start_observation(observation, dict(first.memory[TASK]))
    second.process(entry(2, *PULSES, watermark=5.0), observation)
    second.process(end(3), observation)
    run_until(second, lambda: second.finished)
    assert second.fates[TASK] == {"kept": 3}
    assert not unknown.exists()
    assert not unknown.with_suffix(".png").exists()
    assert others.exists(), "of another beam"
    assert len(list(data.glob("*.hdf5"))) == 3 + 1
    # each picture is in one place: those of this beam among its results
    assert list(data.glob("*.png")) == [others.with_suffix(".png")]


def test_results_wait_for_an_extraction_that_is_of_no_use_any_more(service, observe):
    one = service()
    work = ObservationWork(observe(), one.settings, one.config, {}, past=False)
    work.all_came = True
    work.in_work.add("a cluster that is beyond the limits by now")
    assert not work.is_extracted
    work.in_work.clear()
    assert work.is_extracted


def test_observations_overlap(tmp_path, service, observe):
    one = service()
    both = [observe("pro1"), observe("pro2", beam=3)]
    for observation, pulse in zip(both, PULSES, strict=False):
        write_beam(Path(observation.output_dir), [pulse], cb=observation.beam)
        one.start_observation(observation, {})
    for number, (observation, pulse) in enumerate(zip(both, PULSES, strict=False), 1):
        one.process(entry(number, pulse, task_id=observation.task_id), observation)
    for number, observation in enumerate(both, 10):
        one.process(end(number, observation.task_id), observation)
    run_until(one, lambda: len(one.finished) == 2)
    for observation in both:
        assert summary(tmp_path, observation) == ProcessingSummary(1, 1, 1, 1)


def test_an_abort_drops_everything(service, observe):
    observation, one = observe(duration=1e6), service()
    one.start_observation(observation, {})
    one.process(entry(1, *PULSES), observation)
    one.idle()
    one.abort_observation(observation)
    assert one.completed == [1]
    assert (one.processing, one.clusters_waiting) == ({}, 0)
    one.process(entry(2, *PULSES), None)
    one.process(end(3), None)
    assert one.completed == [1, 2, 3]
    assert one.bad_entries == 0


def test_an_abort_ends_what_is_under_way(tmp_path, service, observe):
    observation, one = observe(), service(own_processes=True)
    write_beam(Path(observation.output_dir), PULSES)
    one.start_observation(observation, {})
    others = set(psutil.Process().children())
    one.process(entry(1, *PULSES), observation)
    run_until(one, lambda: one.clusters_in_work)
    extracting = set(psutil.Process().children()) - others
    assert extracting
    for child in extracting:
        child.suspend()  # it never comes to an end by itself
    one.abort_observation(observation)
    wait_for(lambda: not any(child.is_running() for child in extracting))
    one.idle()
    assert one.clusters_in_work == 0


def test_the_time_limit(tmp_path, service, observe):
    observation, one = observe(), service(processing_time_limit=1e-3)
    write_beam(Path(observation.output_dir), PULSES)
    one.start_observation(observation, {})
    one.process(entry(1, *PULSES), observation)
    one.stop_observation(observation)
    run_until(one, lambda: one.finished)
    assert one.fates[TASK] == {"out of time": 3}
    assert summary(tmp_path, observation) == ProcessingSummary(3, 3, 0, 0)


def test_a_clock_that_is_ahead_for_a_while_gives_up_nothing(service, observe, monkeypatch):
    observation, one = observe(start=time.time()), service(processing_time_limit=3600.0)
    one.start_observation(observation, {})
    one.process(entry(1, *PULSES), observation)
    one.process(end(2), observation)
    day_later = time.time() + 86400.0
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda: day_later)
        one.idle()
        assert one.clusters_waiting == len(PULSES)
        assert one.clusters_in_work == 0, "data may still come"
        one.stop_observation(observation)
        memory = dict(one.memory[observation.key])
        again = ObservationWork(observation, one.settings, one.config, memory, past=False)
        assert not again.is_out_of_time()
        one.idle()
        assert one.outcomes == [], "nothing is given up"
    boot_time = Instant.now().seconds
    monkeypatch.setattr(Instant, "now", lambda: Instant(boot_time + 86400.0))
    for day in (day_later - 2 * 86400.0, day_later):
        monkeypatch.setattr(time, "time", lambda day=day: day)
        assert again.is_out_of_time(), "a clock that is behind makes nothing wait longer"


def test_data_that_do_not_come_any_more(tmp_path, service, observe):
    """The file stops growing long before the observation's end."""
    observation, one = observe(start=time.time(), duration=3600.0), service()
    write_beam(Path(observation.output_dir), PULSES[:1], seconds=4.0)
    one.start_observation(observation, {})
    one.process(entry(1, PULSES[0], burst(6.0)), observation)
    run_until(one, lambda: one.clusters_done == 1)
    assert one.clusters_waiting == 1, "it may still come: there was no stop"
    one.process(end(2), observation)
    one.stop_observation(observation)
    run_until(one, lambda: one.finished)
    assert one.fates[TASK] == {"kept": 1, "not in data": 1}


def test_no_end_comes(tmp_path, service, observe):
    observation, one = observe(), service(end_delay=1)
    one.start_observation(observation, {"stopped": time.time() - 1e6})
    one.idle()
    assert one.processing, "what waits in the queue is taken first"
    run_until(one, lambda: one.finished)
    assert summary(tmp_path, observation) == NOTHING_SEARCHED


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, NOTHING_SEARCHED),
        (b"", NOTHING_SEARCHED),
        (b"rubbish\n", NOTHING_SEARCHED),
        (format_header(), ProcessingSummary(0, 0, 0, 0)),
    ],
)
def test_minus_one_where_no_header_ever_came(tmp_path, service, observe, content, expected):
    observation, one = observe(), service()
    if content is not None:
        Path(observation.trigger_files()[0]).write_bytes(content)
    one.start_observation(observation, {})
    one.process(end(1), observation)
    run_until(one, lambda: one.finished)
    assert summary(tmp_path, observation) == expected
    assert read_triggers(results(tmp_path, observation) / "CB00_triggers.txt") == []


def test_an_observation_in_the_past_is_read_as_a_whole(tmp_path, service, observe):
    observation, one = observe(), service()
    write_beam(Path(observation.output_dir), PULSES)
    lines = [
        format_line(
            beam=0,
            batch=0,
            sample=round(pulse.time / pulse.downsampling / observation.tsamp),
            integration_step=pulse.downsampling,
            time=pulse.time,
            dm_id=1,
            dm=pulse.dm,
            snr=pulse.snr,
        )
        for pulse in PULSES
    ]
    text = format_header() + b"".join(lines) + b"0 0 rubbish\n" + b"0 0 half a li"
    Path(observation.trigger_files()[0]).write_bytes(text)
    one.past.add(TASK)
    one.start_observation(observation, {})
    run_until(one, lambda: one.finished)
    assert summary(tmp_path, observation) == ProcessingSummary(3, 3, 3, 3)
    # Of a file that is finished, what stands behind the last line break is a line, too.
    assert one.memory[TASK]["counts"][Rejection.WRONG_COUNT] == 2


def test_what_is_not_processed(service, observe):
    one = service()
    not_wanted = observe("pro2", more={"proctrigger": False})
    one.start_observation(not_wanted, {})
    assert one.finished == ["pro2"]
    one.process(entry(1, *PULSES, task_id="pro2"), None)
    one.process(end(2, "pro2"), None)
    assert one.completed == [1, 2]
    assert one.memory.get("pro2", {}) == {}


def test_entries_that_are_none(service, observe):
    observation, one = observe(), service()
    one.start_observation(observation, {})
    one.process(QueueEntry(1, ContentKind.CANDIDATES, b"rubbish", TASK, 1.0, 1.0), observation)
    one.process(QueueEntry(2, ContentKind.PLAIN, pack(1), TASK, 1.0, 1.0), observation)
    assert one.bad_entries == 2
    assert one.completed == [1, 2]


def test_on_a_dask_cluster(tmp_path, service, observe):
    """Results are written here, whatever is with the cluster."""
    distributed = pytest.importorskip("distributed")
    observation = observe()
    write_beam(Path(observation.output_dir), PULSES)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        one = service(own_processes=True, scheduler=cluster.scheduler_address)
        one.start_observation(observation, {})
        one.process(entry(1, *PULSES), observation)
        one.process(end(2), observation)
        run_until(one, lambda: one.finished)
        one.task_queue.close()
    assert one.fates[TASK] == {"kept": 3}
    assert summary(tmp_path, observation) == ProcessingSummary(3, 3, 3, 3)


def test_a_dask_cluster_that_is_not_there(tmp_path, service, observe):
    """Clusters wait for it until the time limit, and then there are results all the same."""
    observation = observe(start=time.time() - 1.0, duration=0.5)
    one = service(own_processes=True, scheduler="tcp://127.0.0.1:1", processing_time_limit=5.0)
    one.start_observation(observation, {})
    one.process(entry(1, *PULSES), observation)
    one.process(end(2), observation)
    one.stop_observation(observation)
    run_until(one, lambda: one.finished)
    assert one.fates[TASK] == {"out of time": 3}
    assert summary(tmp_path, observation) == ProcessingSummary(3, 3, 0, 0)


def test_trigger_files_that_cannot_be_read_are_not_an_observation_without_any(
    tmp_path, service, observe, monkeypatch
):
    """Whatever reads them dies, however often."""
    deadly = tmp_path / "faults" / "pool process.before working"
    deadly.parent.mkdir()
    monkeypatch.setenv("DARC_FAULT_POINTS", str(deadly.parent))
    observation, one = observe(), service(own_processes=True)
    one.past.add(TASK)
    one.start_observation(observation, {})
    run_until(one, lambda: one.finished or deadly.touch())
    assert one.finished == [TASK]
    assert not results(tmp_path, observation).exists()


def test_what_comes_while_results_are_written_is_in_them(tmp_path, service, observe):
    observation, one = observe(), service()
    write_beam(Path(observation.output_dir), PULSES[:2])
    one.start_observation(observation, {})
    one.process(entry(1, PULSES[0]), observation)
    one.process(end(2), observation)
    run_until(one, lambda: one.clusters_done == 1)  # now they are
    one.process(entry(3, PULSES[1], watermark=2.0), observation)
    run_until(one, lambda: one.finished)
    assert one.completed == [1, 2, 3]
    assert summary(tmp_path, observation) == ProcessingSummary(2, 2, 2, 2)
    assert one.fates[TASK] == {"kept": 2}


# -- where results go ----------------------------------------------------------------------------


def test_results_that_cannot_be_written_are_tried_again(
    tmp_path, service, observe, monkeypatch, caplog
):
    monkeypatch.setattr(processor, "RESULT_PAUSES", (0.1,) * 100)
    observation, one = observe(), service()
    one.start_observation(observation, {})
    (tmp_path / "results").write_text("in the way")
    one.process(end(1), observation)
    run_until(one, lambda: sum("trying again" in text for text in caplog.messages) >= 2)
    assert not one.finished
    (tmp_path / "results").unlink()
    run_until(one, lambda: one.finished)
    assert summary(tmp_path, observation) == NOTHING_SEARCHED


def test_and_given_up_in_the_end(tmp_path, service, observe, monkeypatch, caplog):
    monkeypatch.setattr(processor, "RESULT_PAUSES", (0.0, 0.0))
    observation, one = observe(), service()
    one.start_observation(observation, {})
    (tmp_path / "results").write_text("in the way")
    one.process(end(1), observation)
    run_until(one, lambda: one.finished)
    (given_up,) = [text for text in caplog.messages if "given up" in text]
    assert str(results(tmp_path, observation)) in given_up


def test_what_was_left_half_written_goes_and_what_others_write_stays(tmp_path, service, observe):
    observation, one = observe(), service()
    directory = results(tmp_path, observation)
    directory.mkdir(parents=True)
    ours = [directory / f".CB00{name}.1a2b.new" for name in (".pdf", "_summary.yaml")]
    others = [directory / f".CB{name}.1a2b.new" for name in ("00_B0329+54.pdf", "01.pdf")]
    for path in ours + others:
        path.touch()
    one.start_observation(observation, {})
    one.process(end(1), observation)
    run_until(one, lambda: one.finished)
    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in others)


def test_two_workers_write_into_one_directory(tmp_path, service, observe):
    both = service(), service()
    for beam, one in enumerate(both):
        observation = observe(f"pro{beam}", beam=beam)
        write_beam(Path(observation.output_dir), PULSES[:1], cb=beam)
        one.start_observation(observation, {})
        one.process(entry(1, PULSES[0], task_id=observation.task_id), observation)
        one.process(end(2, observation.task_id), observation)
    for one in both:
        run_until(one, lambda one=one: one.finished)
    names = {path.name for path in results(tmp_path, observation).iterdir()}
    assert names == {
        f"CB{beam:02d}{rest}"
        for beam in range(2)
        for rest in ("", ".pdf", "_triggers.txt", "_triggers.ecsv", "_summary.yaml")
    }


# -- synthesised beams, masks --------------------------------------------------------------------


def test_a_pulse_in_a_synthesised_beam(tmp_path, service, observe):
    observation, one = observe(n_tabs=12, more={"nsynbeams": 71}), service()
    pulse = Detection(3, 4, 3.0, 200.0, 30.0)
    write_beam(Path(observation.output_dir), [pulse], n_tabs=12)
    one.start_observation(observation, {})
    one.process(entry(1, pulse, Detection(71, 4, 5.0, 200.0, 30.0)), observation)
    one.process(end(2), observation)
    run_until(one, lambda: one.finished)
    assert one.fates[TASK] == {"kept": 1}
    assert one.memory[TASK]["counts"][Rejection.FOREIGN] == 1


def test_a_table_of_synthesised_beams_that_is_none(tmp_path, service, observe):
    observation, one = observe(n_tabs=12, more={"nsynbeams": 71}), service()
    path = tmp_path / "config.yaml"
    config = yaml.safe_load(path.read_text()) | {"instrument": {"sb_table": str(tmp_path / "t")}}
    path.write_text(yaml.safe_dump(config))
    one.config = load_config(path)
    one.start_observation(observation, {})
    one.process(entry(1, *PULSES), observation)
    one.process(end(2), observation)
    run_until(one, lambda: one.finished)
    assert one.fates[TASK] == {str(ClusterOutcome.FAILED): 3}


def test_the_mask_is_ambers_own_if_none_is_configured(tmp_path, service, observe):
    observation, rules = observe(more={"amber_conf_dir": tmp_path}), service().settings
    assert mask_file(observation, rules) is None
    (tmp_path / "zapped_channels_1400.conf").touch()
    assert mask_file(observation, rules) == tmp_path / "zapped_channels_1400.conf"
    (tmp_path / "zapped_channels_1370.conf").touch()
    assert mask_file(observation, rules) == tmp_path / "zapped_channels_1370.conf"
    configured = service(extractor={"rfi_mask": "/a/mask"}).settings
    assert mask_file(observation, configured) == Path("/a/mask")
    without = service(extractor={"rfi_apply_mask": False}).settings
    assert mask_file(observation, without) is None


def test_a_mask_that_is_gone_at_the_next_start_is_missed_and_not_forgotten(
    tmp_path, service, observe
):
    observation, one = observe(more={"amber_conf_dir": tmp_path}), service()
    mask = tmp_path / "zapped_channels_1370.conf"
    mask.touch()
    one.start_observation(observation, {})
    memory = one.memory[observation.key]
    one.abort_observation(observation)
    mask.unlink()
    again = ObservationWork(observation, one.settings, one.config, memory, past=False)
    again.take(1, 100.0, candidates_from_bytes(entry(1, *PULSES[:1]).content))
    again.close_windows(at_once=True)
    again.enter(again.clusters(again.closed()))
    again.stopped = Since.now(1e6)  # the data are as they are
    assert [job.mask for job in again.ready()] == [mask]


def test_the_service_itself_imports_nothing_large():
    code = "import darc.services.processor.service, sys; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"numba", "h5py", "matplotlib", "astropy", "distributed", "sklearn"} & set(modules)
