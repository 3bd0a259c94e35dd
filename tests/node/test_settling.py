"""What leaves when the writers have settled, long before the longest wait is over."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from nodes import Node, patience
from nodes import wait_for as wait_for_seconds

from simulator.bursts import Burst
from simulator.dbevent import DadaDbevent
from simulator.generator import make_observation_candidates, timed_files
from simulator.lofar import Lofar
from simulator.player import Player
from simulator.write_parsets import write_observation

wait_for = partial(wait_for_seconds, timeout=30.0)
#: All that is looked at while windows are open happens before.
LONGEST = 60.0
TASK = "settling"


def test_a_burst_leaves_once_while_its_windows_are_open_still(
    make_node: Callable[..., Node], tmp_path: Path
) -> None:
    with DadaDbevent() as dbevent, Lofar() as lofar:
        services = ["amber_listener", "amber_clustering", "dada_trigger"]
        node = make_node(
            darc_master={"services_master_mix": ["lofar_trigger"], "services_worker_mix": services},
            amber_clustering={"interval": LONGEST, "thresh_iquv": {"interval": 0}},
            dada_trigger={"port_iquv": dbevent.port, "buffer_length": 600.0},
            lofar_trigger={
                "send_events": True,
                "interval": LONGEST,
                "lofar_host": "127.0.0.1",
                "lofar_port": lofar.port,
            },
        )
        node.start()
        burst = Burst(time_s=6.4, dm=700.0, width_samples=10, snr=40.0, beam=5)
        generated = make_observation_candidates([burst], duration=9.0, seed=3)
        observation = write_observation(
            tmp_path,
            task_id=TASK,
            source="BLANK",
            start=math.floor(time.time() - 9.0) + 0.6,
            duration=3600.0,
            pointing=(192.86, 27.13),  # the Galactic north pole
        )
        dbevent.begin(time.strftime("%Y-%m-%d-%H:%M:%S", time.gmtime(observation.start)))
        parset = str(observation.parset)
        assert node.ask("start_observation", "--parset", parset) == "Observation started"
        files = timed_files(generated, beam=0)
        assert Player(observation.amber_dir, files, speed=math.inf).play()
        (packet,) = lofar.wait_for(1, patience(30.0))
        assert packet.freeze is not None
        assert packet.freeze.dm_tenths == 7000
        (request,) = dbevent.wait_for(1, patience(30.0))
        asked = [event.asked for event in request.events]
        assert [event.dm for event in asked] == [pytest.approx(700.0)]
        total = sum(1 + len(file.lines) for file in files)
        wait_for(lambda: node.counts("amber_listener", TASK).get("lines") == total)
        assert "windows" not in node.counts("amber_clustering", TASK)

        assert node.ask("stop_observation", "--parset", parset) == "Stopped observation"
        node.wait_until_over(TASK, patience(30.0))
        counts = node.counts("amber_clustering", TASK)
        assert counts["windows"] >= 1
        assert (counts["iquv triggers"], counts["lofar triggers"]) == (1, 1)
        assert len(lofar.received) == len(dbevent.received) == 1
