"""How nodes are shown: verdicts, tables, observations, times."""

from __future__ import annotations

import made_up
import pytest
from made_up import MASTER, NOW, ON_WORKERS, cluster, node, service, silent
from msgspec.structs import replace

from darc.model.overview import ObservationOverview, StageLatency
from darc.model.service_state import ServiceState
from darc.monitor.cluster_watch import NodeStatus
from darc.monitor.page.page_view import (
    groups,
    node_rows,
    observations,
    stage_names,
    times,
    verdict_of,
)
from darc.monitor.problems import find_problems


def row(status: NodeStatus) -> tuple[str, str]:
    found = node_rows(cluster(status))[status.name]
    return found.verdict, found.summary


@pytest.mark.parametrize(
    ("states", "verdict"),
    [
        (("running", "running"), "good"),
        (("running", "starting"), "changing"),
        (("running", "stopped"), "bad"),
        (("unresponsive",), "bad"),
        (("failed",), "bad"),
        (("stopping",), "changing"),
        (("starting", "failed"), "bad"),
    ],
)
def test_a_node_is_green_when_all_its_services_run(states: tuple[str, ...], verdict: str) -> None:
    services = [service(f"service{number}", state) for number, state in enumerate(states)]
    assert row(node("arts001", *services))[0] == verdict


def test_a_node_with_something_grave_is_not_green() -> None:
    """Whatever its services do: a full journal takes nothing in."""
    full = cluster(node("arts001", journal_full=True))
    found = node_rows(full, find_problems(full, made_up.CONTEXT))["arts001"]
    assert found.verdict == "bad"
    assert found.summary == "5 running, the journal is full, nothing new is taken in"
    old = cluster(node("arts001", version="0.0.1"))  # to be looked at
    assert node_rows(old, find_problems(old, made_up.CONTEXT))["arts001"].verdict == "good"


def test_services_are_counted_and_not_nodes() -> None:
    lame = [service(name, "failed" if name == "processor" else "running") for name in ON_WORKERS]
    four = cluster(node(MASTER), node("arts001", *lame), node("arts002", *lame), silent("a3", "no"))
    _, workers = groups(four, node_rows(four), MASTER)
    assert workers.count == "8 of 10 services run, 1 of 3 nodes not heard of"


def test_a_node_that_cannot_be_reached_is_grey() -> None:
    assert row(silent("arts001", "Connection refused")) == ("unknown", "no answer")
    was_well = replace(node("arts001"), reached=False, reason="no answer within 10 s")
    assert row(was_well) == ("unknown", "no answer")
    assert row(NodeStatus("arts001", asked=False)) == ("unknown", "not asked yet")


def test_green_is_running_alone() -> None:
    greens = [state for state in ServiceState if verdict_of(state) == "good"]
    assert greens == [ServiceState.RUNNING]


def test_what_is_on_its_way_is_in_between_unless_it_died() -> None:
    assert verdict_of("starting") == verdict_of("stopping") == "changing"
    assert verdict_of("starting", service("processor", "starting", deaths=1)) == "bad"
    # a start that was asked for, of one that had died before
    again = service("processor", "starting", deaths=1, how="")
    assert verdict_of("starting", again) == "changing"


def test_one_that_died_a_moment_ago_is_not_green_yet() -> None:
    back = node("arts001", service("processor", "running", died=NOW - 1.0, deaths=1))
    assert row(back)[0] == "bad"
    cells = node_rows(cluster(back))["arts001"].cells
    assert [cell.state for cell in cells if cell] == ["died"]
    # and is green again without another word from its node
    later = node_rows(cluster(back, now=NOW + 10.0))["arts001"]
    assert later.verdict == "good"


def test_a_node_of_another_version_shows_its_states() -> None:
    told = NodeStatus("arts001", None, {"processor": "running"}, "no overview", reached=True)
    assert row(told) == ("good", "1 running")
    assert row(replace(told, states={"processor": "failed"}))[0] == "bad"
    assert row(replace(told, states={})) == ("unknown", "cannot be read")


def test_nodes_of_a_role_share_columns() -> None:
    counter = node("arts002", *made_up.ON_WORKERS, "trigger_counter")
    all_nodes = cluster(node(MASTER, "lofar_trigger"), node("arts001"), counter)
    master, workers = groups(all_nodes, node_rows(all_nodes), MASTER)
    assert (master.title, master.services) == ("Master node", ("lofar_trigger",))
    assert workers.services == (*made_up.ON_WORKERS, "trigger_counter")
    first, second = workers.tables[0].rows
    assert first.cells[-1] is None
    assert second.cells[-1] is not None
    assert workers.count == "11 of 11 services run"


def test_the_role_is_the_one_configured_here() -> None:
    """What a node takes itself for may be the problem."""
    mistaken = node("arts001", "lofar_trigger", role="master", master="arts001")
    all_nodes = cluster(node(MASTER, "lofar_trigger"), mistaken)
    found = groups(all_nodes, node_rows(all_nodes), MASTER)
    assert [(one.title, len(one.tables[0].rows)) for one in found] == [
        ("Master node", 1),
        ("Workers", 1),
    ]


def test_many_workers_are_two_tables() -> None:
    all_nodes = made_up.healthy()
    _, workers = groups(all_nodes, node_rows(all_nodes), MASTER)
    assert [len(table.rows) for table in workers.tables] == [20, 20]
    names = [row.name for table in workers.tables for row in table.rows]
    assert names == made_up.workers()
    assert workers.tables[1].title == "Workers arts021 to arts040"


def test_observations_of_all_nodes_are_one() -> None:
    def seen(state: str, *waits_for: str) -> ObservationOverview:
        return ObservationOverview("190518009", "R3", state, NOW - 9, NOW + 9, waits_for)

    all_nodes = cluster(
        node("arts001", observations=(seen("running"),)),
        node("arts002", observations=(seen("running"),)),
        node("arts003", observations=(seen("in processing", "processor"),)),
        replace(node("arts004", observations=(seen("running"),)), reached=False),
    )
    (one,) = observations(all_nodes)
    assert (one.state, one.nodes) == ("running", 3)
    assert one.others == "in processing on arts003"
    assert one.waits_for == "processor on arts003"


def test_running_comes_before_pending_before_in_processing() -> None:
    all_nodes = made_up.troubled()
    assert [one.state for one in observations(all_nodes)] == [
        *("running", "pending", "in processing")
    ]


def test_times_over_all_nodes() -> None:
    def with_stage(name: str, n: int, median: float, p99: float) -> NodeStatus:
        told = (StageLatency("sent", n, median, p99, p99 + 1),)
        return node(name, service("dada_trigger", latency=told, outcomes={"sent": n}))

    slow, fast = with_stage("arts001", 1, 9.0, 30.0), with_stage("arts002", 3, 1.0, 2.0)
    (found,) = times(cluster(slow, fast))
    assert found.stages["sent"] == StageLatency("sent", 4, 3.0, 30.0, 31.0)
    assert (found.n, found.outcomes) == (4, {"sent": 4})
    assert stage_names([found]) == ("sent",)
    assert times(made_up.healthy()) == ()
