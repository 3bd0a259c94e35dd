"""Processing on a real node: from trigger files to a summary that adds up, whatever is killed."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from nodes import Node, node, patience
from nodes import wait_for as wait_for_seconds

from darc.candidates.results.trigger_lists import read_summary, read_triggers
from darc.model.processing_outcome import Detection, ProcessingSummary
from simulator.amber_files import format_header, format_line, trigger_name
from simulator.mailbox import Mailbox
from simulator.write_parsets import MadeObservation, write_observation

sys.path.insert(0, str(Path(__file__).parents[1] / "candidates"))

from beams import TSAMP, burst, write_beam

wait_for = partial(wait_for_seconds, timeout=100.0)

PULSES = [burst(1.0, dm=500.0), burst(2.0, dm=200.0), burst(3.0, dm=100.0), burst(4.0, dm=50.0)]
NOTHING = burst(6.0, dm=900.0)  # AMBER found what is not in the data
RULES = {
    "interval": 0.3,
    "stop_delay": 0,
    # Each takes a second or two to start, and most tests here have them started anew.
    "num_extractor": 1,
    "extractor": {"delay": 0},
    "classifier": {"thresh_freqtime": 0},
}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file here has a process die at a point."""
    return tmp_path_factory.mktemp("fault_points")


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as made:
        yield made


@pytest.fixture(scope="module")
def processing_node(test_run: str, points: Path, mailbox: Mailbox) -> Iterator[Node]:
    sections = {
        "darc_master": {"setup_time": 0.2, "control_timeout": 30},
        "processor": RULES,
        "processor_master": {"email_settings": {"to": "astronomer@example.org"}},
        "mail": {"port": mailbox.port, "sender": "darc@example.org"},
    }
    with node(test_run, **sections) as made:
        made.environment["DARC_FAULT_POINTS"] = str(points)
        made.start()
        yield made


