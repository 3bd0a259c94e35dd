"""The life of observations on a real node: started, stopped, aborted, and nothing lost."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from amber_lines import line
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from nodes import Node, node, patience
from nodes import wait_for as wait_for_seconds

from darc.master.observation_life import Observations
from darc.master.observation_run import ObservationRun, RunState
from darc.model.observation import Observation
from darc.node.command_client import exchange_messages
from darc.node.node_config import load_config
from darc.node.read_observation import read_observation
from darc.queues.client import QueueClient, Queues
from darc.queues.messages import Order
from simulator.amber_files import format_header, trigger_name
from simulator.write_parsets import MadeObservation, write_observation

#: Others may be at work on the same cores.
wait_for = partial(wait_for_seconds, timeout=40.0)

HEADER = format_header()
REAL_TIME = ("amber_listener", "amber_clustering", "dada_trigger")
TAKING_PART = ("offline_processing", "processor", *REAL_TIME)
#: s, in which all services hear of it on a busy machine, too
SETUP_TIME = patience(1.0)
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def observing_node(test_run: str) -> Iterator[Node]:
    rules = {"interval": 0.2, "thresh_iquv": {"interval": 0}}
    master = {"setup_time": SETUP_TIME, "control_timeout": 30}
    with node(test_run, darc_master=master, amber_clustering=rules) as made:
        made.start()
        yield made


Make = Callable[..., MadeObservation]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write an observation that starts now, unless told otherwise."""

    def write(**arguments: Any) -> MadeObservation:
        task_id = f"obs{next(_numbers):03d}"
        usual = {"source": "BLANK", "start": time.time(), "duration": 600.0, "instances": 1}
        return write_observation(tmp_path / task_id, task_id=task_id, **(usual | arguments))

    return write


@pytest.fixture
def clean(observing_node: Node) -> Iterator[Node]:
    """The shared node; what a test leaves running is aborted, and all services run again."""
    yield observing_node
    observing_node.configure(darc_master={"mode": "mixed", "end_delay": 60})
    observing_node.ask("reload")
    for task_id in observations(observing_node):
        run = json.loads((observing_node.run_dir / "observations" / f"{task_id}.json").read_text())
        command(observing_node, "abort", run["observation"]["config_file"])
        observing_node.wait_until_over(task_id)
    observing_node.ask("--service", "all", "start")


def reply(of: Node, verb: str, file: Path | str, *options: str) -> dict[str, Any]:
    """The whole reply to <verb>_observation."""
    kind = "--config" if str(file).endswith((".yaml", ".yml")) else "--parset"
    return of.reply(*options, f"{verb}_observation", kind, str(file))


def command(of: Node, verb: str, file: Path | str, *options: str) -> Any:
    return reply(of, verb, file, *options)["message"]


def observations(of: Node) -> dict[str, str]:
    answer = of.ask("get_attr", "observations")
    states: dict[str, str] = json.loads(answer.split(" = ", 1)[1].replace("'", '"'))
    return states


def file_of(observation: MadeObservation) -> Path:
    return observation.amber_dir / trigger_name(0, 1)


def about(of: Node, service: str, observation: MadeObservation) -> list[str]:
    """A service's log lines about an observation."""
    mark = f"[{observation.task_id}]:"
    return [text for text in of.log(service).splitlines() if mark in text]


def knows(of: Node, service: str, observation: MadeObservation, what: str) -> bool:
    return any(what in text for text in about(of, service, observation))


def wait_known(of: Node, observation: MadeObservation, services: tuple[str, ...]) -> None:
    for service in services:
        wait_for(lambda name=service: knows(of, name, observation, "observation of"), what=service)


def wait_done(of: Node, observation: MadeObservation, services: tuple[str, ...]) -> None:
    for service in services:
        wait_for(lambda name=service: knows(of, name, observation, ": done"), what=service)


def queues(of: Node) -> Queues:
    key = (of.run_dir / "secret").read_bytes().strip()
    return Queues(QueueClient(of.run_dir / "queues.sock", key, "test"))


# -- start, stop, abort --------------------------------------------------------------------------


