"""A node that has observed bursts, and a worker whose master node is away."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import Node, free_port, node, wait_for

sys.path.insert(0, str(Path(__file__).parent))

from scrapes import TAKERS, TASK_ID, is_served, port_of

from simulator.dbevent import DadaDbevent
from simulator.generator import Burst, make_observation_candidates, timed_files
from simulator.lofar import Lofar
from simulator.player import Player
from simulator.write_parsets import write_observation

DURATION = 30.0  # s
BAD_LINE = "this is no candidate\n"


@pytest.fixture(scope="session")
def observed(test_run: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node on its own in an observation with bursts, of which triggers have left."""
    directory = tmp_path_factory.mktemp("metrics")
    with (
        DadaDbevent(buffer_length=60.0) as dbevent,
        Lofar() as lofar,
        node(
            test_run,
            metrics={"port": free_port()},
            darc_master={"control_timeout": 30},
            dada_trigger={"port_iquv": dbevent.port, "buffer_length": 60.0},
            lofar_trigger={"lofar_port": lofar.port, "send_events": True, "interval": 0.2},
            voevent_generator={"interval": 0.2},
        ) as made,
    ):
        made.start()
        observe(made, directory)
        yield made


def observe(on: Node, directory: Path) -> None:
    """Have it read bursts and a bad line; the observation goes on."""
    made = write_observation(
        directory,
        task_id=TASK_ID,
        source="BLANK",
        start=time.time() - 20.0,
        duration=3600.0,
        pointing=(192.86, 27.13),  # the Galactic north pole
    )
    bursts = [Burst(at, dm=600.0, width_samples=10, snr=40.0, beam=3) for at in (9.2, 15.2)]
    generated = make_observation_candidates(bursts, duration=DURATION, seed=1)
    parset = str(made.parset)
    assert on.ask("start_observation", "--parset", parset) == "Observation started"
    files = timed_files(generated, beam=0)
    Player(made.amber_dir, files, speed=float("inf")).play()
    first = sorted(made.amber_dir.glob("*.trigger"))[0]
    line = first.read_text().splitlines(keepends=True)[-1]
    with first.open("a") as file:
        file.write(BAD_LINE)
    wait_for(
        lambda: (
            sum(
                on.counts("amber_clustering", TASK_ID).get(f"{kind} triggers", 0)
                for kind in ("iquv", "lofar")
            )
            >= 2
        ),
        60.0,
        "triggers",
    )
    # A window counts when it closes; a line that comes after that has it decided upon again.
    wait_for(
        lambda: (
            on.counts("amber_clustering", TASK_ID).get("candidates", 0)
            == on.counts("amber_listener", TASK_ID)["candidates"]
        ),
        60.0,
        "all windows to close",
    )
    windows = on.counts("amber_clustering", TASK_ID)["windows"]
    with first.open("a") as file:
        file.write(line)
    wait_for(lambda: on.counts("amber_clustering", TASK_ID)["windows"] > windows, 30.0, "a window")
    wait_for(lambda: "sent to LOFAR" in on.log("lofar_trigger"), 60.0, "a packet")
    wait_for(lambda: "requested" in on.log("dada_trigger"), 60.0, "a dump")

    def all_have_outcomes() -> bool:
        decided = on.counts("amber_clustering", TASK_ID)
        return all(
            sum((on.value(service, "outcomes") or {}).values()) == decided[f"{kind} triggers"]
            for service, kind in TAKERS.items()
        )

    wait_for(all_have_outcomes, 60.0, "the last of it")


@pytest.fixture(scope="session")
def worker(test_run: str) -> Iterator[Node]:
    """A worker with nothing but amber_clustering, which cannot hand in what it finds."""
    services = {"services_worker_mix": ["amber_clustering"]}
    cluster = {"master": "127.0.0.77", "workers": ["testnode"]}
    with node(
        test_run,
        metrics={"port": free_port()},
        cluster=cluster,
        control={"bind": "127.0.0.1"},
        darc_master=services,
    ) as made:
        made.start()
        wait_for(lambda: is_served(port_of(made)), 20.0, "metrics")
        yield made
