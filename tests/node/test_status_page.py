"""The status page of a cluster, on a real master node whose workers do not all answer."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from functools import partial

import pytest
from nodes import Node, node
from nodes import wait_for as wait_for_seconds

#: Others may be at work on the same cores.
wait_for = partial(wait_for_seconds, timeout=40.0)

SILENT = tuple(f"127.0.0.{number}" for number in range(2, 8))
NOWHERE = "no-such-host.invalid"
_SECTION = re.compile(
    r'<section class="node (\w+)" aria-label="([^":]+): ([^"]+)">(.*?)</section>', re.S
)


@pytest.fixture(scope="module")
def master(test_run: str) -> Iterator[Node]:
    """A master node with workers that take connections and say nothing, and one that is nowhere."""
    with node(
        test_run,
        darc_master={"control_timeout": 30},
        cluster={"master": "testnode", "workers": [*SILENT, NOWHERE]},
        control={"bind": "127.0.0.1"},
        status_website={"timeout": 1.0, "interval": 0.5},
    ) as made:
        servers = [socket.create_server((host, made.port)) for host in SILENT]
        made.start()
        yield made
        for server in servers:
            server.close()


def page(of: Node) -> str:
    path = of.home / "status" / "index.html"
    return path.read_text() if path.exists() else ""


def verdicts(of: Node) -> dict[str, str]:
    return {host: verdict for verdict, host, _, _ in _SECTION.findall(page(of))}


def test_every_node_of_the_cluster_is_shown(master: Node) -> None:
    wait_for(lambda: set(verdicts(master)) == {"testnode", *SILENT, NOWHERE})


def test_a_node_is_green_when_all_its_services_run_and_red_when_not(master: Node) -> None:
    wait_for(lambda: verdicts(master).get("testnode") == "good")
    assert master.ask("--service", "lofar_trigger", "stop") == {"lofar_trigger": "stopped"}

    def rows_of_node() -> dict[str, str]:
        body = next(
            body for _, host, _, body in _SECTION.findall(page(master)) if host == "testnode"
        )
        return dict(re.findall(r'<th scope="row">([^<]+)</th><td>([^<]+)</td>', body))

    wait_for(lambda: rows_of_node()["LOFAR triggering"] == "stopped")
    assert verdicts(master)["testnode"] == "bad"
    rows = rows_of_node()
    assert rows.pop("LOFAR triggering") == "stopped"
    assert set(rows.values()) == {"running"}
    assert len(rows) == 4
    master.ask("--service", "lofar_trigger", "start")
    wait_for(lambda: verdicts(master)["testnode"] == "good")


def test_a_node_that_cannot_be_reached_is_grey_with_the_reason(master: Node) -> None:
    wait_for(lambda: verdicts(master).get(NOWHERE) == "unknown")
    assert {verdicts(master)[host] for host in SILENT} == {"unknown"}
    assert re.search(r"\.node\.unknown { border-color: grey; }", page(master))
    assert "no answer within 1 s" in page(master)


def test_nodes_that_do_not_answer_hold_up_the_page_once_and_not_the_service(master: Node) -> None:
    """All are asked at the same time: one after the other, six silent ones would take 6 s."""

    path = master.home / "status" / "index.html"
    times = [path.stat().st_mtime]
    for _ in range(2):
        wait_for(lambda: path.stat().st_mtime > times[-1])
        times.append(path.stat().st_mtime)
        assert master.states()["status_website"] == "running"
    assert times[2] - times[1] < 5.0


def test_the_last_update_is_shown_and_moves_on(master: Node) -> None:
    def update() -> str:
        found = re.search(r'Last update: <time datetime="([^"]+)">', page(master))
        return found[1] if found else ""

    first = wait_for(update)
    wait_for(lambda: update() > first)
