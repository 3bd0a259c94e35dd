"""``darc observations``: those of a real node, while they last and afterwards."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

from nodes import Node
from nodes import wait_for as wait_for_seconds

from simulator.amber_files import format_header, format_line
from simulator.write_parsets import MadeObservation, write_observation

#: Others may be at work on the same cores.
wait_for = partial(wait_for_seconds, timeout=40.0)


def rows(of: Node, *words: str) -> list[dict[str, Any]]:
    result = of.run("darc", "observations", "--json", *words)
    assert result.returncode == 0, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)[of.hostname]
    return found


def made(directory: Path, task_id: str, start: float, duration: float = 600.0) -> MadeObservation:
    return write_observation(
        directory / task_id,
        task_id=task_id,
        source="B0531+21",
        start=start,
        duration=duration,
        instances=1,
    )


def test_their_lives(fresh_node: Node, tmp_path: Path) -> None:
    real_time = ["amber_listener", "amber_clustering", "dada_trigger"]
    fresh_node.configure(
        darc_master={
            "mode": "real-time",
            "services_worker_rt": real_time,
            "services_master_rt": [],
            "control_timeout": 30,
        }
    )
    result = fresh_node.run("darc", "observations")
    assert (result.returncode, result.stdout) == (0, "no observations\n")

    fresh_node.start()
    now = time.time()
    observed, coming = made(tmp_path, "1001", now - 1.0), made(tmp_path, "1002", now + 3600.0)
    for one in (observed, coming):
        assert fresh_node.ask("start_observation", "--parset", str(one.parset))
    trigger_file = observed.amber_dir / "CB00_step1.trigger"
    # Two candidates far from each other and from any threshold.
    lines = [format_header(), *(_line(second) for second in (1, 3))]
    trigger_file.write_bytes(b"".join(lines))
    wait_for(lambda: rows(fresh_node)[1]["candidates"] == 2, what="candidates")
    pending, running = rows(fresh_node)
    assert (pending["id"], pending["state"], pending["candidates"]) == ("1002", "pending", None)
    assert (running["id"], running["state"], running["source"]) == ("1001", "running", "B0531+21")
    assert (running["duration"], round(running["start"] - now)) == (600.0, -1)

    table = fresh_node.run("darc", "observations").stdout.splitlines()
    assert table[0].split() == [
        "task",
        "source",
        "start",
        "(UTC)",
        "lasts",
        "state",
        "cands",
        "clust",
        "trig",
    ]
    assert "▶ running" in table[2]
    assert max(map(len, table)) <= 80

    fresh_node.ask("stop_observation", "--parset", str(observed.parset))
    fresh_node.ask("abort_observation", "--parset", str(coming.parset))
    fresh_node.wait_until_over("1001")
    books = list((fresh_node.home / "parsets").glob("*/books.testnode.json"))
    wait_for(lambda: books or list((fresh_node.home / "parsets").glob("*/books.testnode.json")))
    fresh_node.call("darc_stop_master").check_returncode()

    # What is known when the node does not run.
    by_id = {row["id"]: row for row in rows(fresh_node)}
    over = by_id["1001"]
    assert (over["state"], over["candidates"], over["duration"]) == ("over", 2, 600.0)
    assert over["clusters"] is not None
    assert by_id["1002"]["state"] == "no books"


def _line(second: int) -> bytes:
    return format_line(
        beam=0,
        batch=second,
        sample=second * 12500,
        integration_step=1,
        time=second * 1.024,
        dm_id=1,
        dm=500.0,
        snr=8.5,
    )


def test_the_past_is_the_latest_unless_all_is_asked_for(fresh_node: Node) -> None:
    for day in range(1, 26):
        directory = fresh_node.home / "parsets" / f"2026-10-{day:02d}-01:02:03.B0329+54"
        directory.mkdir(parents=True)
        (directory / "x.parset").write_text(f"taskid = 2610{day:02d}001\nduration = 1800\n")
        books = {
            "amber_clustering": {
                "counts": {
                    "candidates": 9,
                    "clusters": 3,
                    "iquv triggers": 2,
                    "lofar triggers": 1,
                    "iquv triggers repeated": 7,
                }
            },
            "amber_listener": {"counts": {"candidates": 10}},
        }
        (directory / "books.testnode.json").write_text(json.dumps(books))
    (fresh_node.home / "parsets" / "other").mkdir()
    latest = rows(fresh_node)
    assert [row["id"] for row in latest] == [f"2610{day:02d}001" for day in range(25, 5, -1)]
    assert {(row["candidates"], row["clusters"], row["triggers"]) for row in latest} == {(10, 3, 3)}
    assert len(rows(fresh_node, "--all")) == 25


def test_what_cannot_be_read_is_named_and_the_others_are_shown(fresh_node: Node) -> None:
    parsets = fresh_node.home / "parsets"
    for name, books in (
        ("2026-10-01-01:02:03.a", "[1"),
        ("2026-10-02-01:02:03.b", '{"x": 1}'),
        ("2026-10-03-01:02:03.c\x1b[m", "{}"),
    ):
        (parsets / name).mkdir(parents=True)
        (parsets / name / "books.testnode.json").write_text(books)
    (parsets / "2026-10-02-01:02:03.b" / "b.parset").write_text("duration = long\n")
    live = fresh_node.run_dir / "observations"
    live.mkdir(parents=True)
    (live / "77.json").write_text("{}")
    result = fresh_node.run("darc", "observations")
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == 5
    assert "77.json" in result.stderr
    assert "books.testnode.json" in result.stderr
    assert "Traceback" not in result.stderr
    assert "\x1b" not in result.stdout + result.stderr
