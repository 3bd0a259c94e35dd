"""Bursts that were put in come out, as triggers at every service that has to know of them."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from nodes import Node, node, only
from nodes import wait_for as wait_for_seconds

from darc.science.clustering import fixed_dm_edges
from simulator.generator import (
    AmberSearch,
    Generated,
    make_observation_candidates,
    random_bursts,
    timed_files,
)
from simulator.player import Player
from simulator.write_parsets import write_observation

#: Others may be at work on the same cores.
wait_for = partial(wait_for_seconds, timeout=40.0)

DURATION = 40.0
SEARCHES = {"tabs": AmberSearch(beams=12), "sbs": AmberSearch(beams=71, beam_period=12)}
RECEIVERS = ("dada_trigger", "lofar_trigger", "voevent_generator")
_TRIGGER = re.compile(
    r"trigger (\w+)/(-?\d+)/(\d+): (\S+), DM ([\d.]+), S/N ([\d.]+), width ([\d.]+) ms, beam (\d+)"
)


@pytest.fixture(scope="module")
def burst_node(test_run: str) -> Iterator[Node]:
    """Every burst may be dumped, and none is taken for interference."""
    rules = {"thresh_iquv": {"interval": 0}, "thresh_lofar": {"max_cands_per_cluster": 100_000}}
    services = only("amber_listener", "amber_clustering", *RECEIVERS)
    master = services | {"control_timeout": 30}
    with node(test_run, darc_master=master, amber_clustering=rules) as made:
        made.start()
        yield made


def generated(search: AmberSearch) -> Generated:
    edges = [float(edge) for edge in fixed_dm_edges(10_000.0) if math.isfinite(edge)]
    bursts = random_bursts(
        6,
        DURATION,
        (300.0, 2000.0),
        seed=20,
        beams=search.beams,
        widths=(5, 10, 50),
        snr_range=(30.0, 60.0),
        dm_edges=edges,
        window=1.0,
    )
    return make_observation_candidates(bursts, duration=DURATION, seed=21, search=search)


@pytest.mark.parametrize("kind", ["tabs", "sbs"])
@pytest.mark.parametrize("speed", [math.inf, 40.0])
def test_every_burst_arrives_everywhere(
    burst_node: Node, tmp_path: Path, kind: str, speed: float
) -> None:
    search = SEARCHES[kind]
    made = generated(search)
    task_id = f"{kind}{speed:.0f}"
    observation = write_observation(
        tmp_path,
        task_id=task_id,
        source="BLANK",
        start=time.time(),
        duration=3600.0,
        n_sbs=search.beams if kind == "sbs" else 1,
        pointing=(192.86, 27.13),  # the Galactic north pole
    )
    parset = str(observation.parset)
    before = {name: received(burst_node, name) for name in RECEIVERS}
    assert burst_node.ask("start_observation", "--parset", parset) == "Observation started"
    files = timed_files(made, beam=0)
    assert Player(observation.amber_dir, files, speed=speed).play()
    total = sum(1 + len(file.lines) for file in files)
    wait_for(lambda: burst_node.counts("amber_listener", task_id).get("lines") == total)
    assert burst_node.ask("stop_observation", "--parset", parset) == "Stopped observation"
    wait_for(lambda: f"[{task_id}]: done" in burst_node.log("dada_trigger"), what="all dumped")
    counts = burst_node.counts("amber_clustering", task_id)
    sent = {
        "dada_trigger": counts["iquv triggers"],
        "lofar_trigger": counts["lofar triggers"],
        "voevent_generator": counts["lofar triggers"],
    }
    for name in RECEIVERS:
        wait_for(
            lambda name=name: received(burst_node, name) == before[name] + sent[name], what=name
        )
        found = _TRIGGER.findall(burst_node.log(name))
        found = [trigger for trigger in found if trigger[0] == task_id]
        identities = {trigger[:3] for trigger in found}
        assert len(identities) == len(found) == sent[name]
        for truth in made.truth:
            mine = [trigger for trigger in found if int(trigger[1]) == math.floor(truth.time)]
            best = max(mine, key=lambda trigger: float(trigger[5]))
            assert best[3] == "candidate"
            assert float(best[4]) == pytest.approx(truth.dm, abs=0.01)
            assert float(best[5]) == pytest.approx(truth.snr, abs=0.06)
            assert float(best[6]) == pytest.approx(truth.downsampling * 0.08192, abs=0.01)
            assert int(best[7]) == truth.burst.beam
    burst_node.ask("abort_observation", "--parset", parset)
    burst_node.wait_until_over(task_id)


def received(of: Node, service: str) -> int:
    answer = of.ask("--service", service, "get_attr", "triggers_received")[service]
    return int(answer.rsplit(": ", 1)[1].rstrip("}"))