def test_a_start_is_answered_at_once_and_starts_what_does_not_run(clean: Node, make: Make) -> None:
    clean.ask("--service", "amber_clustering", "stop")
    clean.ask("--service", "processor", "stop")
    observation = make(start=time.time() + 3600)
    began = time.monotonic()
    answer = reply(clean, "start", observation.parset)
    assert time.monotonic() - began < patience(1.0)
    assert answer == {"status": "Success", "message": "Observation started"}
    assert observations(clean) == {observation.task_id: "pending"}
    wait_for(lambda: clean.states()["amber_clustering"] == "running")
    wait_for(lambda: clean.states()["processor"] == "running")


def test_services_get_it_their_setup_time_before_the_start(clean: Node, make: Make) -> None:
    observation = make(start=time.time() + SETUP_TIME + patience(2.0))
    command(clean, "start", observation.parset)
    wait_known(clean, observation, TAKING_PART)
    assert time.time() < observation.start
    assert observations(clean) == {observation.task_id: "running"}
    lines = about(clean, "darc_master", observation)
    begins = next(text for text in lines if "begins" in text)
    logged = datetime.strptime(begins[:23], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
    assert -0.01 <= logged.timestamp() - (observation.start - SETUP_TIME) < patience(0.5)


def test_those_that_take_no_part_hear_nothing(clean: Node, make: Make) -> None:
    observation = make()
    command(clean, "start", observation.parset)
    wait_known(clean, observation, TAKING_PART)
    for service in ("lofar_trigger", "voevent_generator", "status_website"):
        assert about(clean, service, observation) == []
        assert clean.ask("--service", service, "get_attr", "observations")[service].endswith(
            "observations': []}"
        )


def test_a_stop_lets_the_services_finish_what_is_there(clean: Node, make: Make) -> None:
    observation = make()
    command(clean, "start", observation.parset)
    wait_known(clean, observation, TAKING_PART)
    file_of(observation).write_bytes(HEADER + b"".join(map(line, range(50))))
    answer = reply(clean, "stop", observation.parset)
    assert answer == {"status": "Success", "message": "Stopped observation"}
    wait_done(clean, observation, (*REAL_TIME, "processor"))
    assert clean.counts("amber_listener", observation.task_id)["candidates"] == 50
    assert clean.counts("amber_clustering", observation.task_id)["clustered"] == 50
    # In mixed mode offline_processing goes on until an abort.
    assert not knows(clean, "offline_processing", observation, ": done")
    assert not knows(clean, "offline_processing", observation, "stopped")
    assert observations(clean) == {observation.task_id: "stopped"}
    again = reply(clean, "stop", observation.parset)
    assert again["status"] == "Warning"
    assert reply(clean, "abort", observation.parset)["status"] == "Success"
    wait_for(lambda: knows(clean, "offline_processing", observation, "aborted"))
    clean.wait_until_over(observation.task_id)


def test_an_abort_drops_what_is_there_everywhere(clean: Node, make: Make) -> None:
    observation = make()
    command(clean, "start", observation.parset)
    wait_known(clean, observation, TAKING_PART)
    assert command(clean, "abort", observation.parset) == "Aborted observation"
    clean.wait_until_over(observation.task_id)
    for service in TAKING_PART:
        assert knows(clean, service, observation, "aborted"), service
    assert reply(clean, "abort", observation.parset)["status"] == "Warning"
    assert not (clean.run_dir / "observations" / f"{observation.task_id}.json").exists()


@pytest.mark.parametrize("verb", ["stop", "abort"])
def test_what_is_pending_is_cancelled(clean: Node, make: Make, verb: str) -> None:
    observation = make(start=time.time() + SETUP_TIME + patience(2.0))
    command(clean, "start", observation.parset)
    assert reply(clean, verb, observation.parset)["status"] == "Success"
    assert observations(clean) == {}
    wait_for(lambda: time.time() > observation.start)
    for service in TAKING_PART:
        assert about(clean, service, observation) == []


def test_without_a_stop_it_is_ended_after_its_end(clean: Node, make: Make) -> None:
    clean.configure(darc_master={"end_delay": 0.3})
    clean.ask("reload")
    observation = make(duration=5.0)
    command(clean, "start", observation.parset)
    # In time on a busy machine, too.
    file_of(observation).write_bytes(HEADER + line(0))
    wait_known(clean, observation, TAKING_PART)
    wait_for(lambda: knows(clean, "darc_master", observation, "no stop came"))
    clean.wait_until_over(observation.task_id)
    assert clean.counts("amber_clustering", observation.task_id)["clustered"] == 1


# -- which services ------------------------------------------------------------------------------


def test_one_service_only_is_a_warning(clean: Node, make: Make) -> None:
    observation = make()
    answer = reply(clean, "start", observation.parset, "--service", "amber_listener")
    assert answer["status"] == "Warning"
    assert "amber_listener" in answer["message"]
    wait_known(clean, observation, ("amber_listener",))
    for service in ("amber_clustering", "processor", "offline_processing"):
        assert about(clean, service, observation) == []
    answer = reply(clean, "stop", observation.parset, "--service", "amber_listener")
    assert answer["status"] == "Warning"
    clean.wait_until_over(observation.task_id)


def test_a_stop_for_one_service_lets_it_finish(clean: Node, make: Make) -> None:
    observation = make()
    command(clean, "start", observation.parset)
    wait_known(clean, observation, TAKING_PART)
    file_of(observation).write_bytes(HEADER + b"".join(map(line, range(20))))
    answer = reply(clean, "stop", observation.parset, "--service", "amber_listener")
    assert answer["status"] == "Warning"
    wait_done(clean, observation, ("amber_listener", "amber_clustering"))
    assert clean.counts("amber_clustering", observation.task_id)["clustered"] == 20
    assert observations(clean) == {observation.task_id: "running"}
    assert reply(clean, "stop", observation.parset)["status"] == "Success"


def test_a_service_that_takes_no_part_cannot_be_started_for_one(clean: Node, make: Make) -> None:
    answer = reply(clean, "start", make().parset, "--service", "lofar_trigger")
    assert answer["status"] == "Error"
    assert "lofar_trigger" in answer["message"]["error"]


def test_in_the_past_only_the_slow_ones_are_started(clean: Node, make: Make) -> None:
    observation = make(start=time.time() - 100, duration=50.0)
    for service in ("amber_clustering", "processor"):
        clean.ask("--service", service, "stop")
    answer = reply(clean, "start", observation.parset)
    assert answer["status"] == "Warning"
    assert "offline_processing and processor" in answer["message"]
    wait_known(clean, observation, ("offline_processing", "processor"))
    assert clean.states()["amber_clustering"] == "stopped"
    for service in REAL_TIME:
        assert about(clean, service, observation) == []


def test_not_to_be_processed_means_not_started(clean: Node, make: Make) -> None:
    observation = make(more={"proctrigger": False})
    answer = reply(clean, "start", observation.parset)
    message = "Process triggers disabled - not starting"
    assert answer == {"status": "Success", "message": message}
    assert observations(clean) == {}


def test_in_offline_mode_a_stop_is_ignored(clean: Node, make: Make) -> None:
    clean.configure(darc_master={"mode": "offline"})
    clean.ask("reload")
    observation = make()
    command(clean, "start", observation.parset)
    wait_known(clean, observation, ("offline_processing",))
    answer = reply(clean, "stop", observation.parset)
    message = "Ignoring stop in offline processing mode"
    assert answer == {"status": "Success", "message": message}
    assert observations(clean) == {observation.task_id: "running"}
    assert not knows(clean, "offline_processing", observation, "stopped")


# -- several -------------------------------------------------------------------------------------


def test_two_overlap_and_stay_apart(clean: Node, make: Make) -> None:
    first, second = make(), make()
    for observation in (first, second):
        assert command(clean, "start", observation.parset) == "Observation started"
    for observation, lines in ((first, 30), (second, 7)):
        wait_known(clean, observation, TAKING_PART)
        file_of(observation).write_bytes(HEADER + b"".join(map(line, range(lines))))
    assert set(observations(clean)) == {first.task_id, second.task_id}
    command(clean, "stop", first.parset)
    wait_done(clean, first, REAL_TIME)
    with file_of(second).open("ab") as file:
        file.write(line(7))
    command(clean, "stop", second.parset)
    wait_done(clean, second, REAL_TIME)
    assert clean.counts("amber_clustering", first.task_id)["clustered"] == 30
    assert clean.counts("amber_clustering", second.task_id)["clustered"] == 8


def test_the_same_one_twice_is_refused(clean: Node, make: Make) -> None:
    observation = make()
    command(clean, "start", observation.parset)
    answer = reply(clean, "start", observation.parset)
    assert answer["status"] == "Error"
    assert observation.task_id in answer["message"]["error"]
    assert "already" in answer["message"]["error"]


# -- payloads ------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["start", "stop", "abort"])
def test_payloads_that_cannot_be_used(clean: Node, tmp_path: Path, verb: str) -> None:
    assert command(clean, verb, tmp_path / "none.parset") == "Failed: config file not found"
    text = tmp_path / "node.txt"
    text.write_text("taskid = 1\n")
    assert command(clean, verb, text) == "Failed: unknown config file type"
    empty = tmp_path / "empty.parset"
    empty.write_text("beam = 0\n")
    message = command(clean, verb, empty)["error"]
    assert str(empty) in message
    for key in ("taskid", "startpacket", "duration", "datetimesource", "amber_dir"):
        assert key in message, key


def test_a_payload_is_needed(clean: Node) -> None:
    request = {"command": "start_observation"}
    secret = clean.run_dir / "secret"
    answer = exchange_messages("127.0.0.1", clean.port, request, patience(5.0), secret)
    assert answer == {"status": "Error", "message": {"error": "Payload missing"}}


def test_a_wrong_value_is_named_with_file_line_and_key(clean: Node, make: Make) -> None:
    observation = make(more={"duration": "long"})
    message = command(clean, "start", observation.parset)["error"]
    lines = observation.parset.read_text().splitlines()
    number = next(n for n, text in enumerate(lines, 1) if text.startswith("duration"))
    assert f"{observation.parset}:{number}: duration" in message


def test_a_copy_of_the_configuration_is_kept(clean: Node, make: Make) -> None:
    observation = make(source="FRB180916")
    command(clean, "start", observation.parset)
    copies = list((clean.home / "parsets").glob(f"*.FRB180916/{observation.parset.name}"))
    assert [copy.read_text() for copy in copies] == [observation.parset.read_text()]
    assert copies[0].parent.name in observation.parset.read_text()


def test_every_line_about_an_observation_carries_its_id(clean: Node, make: Make) -> None:
    observation = make()
    before = {name: len(clean.log(name)) for name in ("darc_master", *TAKING_PART)}
    command(clean, "start", observation.parset)
    wait_known(clean, observation, TAKING_PART)
    file_of(observation).write_bytes(HEADER + line(1, snr=40.0) + b"bad\n")
    command(clean, "stop", observation.parset)
    wait_done(clean, observation, (*REAL_TIME, "processor"))
    command(clean, "abort", observation.parset)
    clean.wait_until_over(observation.task_id)
    words = ("bservation", "trigger", "lines", "IQUV", "LOFAR", ".trigger", "clustered")
    for name, length in before.items():
        new = clean.log(name)[length:].splitlines()
        # The node's own start may be written to the log after its answer.
        concerned = [
            text
            for text in new
            if any(word in text for word in words) and "darc_master: start all from" not in text
        ]
        assert [text for text in concerned if f"[{observation.task_id}]" not in text] == []
        if name in REAL_TIME[:2]:
            assert concerned


# -- deaths --------------------------------------------------------------------------------------


def test_it_goes_on_when_the_master_is_killed(clean: Node, make: Make) -> None:
    running, pending = make(), make(start=time.time() + 3600)
    command(clean, "start", running.parset)
    command(clean, "start", pending.parset)
    wait_known(clean, running, TAKING_PART)
    with file_of(running).open("ab", buffering=0) as file:
        file.write(HEADER + b"".join(map(line, range(40))))
        wait_for(lambda: clean.counts("amber_listener", running.task_id).get("candidates") == 40)
        before = clean.pid("darc_master")
        os.kill(before, signal.SIGKILL)
        file.write(b"".join(map(line, range(40, 80))))
        wait_for(lambda: clean.pid("darc_master") not in (0, before))
        file.write(b"".join(map(line, range(80, 100))))
    wait_for(clean.answers)
    assert observations(clean) == {running.task_id: "running", pending.task_id: "pending"}
    wait_for(lambda: clean.states()["amber_listener"] == "running")
    assert command(clean, "stop", running.parset) == "Stopped observation"
    wait_done(clean, running, (*REAL_TIME, "processor"))
    counts = clean.counts("amber_listener", running.task_id)
    assert counts == {"lines": 101, "headers": 1, "candidates": 100}
    assert clean.counts("amber_clustering", running.task_id)["clustered"] == 100


def test_clustering_killed_while_windows_are_open_loses_and_doubles_nothing(
    clean: Node, make: Make
) -> None:
    observation = make()
    command(clean, "start", observation.parset)
    wait_known(clean, observation, TAKING_PART)
    with file_of(observation).open("ab", buffering=0) as file:
        file.write(HEADER)
        for number in range(60):
            file.write(line(number, snr=15.0))
            if number % 20 == 10:
                wait_for(
                    lambda least=number: (
                        clean.counts("amber_listener", observation.task_id).get("candidates", 0)
                        >= least
                    )
                )
                before = clean.pid("amber_clustering")
                os.kill(before, signal.SIGKILL)
                wait_for(lambda pid=before: clean.pid("amber_clustering") not in (0, pid))
    command(clean, "stop", observation.parset)
    wait_done(clean, observation, REAL_TIME)
    counts = clean.counts("amber_clustering", observation.task_id)
    assert counts["candidates"] == counts["clustered"] == 60
    mark = f"]: trigger {observation.task_id}/"
    received = [text for text in clean.log("dada_trigger").splitlines() if mark in text]
    identities = {text.split(mark)[1].split(":")[0] for text in received}
    assert len(identities) == len(received) == 60


def test_only_what_ended_observations_left_is_cleared(clean: Node, make: Make) -> None:
    """And never what waits for the processor."""
    for service in ("amber_clustering", "processor"):
        assert clean.ask("--service", service, "stop") == {service: "stopped"}
    ended, alive, next_one = make(), make(), make()
    # Without the services of a start, the queues stay full.
    for observation in (ended, alive):
        command(clean, "start", observation.parset, "--service", "amber_listener")
        wait_known(clean, observation, ("amber_listener",))
        file_of(observation).write_bytes(HEADER + line(1))
        wait_for(
            lambda task_id=observation.task_id: clean.counts("amber_listener", task_id).get(
                "candidates"
            )
        )
    command(clean, "abort", ended.parset)
    clean.wait_until_over(ended.task_id)

    def depths() -> dict[str, int]:
        return {depth.queue: depth.entries for depth in queues(clean).depths()}

    assert depths()["amber_clustering"] >= 2
    assert depths()["processor"] == 2
    # A start for one service only clears nothing.
    one = make()
    command(clean, "start", one.parset, "--service", "dada_trigger")
    wait_known(clean, one, ("dada_trigger",))
    assert "cleared" not in clean.log("darc_master")
    command(clean, "start", next_one.parset, "--service", "all")
    wait_for(lambda: "cleared" in clean.log("darc_master"))
    cleared = [text for text in clean.log("darc_master").splitlines() if "cleared" in text]
    assert len(cleared) == 1
    assert f"ended observation {ended.task_id} cleared from amber_clustering" in cleared[0]
    # What belongs to the living one, and the processor's of both, is worked on now.
    wait_for(lambda: f"[{alive.task_id}]" in clean.log("amber_clustering"))
    wait_for(lambda: depths().get("processor", 0) == 0)
    assert clean.ask("--service", "processor", "get_attr", "candidates_received")[
        "processor"
    ].endswith(": 2}")


# -- what must not hold up an observation (the master's own part, without a node) ------------------


class Told:
    """Collects the orders that are given; its hooks may fail."""

    def __init__(self) -> None:
        self.orders: dict[str, list[Order]] = {}
        self.ever: set[str] = set()  # services that had orders
        self.over: list[str] = []

    def give(self, orders: dict[str, list[Order]]) -> None:
        self.orders = orders
        self.ever |= orders.keys()

    def begin(self, run: ObservationRun) -> None:
        raise RuntimeError("the journal is full")

    def ended(self, run: ObservationRun) -> None:
        self.over.append(run.observation.task_id)
        raise RuntimeError("the journal is full")


@pytest.mark.parametrize("directory", ["there", "gone"])
def test_a_failing_disk_or_journal_stops_no_observation(
    tmp_path: Path, make: Make, directory: str
) -> None:
    told = Told()
    kept = tmp_path / "observations"
    observations = Observations(kept, 0.0, 0.2, told.give, told.begin, told.ended)
    observations.start_thread()
    if directory == "gone":
        kept.rmdir()
    instrument = load_config(empty_config(tmp_path)).instrument
    for number in (1, 2):
        observation = read_observation(make(duration=0.1).parset, instrument)
        told.ever.clear()
        assert observations.add(ObservationRun(observation, ("amber_listener",)))
        wait_for(lambda: "amber_listener" in told.ever)
        wait_for(lambda many=number: len(told.over) == many)
        wait_for(lambda: observations.runs() == [])


@pytest.mark.parametrize("services", [("processor",), ("offline_processing", "processor")])
def test_without_a_stop_a_node_without_listener_stops_an_observation_too(
    tmp_path: Path, make: Make, services: tuple[str, ...]
) -> None:
    """On a master node nobody but those that take their time works on an observation."""
    told = Told()
    observations = Observations(tmp_path / "kept", 0.0, 0.1, told.give, told.begin, told.ended)
    observations.start_thread()
    instrument = load_config(empty_config(tmp_path)).instrument
    observation = read_observation(make(duration=0.1).parset, instrument)
    assert observations.add(ObservationRun(observation, services))
    wait_for(lambda: {order.state for order in told.orders.get("processor", [])} == {"stopped"})


def test_no_observation_is_over_by_time_alone_while_the_journal_is_full(
    tmp_path: Path, make: Make
) -> None:
    told = Told()
    full = [True]
    observations = Observations(
        tmp_path / "kept", 0.0, 0.1, told.give, told.begin, told.ended, lambda: full[0]
    )
    observations.start_thread()
    instrument = load_config(empty_config(tmp_path)).instrument
    observation = read_observation(make(duration=0.1).parset, instrument)
    assert observations.add(ObservationRun(observation, ("amber_listener",)))
    wait_for(lambda: observations.runs()[0].state == "stopped")
    ended = observations.runs()[0].ended_at
    assert ended
    wait_for(lambda: ended.age() > 0.3)
    assert told.over == []
    full[0] = False
    wait_for(lambda: told.over == [observation.task_id])


def empty_config(directory: Path) -> Path:
    path = directory / "config.yaml"
    path.write_text("")
    return path


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Observation:
    directory = tmp_path_factory.mktemp("example")
    made = write_observation(
        directory, task_id="example", source="BLANK", start=time.time(), duration=600.0
    )
    return read_observation(made.parset, load_config(empty_config(directory)).instrument)


services_of_runs = st.sampled_from([("amber_listener",), ("amber_listener", "processor")])
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["add", "stop", "abort", "stop one", "finished", "restart", "start", "leave stopped"]
        ),
        st.sampled_from(["a", "b"]),
        services_of_runs,
    ),
    max_size=15,
)


