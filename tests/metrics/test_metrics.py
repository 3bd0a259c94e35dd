"""What real nodes tell Prometheus, over HTTP."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import time
import urllib.error
from collections.abc import Callable
from functools import partial

from nodes import Node, free_port, only, patience
from nodes import wait_for as wait_for_seconds
from scrapes import TAKERS, TASK_ID, Scrape, is_served, port_of, scrape

from darc.model.latency import EDGES

#: Others may be at work on the same cores.
wait_for = partial(wait_for_seconds, timeout=40.0)

SERVICES = {
    *("offline_processing", "status_website", "voevent_generator", "lofar_trigger", "processor"),
    *("amber_listener", "amber_clustering", "dada_trigger"),
}


def when(node: Node, condition: Callable[[Scrape], object]) -> Scrape:
    """Ask until what is told fulfils a condition."""
    told: list[Scrape] = []

    def fulfils() -> object:
        told[:] = [scrape(node)]
        return condition(told[0])

    wait_for(fulfils, what="metrics")
    return told[0]


def attribute(node: Node, service: str, name: str) -> str:
    answer = node.ask("--service", service, "get_attr", name)[service]
    return str(answer).split(": ", 1)[1][:-1]


def test_all_that_was_counted_is_told_as_get_attr_tells_it(observed: Node) -> None:
    listened = observed.counts("amber_listener", TASK_ID)
    clustered = observed.counts("amber_clustering", TASK_ID)
    # What is told was asked a moment ago, of each service for itself.
    told = when(
        observed,
        lambda now: (
            now("darc_amber_lines_total") == listened["lines"]
            and now("darc_clustering_windows_total") == clustered["windows"]
            and all(
                sum(now.find("darc_trigger_outcomes_total", service=service).values())
                == clustered[f"{kind} triggers"]
                for service, kind in TAKERS.items()
            )
        ),
    )
    assert told("darc_amber_candidates_total") == listened["candidates"] > 0
    assert told("darc_amber_headers_total") == listened["headers"] == 3
    rejected = {
        f"rejected: {dict(labels)['reason']}": number
        for labels, number in told.find("darc_amber_lines_rejected_total").items()
    }
    assert rejected == {
        reason: number for reason, number in listened.items() if reason.startswith("rejected: ")
    }
    assert sum(rejected.values()) == 1
    assert told("darc_clustering_windows_total") == clustered["windows"]
    assert told("darc_clustering_clusters_total") == clustered["clusters"]
    assert told("darc_triggers_total", kind="iquv") == clustered["iquv triggers"]
    assert told("darc_triggers_total", kind="lofar") == clustered["lofar triggers"] > 0
    held_back = clustered.get("IQUV triggers held back", 0)
    assert told("darc_triggers_held_back_total", kind="iquv") == held_back
    received = told("darc_triggers_received_total", service="lofar_trigger")
    assert received == int(attribute(observed, "lofar_trigger", "triggers_received"))
    for service in TAKERS:
        outcomes = json.loads(attribute(observed, service, "outcomes").replace("'", '"'))
        assert outcomes
        assert {
            dict(labels)["outcome"]: number
            for labels, number in told.find("darc_trigger_outcomes_total", service=service).items()
        } == outcomes
    latency = json.loads(attribute(observed, "lofar_trigger", "latency").replace("'", '"'))
    for stage, figures in latency.items():
        labels = {"service": "lofar_trigger", "stage": stage}
        assert told("darc_trigger_latency_seconds_count", **labels) == figures["n"]
        inside = told("darc_trigger_latency_seconds_bucket", le="+Inf", **labels)
        assert inside == figures["n"]
        total = told("darc_trigger_latency_seconds_sum", **labels)
        assert total <= figures["n"] * max(0.0, figures["max"]) / 1e3 + 1e-3
        buckets = told.find("darc_trigger_latency_seconds_bucket", **labels)
        assert len(buckets) == len(EDGES) + 1
        below = [
            float(number)
            for _, number in sorted((float(dict(key)["le"]), of) for key, of in buckets.items())
        ]
        assert below == sorted(below)
    assert told("darc_observations", state="running") == 1


def test_services_disks_and_queues(observed: Node) -> None:
    told = when(
        observed, lambda now: now("darc_service_cpu_seconds_total", service="processor") > 0
    )
    up = told.find("darc_service_up")
    assert {dict(labels)["service"] for labels in up} == SERVICES | {"darc_master"}
    assert set(up.values()) == {1.0}
    for service in SERVICES:
        states = told.find("darc_service_state", service=service)
        assert sum(states.values()) == 1
        assert told("darc_service_state", service=service, state="running") == 1
        assert told("darc_service_restarts_total", service=service) >= 0
        assert told("darc_service_resident_memory_bytes", service=service) > 2**20
        assert told("darc_log_lines_dropped_total", service=service) == 0
        assert told("darc_queue_entries", queue=service) >= 0
        since = told("darc_service_since_timestamp_seconds", service=service)
        assert 0 < since <= told("darc_clock_seconds")
    for disk in ("run_dir", "home", "log_dir"):
        assert 0 < told("darc_disk_free_bytes", disk=disk) < told("darc_disk_size_bytes", disk=disk)
    assert told("darc_journal_full") == 0
    assert 0 < told("darc_journal_size_bytes") < told("darc_journal_max_bytes")
    assert told("darc_supervisord_up") == 1
    info = dict(next(iter(told.find("darc_node_info"))))
    assert info["role"] == "standalone"
    assert info["version"] == observed.ask("get_attr", "version").partition(" = ")[2]


def test_labels_are_few_and_bounded(observed: Node) -> None:
    told = scrape(observed)
    names = {label for one in told.series for label, _ in one.labels}
    assert names <= {
        *("service", "state", "queue", "disk", "port", "what", "reason", "kind", "outcome"),
        *("stage", "le", "event", "version", "hostname", "role", "mode", "master"),
    }
    assert TASK_ID not in told.text
    assert "BLANK" not in told.text
    assert len(told.series) < 1200
    assert all(family.documentation for family in told.families.values())
    assert all(name.startswith("darc_") for name in told.families)


def test_a_worker_says_that_it_cannot_hand_in(worker: Node) -> None:
    told = when(worker, lambda now: now.find("darc_handover_reached"))
    for service in ("lofar_trigger", "voevent_generator"):
        assert told("darc_handover_reached", service=service) == 0
        assert told("darc_handover_waiting", service=service) == 0
        assert told("darc_queue_entries", queue=service) == 0


def test_counters_fall_only_with_a_new_process(observed: Node) -> None:
    """As Prometheus expects of them; what is kept over processes goes on."""
    before = scrape(observed)
    pid = observed.pid("lofar_trigger")
    os.kill(pid, signal.SIGKILL)
    after = when(
        observed,
        lambda now: (
            now("darc_service_restarts_total", service="lofar_trigger")
            > before("darc_service_restarts_total", service="lofar_trigger")
            and now("darc_service_up", service="lofar_trigger") == 1
            and now("darc_triggers_received_total", service="lofar_trigger") == 0
        ),
    )
    deaths = "darc_service_deaths_total"
    assert after(deaths, service="lofar_trigger") == before(deaths, service="lofar_trigger") + 1
    now = after.counters()
    for (name, labels), number in before.counters().items():
        fell = now.get((name, labels), 0.0) < number
        assert not fell or dict(labels)["service"] == "lofar_trigger", (name, labels)
    outcome = {"service": "lofar_trigger", "outcome": "sent"}
    kept = before("darc_trigger_outcomes_total", **outcome)
    assert after("darc_trigger_outcomes_total", **outcome) == kept > 0


def is_told(node: Node) -> bool:
    try:
        scrape(node, timeout=0.5)
    except (TimeoutError, urllib.error.URLError):
        return False
    return True


def test_a_master_that_stands_still_holds_nobody_up(observed: Node) -> None:
    """A client waits as long as it likes, and afterwards all is as before."""
    pid = observed.pid("darc_master")
    scrape(observed)
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: not is_told(observed))
    finally:
        os.kill(pid, signal.SIGCONT)
    when(observed, lambda now: now("darc_service_up", service="darc_master") == 1)
    assert observed.pid("darc_master") == pid


def test_clients_that_never_read_hold_up_no_command(observed: Node) -> None:
    """Nor other clients, once they were cut off."""
    clients = [socket.create_connection(("127.0.0.1", port_of(observed))) for _ in range(12)]
    for client in clients:
        client.sendall(b"GET /metrics HTTP/1.1\r\n")  # and never the end of it
    assert TASK_ID in observed.ask("get_attr", "observations")
    for client in clients:
        client.settimeout(patience(30.0))
        try:
            while client.recv(2**16):
                pass
        except ConnectionResetError:
            pass  # one of those that found no place
        client.close()
    told = scrape(observed)
    assert told("darc_refused_connections_total", port="metrics") >= 4


def test_a_port_that_is_taken_is_said_and_tried_again(
    make_node: Callable[..., Node],
) -> None:
    services = only("status_website")
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        made = make_node(metrics={"port": port}, darc_master=services)
        made.start()
        wait_for(lambda: f"metrics are not served at 127.0.0.1:{port}" in made.log("darc_monitor"))
        assert made.states() == {"status_website": "running"}
    assert made.darc("reload").returncode == 0
    wait_for(lambda: is_served(port))
    assert scrape(made)("darc_supervisord_up") == 1
    elsewhere = free_port()
    made.configure(metrics={"port": elsewhere})
    assert made.darc("reload").returncode == 0
    wait_for(lambda: is_served(elsewhere) and not is_served(port))
    made.configure(metrics={"port": None})
    assert made.darc("reload").returncode == 0
    wait_for(lambda: not is_served(elsewhere))


def test_latency_is_told_since_the_start(observed: Node) -> None:
    """Of triggers that left now: less than since they were written."""
    count = "darc_trigger_latency_seconds_count"
    # darc_monitor may have asked dada_trigger before the first one left.
    wait_for(lambda: scrape(observed).find(count, service="dada_trigger"))
    told = scrape(observed)
    stages = {dict(labels)["stage"] for labels in told.find(count, service="dada_trigger")}
    assert {"read", "queued", "closed", "clustered", "decided", "taken", "sent"} <= stages
    assert not math.isnan(
        told("darc_trigger_latency_seconds_sum", service="dada_trigger", stage="line to sent")
    )
    assert time.time() - told("darc_clock_seconds") < 60.0
