"""Workers process what they observe, on one shared home, and the master node gathers it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from boxes import require_box
from clusters import ask, config_of, log, start
from nodes import TEST_RUN, wait_for

sys.path.insert(0, str(Path(__file__).parents[1] / "candidates"))

from beams import TSAMP, burst, write_beam

from darc.candidates.results.trigger_lists import read_triggers
from simulator.amber_files import format_header, format_line, trigger_name
from simulator.box import Box, BoxNode
from simulator.write_parsets import MadeObservation, write_observation

WAIT = 60.0
TASK = "190518009"
PULSES = [burst(2.0, dm=400.0), burst(4.0, dm=900.0)]
SECTIONS = {
    "darc_master": {
        "services_master_mix": ["processor"],
        "services_worker_mix": ["amber_listener", "processor"],
        "setup_time": 0.1,
    },
    "cluster": {"start_timeout": 100},
    "processor": {
        "interval": 0.3,
        "stop_delay": 0,
        "num_extractor": 1,
        "extractor": {"delay": 0},
        "classifier": {"thresh_freqtime": 0},
    },
    "processor_master": {"check_interval": 1.0, "max_wait_time": 3.0, "node_timeout": 2.0},
}


def write(node: BoxNode, begins: float, beam: int = 0, beams: str = "") -> MadeObservation:
    """What the telescope gives a node, with data and candidates."""
    directory = node.home / "observation" / node.name
    more: dict[str, object] = {"tsamp": TSAMP}
    if beams:
        more["beams"] = beams
    made = write_observation(
        directory,
        task_id=TASK,
        source="R1",
        start=begins,
        duration=3600.0,
        beam=beam,
        instances=1,
        n_tabs=1,
        more=more,
    )
    write_beam(directory / "output", PULSES, cb=beam, seed=beam + 1)
    lines = [
        format_line(
            beam=0,
            batch=0,
            sample=0,
            integration_step=one.downsampling,
            time=one.time,
            dm_id=1,
            dm=one.dm,
            snr=one.snr,
        )
        for one in PULSES
    ]
    (made.amber_dir / trigger_name(beam, 1)).write_bytes(format_header() + b"".join(lines))
    return made


@pytest.mark.timeout(300)
def test_what_workers_bring_is_one_page(test_run: str) -> None:
    require_box()
    environment = {TEST_RUN: test_run}
    with Box(4, config=config_of(SECTIONS), shared_home=True, environment=environment) as box:
        start(box.master)
        begins = time.time()
        made = [write(box.master, begins, beams="[0, 1, 2]")]
        made += [write(worker, begins, beam) for beam, worker in enumerate(box.workers)]
        for node, one in zip(box.nodes, made, strict=True):
            node.run("darc", "--parset", str(one.parset), "start_observation", check=True)
        lost = box.workers[2]
        wait_for(lambda: "processing" in str(asked(box.master, lost)), WAIT)
        lost.kill()
        for node, one in zip(box.nodes[:3], made, strict=False):
            node.run("darc", "--parset", str(one.parset), "stop_observation", check=True)
        (results,) = wait_for(lambda: list((box.master.home / "results").glob("*/*")), WAIT)
        for beam in (0, 1):
            wait_for((results / f"CB{beam:02d}_summary.yaml").exists, WAIT)
            dms = {row.dm for row in read_triggers(results / f"CB{beam:02d}_triggers.txt")}
            assert dms == {pulse.dm for pulse in PULSES}
        # Of the one that lost its power an operator is told, who gives it up.
        said = "beam 2: no results, and nobody works on them: worker03: "
        wait_for(lambda: any(said in line for line in log(box.master, "processor")), WAIT)
        (results / "CB02_summary.yaml").touch()
        done = "DARC results: 4 candidates: "
        wait_for(lambda: any(done in line for line in log(box.master, "processor")), WAIT)
        site = box.master.home / "status" / "triggers_realtime"
        page = (site / results.relative_to(results.parents[1]) / "index.html").read_text()
        assert page.count(".png") >= 4
        assert "failed" in page
        waited_for = ask(box.master, box.master, "get_attr", "observations")
        assert waited_for.endswith("= {}")


def asked(asking: BoxNode, of: BoxNode) -> str:
    """What a worker's processor works on."""
    return str(ask(asking, of, "--service", "processor", "get_attr", "processing"))