@given(steps)
@settings(deadline=None, max_examples=100)
def test_what_services_are_told_survives_the_master(
    tmp_path_factory: pytest.TempPathFactory,
    example: Observation,
    made: list[tuple[str, str, tuple[str, ...]]],
) -> None:
    """A master started anew gives the very orders that the one before it gave last.

    And it starts the services that the one before it had still to start.
    """
    directory = tmp_path_factory.mktemp("runs")
    told: dict[str, list[Order]] = {}

    def give(orders: dict[str, list[Order]]) -> None:
        told.clear()
        told.update(orders)

    def new() -> Observations:
        return Observations(directory, 0.0, 60.0, give, lambda run: None, lambda run: None)

    def plain() -> dict[str, list[Any]]:
        return {
            name: sorted([order.observation["task_id"], str(order.state)] for order in orders)
            for name, orders in told.items()
        }

    observations = new()
    for what, task_id, services in made:
        if what == "add":
            run = ObservationRun(replace(example, task_id=task_id), services, RunState.RUNNING)
            observations.add(run)
        elif what == "stop one":
            observations.end(task_id, RunState.STOPPED, services[:1])
        elif what in ("stop", "abort"):
            observations.end(task_id, RunState.STOPPED if what == "stop" else RunState.ABORTED)
        elif what == "start":
            observations.starts.start_missing()
        elif what == "leave stopped":
            observations.starts.leave_stopped(services[:1])
        elif what == "finished":
            observations.finished(services[0], task_id)
        else:
            observations = new()
        before, after = plain(), new()
        lacking = [
            {run.observation.task_id: run.to_start for run in of.runs()}
            for of in (observations, after)
        ]
        assert lacking[0] == lacking[1]
        # Whatever it changes, it gives all orders; what concerns no service changes none.
        nobodys = replace(example, task_id="nobody's")
        after.add(ObservationRun(nobodys, (), RunState.RUNNING))
        assert plain() == before
        (directory / f"{nobodys.task_id}.json").unlink()