Make = Callable[..., MadeObservation]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write an observation with its data, that starts now unless told otherwise."""

    def write(**arguments: Any) -> MadeObservation:
        task_id = f"proc{next(_numbers):03d}"
        usual = {"start": time.time(), "duration": 600.0, "source": f"P{task_id}"}
        usual |= {"instances": 1, "n_tabs": 1}
        pulses = arguments.pop("pulses", PULSES)
        arguments["more"] = {"tsamp": TSAMP, **arguments.get("more", {})}
        made = write_observation(tmp_path / task_id, task_id=task_id, **(usual | arguments))
        write_beam(tmp_path / task_id / "output", pulses, cb=arguments.get("beam", 0))
        return made

    return write


def write_lines(observation: MadeObservation, pulses: Sequence[Detection], beam: int = 0) -> None:
    lines = [
        format_line(
            beam=pulse.beam,
            batch=0,
            sample=10**6,  # which does not agree with the time: that holds
            integration_step=pulse.downsampling,
            time=pulse.time,
            dm_id=1,
            dm=pulse.dm,
            snr=pulse.snr,
        )
        for pulse in pulses
    ]
    path = observation.amber_dir / trigger_name(beam, 1)
    with path.open("ab") as file:
        file.write((b"" if file.tell() else format_header()) + b"".join(lines))


def observe(of: Node, verb: str, observation: MadeObservation) -> None:
    # The master may just be killed.
    command = f"{verb}_observation", "--parset", str(observation.parset)
    wait_for(lambda: of.darc(*command).returncode == 0, what=verb)


def attribute(of: Node, name: str) -> Any:
    return of.value("processor", name)


def results(of: Node, observation: MadeObservation) -> Path:
    (found,) = (of.home / "results").glob(f"*/*P{observation.task_id}")
    return found


def summary(of: Node, observation: MadeObservation, beam: int = 0) -> ProcessingSummary | None:
    return read_summary(results(of, observation) / f"CB{beam:02d}_summary.yaml")


def about(of: Node, observation: MadeObservation) -> list[str]:
    mark = f"[{observation.task_id}]:"
    return [text for text in of.log("processor").splitlines() if mark in text]


def outcomes(of: Node, observation: MadeObservation) -> dict[str, list[str]]:
    """What was said to have become of each cluster, by DM."""
    found: dict[str, list[str]] = {}
    for text in about(of, observation):
        match = re.search(r": DM ([0-9.]+), .* beam 0: (kept|too weak|out of time|failed)", text)
        if match:
            found.setdefault(match[1], []).append(match[2])
    return found


def wait_done(of: Node, observation: MadeObservation) -> None:
    """Wait until the processor is done with an observation."""
    wait_for(lambda: any(text.endswith("]: done") for text in about(of, observation)))


def pool_processes(of: Node) -> list[psutil.Process]:
    try:
        children = psutil.Process(of.pid("processor")).children()
        return [one for one in children if "darc.candidates.pool_process" in one.cmdline()]
    except psutil.Error:  # one has just gone
        return []


def test_an_observation_from_start_to_summary(processing_node, mailbox, make):
    of, observation = processing_node, make()
    observe(of, "start", observation)
    write_lines(observation, PULSES[:2])
    # In real time: long before the observation ends.
    wait_for(lambda: len(outcomes(of, observation)) == 2)
    assert attribute(of, "processing").keys() == {observation.task_id}
    write_lines(observation, [*PULSES[2:], NOTHING, burst(5.0, snr=9.0)])
    observe(of, "stop", observation)
    wait_done(of, observation)
    assert summary(of, observation) == ProcessingSummary(6, 5, 4, 4)
    listed = read_triggers(results(of, observation) / "CB00_triggers.txt")
    assert {line.dm for line in listed} == {pulse.dm for pulse in PULSES}
    assert attribute(of, "fates")[observation.task_id] == {"kept": 4, "too weak": 1}
    assert attribute(of, "processing") == {}
    assert attribute(of, "clusters_waiting") == attribute(of, "clusters_in_work") == 0
    # A host that stands alone shows them, too, and tells people.
    shown = {path.suffix for path in (results(of, observation) / "CB00").iterdir()}
    assert shown == {".png", ".hdf5"}
    name = results(of, observation).relative_to(of.home / "results")
    page = of.home / "status" / "triggers_realtime" / name / "index.html"
    assert page.read_text().count(".png") >= 4
    (told,) = mailbox.wait_for(1, patience(30.0))
    assert told.message["Subject"].startswith("DARC results: 4 candidates: ")
    attached = [part.get_filename() for part in told.message.iter_attachments()]
    assert attached == ["CB00.pdf"]


@pytest.mark.parametrize(
    "point",
    [
        "processor.after taking",
        "processor.before committing",
        "processor.after committing",
        "processor.after a result",
        "pool process.before working",
        "pool process.after working",
        "darc_master.before replying processor",
    ],
)
def test_every_cluster_is_processed_once_whatever_dies(processing_node, points, make, point):
    of, observation = processing_node, make()
    observe(of, "start", observation)
    wait_for(lambda: about(of, observation))
    (points / point).touch()
    write_lines(observation, PULSES[:2])
    wait_for(lambda: not (points / point).exists(), what=point)
    write_lines(observation, [*PULSES[2:], NOTHING])
    observe(of, "stop", observation)
    wait_done(of, observation)
    assert summary(of, observation) == ProcessingSummary(5, 5, 4, 4)
    output = observation.parset.parent / "output" / "triggers_realtime"
    assert len(list((output / "data").glob("TOA*.hdf5"))) == 4
    assert len((output / "grouped_pulses.singlepulse").read_text().splitlines()) == 6


def test_kills_one_after_the_other(processing_node, make):
    of, observation = processing_node, make()
    observe(of, "start", observation)
    many = [burst(time + 0.1, dm=dm) for time in range(6) for dm in (60.0, 150.0, 600.0)]
    write_lines(observation, many)
    for victim in range(6):
        children = wait_for(lambda: pool_processes(of), what="a process that extracts")
        before = of.pid("processor")
        with contextlib.suppress(ProcessLookupError):
            os.kill(before if victim % 2 else children[0].pid, signal.SIGKILL)
        if victim % 2:
            wait_for(lambda before=before: of.pid("processor") not in (0, before))
    observe(of, "stop", observation)
    wait_done(of, observation)
    found = summary(of, observation)
    assert (found.ncand_raw, found.ncand_post_clustering) == (len(many), len(many))
    fates = attribute(of, "fates")[observation.task_id]
    assert sum(fates.values()) == len(many)
    assert "failed" not in fates, fates
    assert found.ncand_post_classifier == fates["kept"]
    assert not [path for path in results(of, observation).iterdir() if path.name[0] == "."]


def test_processes_end_with_the_service(processing_node, make):
    of, observation = processing_node, make()
    observe(of, "start", observation)
    write_lines(observation, PULSES)
    children = wait_for(lambda: pool_processes(of))
    of.darc("--service", "processor", "stop")
    wait_for(lambda: not any(child.is_running() for child in children))
    of.darc("--service", "processor", "start")
    observe(of, "abort", observation)
    wait_for(lambda: attribute(of, "processing") == {})


def test_an_abort_while_it_works(processing_node, make):
    of, observation = processing_node, make()
    observe(of, "start", observation)
    write_lines(observation, [burst(time / 2, dm=dm) for time in range(12) for dm in (60.0, 600.0)])
    for child in wait_for(lambda: pool_processes(of)):
        child.suspend()  # or all may be done before anybody looks
    wait_for(lambda: attribute(of, "clusters_in_work"))
    observe(of, "abort", observation)
    wait_for(lambda: attribute(of, "processing") == {})
    assert attribute(of, "clusters_in_work") == attribute(of, "clusters_waiting") == 0
    assert not list((of.home / "results").glob(f"*/*P{observation.task_id}"))


def test_observations_overlap(processing_node, make):
    of, both = processing_node, [make(), make(beam=3)]
    for observation in both:
        observe(of, "start", observation)
    for beam, observation in zip((0, 3), both, strict=True):
        write_lines(observation, PULSES, beam)
    for observation in both:
        observe(of, "stop", observation)
    for beam, observation in zip((0, 3), both, strict=True):
        wait_done(of, observation)
        assert summary(of, observation, beam) == ProcessingSummary(4, 4, 4, 4)


def test_an_observation_of_the_past(processing_node, make):
    of, observation = processing_node, make(start=time.time() - 7200, duration=8.0)
    write_lines(observation, [*PULSES, NOTHING])
    observe(of, "start", observation)
    wait_for(lambda: any("results are in" in text for text in about(of, observation)))
    assert summary(of, observation) == ProcessingSummary(5, 5, 4, 4)


def test_the_loop_beats_while_it_works(processing_node, make):
    of, observation = processing_node, make()
    observe(of, "start", observation)
    write_lines(observation, PULSES)
    states = set()

    def over() -> bool:
        states.add(of.states()["processor"])
        return len(outcomes(of, observation)) == 4

    wait_for(over)
    observe(of, "stop", observation)
    wait_done(of, observation)
    assert states == {"running"}
