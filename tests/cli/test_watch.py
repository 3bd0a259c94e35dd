"""``darc watch`` on real terminals, and what it shows of clusters that were made up."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from nodes import SCRIPTS, Node
from rich.cells import cell_len
from terminals import ENTER, LEAVE, Terminal

from darc.cli.watch_view import WatchSnapshot, page
from darc.monitor.cluster_watch import ClusterStatus, NodeStatus
from darc.monitor.problems import find_problems
from darc.node import command_client
from darc.node.command_client import Unreached

sys.path.insert(0, str(Path(__file__).parents[1] / "monitor"))

from made_up import CONTEXT, MASTER, NOW, ON_MASTER, ON_WORKERS, overview, service

from darc.model.overview import LogLine, ObservationOverview

RUNNING_SERVICES = ("lofar_trigger", "processor")
WATCH = (str(SCRIPTS / "darc"), "watch")


@pytest.fixture
def open_terminal() -> Iterator[Callable[..., Terminal]]:
    opened = []

    def start(of: Node, *words: str, width: int = 80, height: int = 30) -> Terminal:
        opened.append(Terminal((*WATCH, *words), of.environment, width, height))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def is_restored(terminal: Terminal) -> bool:
    return terminal.modes() == terminal.before and terminal.said.rfind(LEAVE) > terminal.said.rfind(
        ENTER
    )


@pytest.mark.parametrize("keys", [b"q", b"\x03"])
def test_it_is_live_and_leaves_the_terminal_as_it_was(
    running_node: Node, open_terminal: Callable[..., Terminal], keys: bytes
) -> None:
    terminal = open_terminal(running_node)
    terminal.wait_for_text("no problems")
    assert terminal.modes() != terminal.before
    assert ENTER in terminal.said
    terminal.type(keys)
    assert terminal.end() == 0
    assert is_restored(terminal)
    assert b"Traceback" not in terminal.said


def test_it_shows_a_change_as_it_happens_and_fits_when_resized(
    running_node: Node, open_terminal: Callable[..., Terminal]
) -> None:
    terminal = open_terminal(running_node)
    terminal.wait_for_text("no problems")
    running_node.darc("--service", "processor", "stop")
    try:
        terminal.wait_for_text("processor on testnode is stopped")
        terminal.wait_for_text("type: darc --service processor start")
        terminal.said = b""
        terminal.resize(60, 9)
        terminal.wait_for_text("q ends")
        last = terminal.said[terminal.said.rfind(b"\x1b[H") :]
        assert last.count(b"\n") <= 9
    finally:
        running_node.darc("--service", "processor", "start")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.end() == 128 + signal.SIGTERM
    assert is_restored(terminal)


def test_where_there_is_no_terminal_it_shows_it_once(running_node: Node) -> None:
    for words in ((), ("--once",)):
        result = running_node.run(*("darc", "watch", *words))
        assert (result.returncode, result.stderr) == (0, "")
        assert "1 of 1 node answer" in result.stdout
        assert result.stdout.count("✓ running") == len(running_node.states())
        assert max(map(len, result.stdout.splitlines())) <= 80
        assert "\x1b" not in result.stdout
    result = running_node.run("darc", "watch", "--host", "nobody")
    assert result.returncode == 1
    assert "nobody: this host, testnode, is not in a cluster" in result.stderr


def test_a_node_that_does_not_run_is_shown_with_what_to_type(fresh_node: Node) -> None:
    result = fresh_node.run("darc", "--host", "localhost", "watch", "--once")
    assert (result.returncode, result.stderr) == (0, "")
    assert "0 of 1 node answer" in result.stdout
    assert "✗ testnode: cannot be reached" in result.stdout
    assert "type: darc_start_all_services" in result.stdout
    assert "? testnode  no answer" in result.stdout


def test_a_node_that_was_never_started_is_not_taken_for_another_on_the_default_port(
    fresh_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as another:
        another.setblocking(False)
        monkeypatch.setattr(command_client, "DEFAULT_PORT", another.getsockname()[1])
        result = fresh_node.call("darc", "watch", "--once")
        assert "✗ testnode: cannot be reached" in result.stdout
        with pytest.raises(BlockingIOError):
            another.accept()


# -- what was made up ------------------------------------------------------------------------------


def told(host: str, *services: Any, **changes: Any) -> NodeStatus:
    made = overview(host, services, **changes) if services else overview(host, **changes)
    return NodeStatus(host, made, reached=True, heard=NOW)


def silent(host: str) -> NodeStatus:
    return NodeStatus(host, reason="no answer within 10 s", since=NOW - 180.0)


def drawn(nodes: list[NodeStatus], width: int = 80, height: int | None = None) -> list[str]:
    cluster = ClusterStatus(NOW, tuple(nodes))
    known = WatchSnapshot(cluster, find_problems(cluster, CONTEXT))
    lines = page(known, width, height)
    assert all(cell_len(line.plain) <= width for line in lines)
    assert all(letter.isprintable() for line in lines for letter in line.plain)
    return [line.plain for line in lines]


def big(silent_ones: int = 1, bad_ones: int = 1) -> list[NodeStatus]:
    nodes = [told(MASTER, *ON_MASTER)]
    for number in range(1, 41):
        host = f"arts{number:03d}"
        if number <= silent_ones:
            nodes.append(silent(host))
        elif number <= silent_ones + bad_ones:
            failed = service("dada_trigger", "failed", since=NOW - 60.0)
            nodes.append(told(host, "amber_listener", failed))
        else:
            nodes.append(told(host))
    return nodes


def test_what_is_wrong_comes_first_and_everybody_is_there() -> None:
    lines = drawn(big())
    assert lines[0].startswith("DARC  2026-11-22 01:13:22 UTC  40 of 41 nodes answer  ✗ 2 problems")
    text = "\n".join(lines)
    places = [
        text.index(what)
        for what in (
            "✗ arts001: no answer",
            "✗ arts002  1 of 2 not running",
            "? arts001  no answer since 3m",
            "✓ arts041  5 running",
        )
    ]
    assert places == sorted(places)
    assert "type: darc --host arts002 --service dada_trigger start" in text
    assert sum(line.startswith("✓ arts") for line in lines) == 39
    assert "  dada_trigger       ✗ failed          1m" in text


@pytest.mark.parametrize("stopped", [0, 1, 2, 3, 8])
def test_a_node_keeps_its_table_on_a_usual_terminal(stopped: int) -> None:
    """80 columns, 24 lines, a node on its own with all services, errors and triggers."""
    names = dict.fromkeys((*ON_MASTER, *ON_WORKERS))
    services = [
        service(
            name,
            "failed" if number < stopped else "running",
            since=NOW - 60.0,
            how="exit status 1" if number < stopped else "",
            last_error=LogLine(NOW - 61.0, f"{name} has nobody " + "to talk to " * 20 + "at all"),
            outcomes={"sent": 3},
            last_trigger=LogLine(NOW - 5.0, "trigger 1/2/3"),
        )
        for number, name in enumerate(names)
    ]
    if stopped == 8:
        services[7] = service("processor", "stopping", since=NOW)
    lines = drawn([told(MASTER, *services)], height=23)
    assert len(lines) <= 23
    text = "\n".join(lines)
    assert "arts041  " in text
    if 0 < stopped < 4:
        for name in list(names)[:stopped]:
            assert f"\n  {name:<18} ✗ failed" in text
            assert f"--service {name} start" in text
    if stopped < 3:  # there is room for those that run
        assert all(f"  {name:<18} " in text for name in names)


@pytest.mark.parametrize("height", [5, 24, 60])
def test_a_large_cluster_fits_the_terminal(height: int) -> None:
    lines = drawn(big(), height=height)
    assert len(lines) <= max(height, 8)
    assert "✗ arts001: no answer  since 3m" in lines
    if height < 48:
        assert "more nodes" in "\n".join(lines)
    else:
        assert sum(line.startswith("✓ arts") for line in lines) == 39


def test_observations_errors_and_triggers() -> None:
    running = ObservationOverview("190518009", "B0531+21", "running", NOW - 300.0, NOW + 300.0, ())
    waits = ObservationOverview(
        "190518008", "FRB121102\x1b[2J", "in processing", NOW - 900.0, NOW - 300.0, ("processor",)
    )
    error = LogLine(NOW - 60.0, "nobody listens\x07 " + "x" * 200)
    busy = service(
        "dada_trigger",
        queue=1234,
        oldest=NOW - 12.0,
        last_error=error,
        outcomes={"accepted": 3},
        last_trigger=LogLine(NOW - 5.0, "trigger 1/2/3"),
    )
    lines = drawn(
        [
            told(MASTER, *ON_MASTER, observations=(running, waits)),
            told("arts001", busy, observations=(running,)),
        ]
    )
    text = "\n".join(lines)
    assert "observation 190518009 B0531+21  running  ██████░░░░░░ 50 % of 10m  2 nodes" in text
    assert r"190518008 FRB121102\x1b[2J  in processing  waits for processor on" in text
    (line,) = [line for line in lines if line.startswith("  dada_trigger")]
    assert line.split() == ["dada_trigger", "✓", "running", "3h08", "0", "41M", "2%", "1234", "12s"]
    assert r"    last error 01:12:22 nobody listens\x07 xxx" in text
    assert "triggers dada_trigger: 3 accepted" in text
    assert "last 01:13:17 arts001 dada_trigger: trigger 1/2/3" in text


@pytest.mark.parametrize("width", [30, 60, 61, 62, 63, 80])
def test_long_commands_can_be_pasted(width: int) -> None:
    nodes = big(silent_ones=0, bad_ones=0)
    nodes[1:] = [
        replace(
            node, reached=False, reason="Connection refused", cause=Unreached.REFUSED, since=NOW
        )
        for number, node in enumerate(nodes[1:])
        if number % 2
    ]
    lines = drawn(nodes, width=width)
    first = next(number for number, line in enumerate(lines) if "type: " in line)
    end = next(number for number in range(first, len(lines)) if not lines[number].endswith("\\"))
    pasted = "\n".join(lines[first : end + 1]).replace("type: ", "printf '%s ' ")
    said = subprocess.run(["bash", "-c", pasted], capture_output=True, text=True, check=True)
    hosts = ",".join(f"{number:03d}" for number in range(2, 41, 2))
    assert said.stdout == f"start_full_pipeline --nodes arts[{hosts}] "
