"""What each service, darc_master and darc_monitor load, as their processes do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from nodes import patience

from simulator.write_parsets import write_observation

#: What a process that computes nothing does without, and for most of it any process of a node.
COMPUTING = {"numpy", "numba", "h5py", "astropy", "erfa", "matplotlib", "scipy"}
HEAVY = COMPUTING | {"rich", "twisted", "lxml", "yaml", "asyncio", "smtplib", "xmlrpc", "dask"}
HEAVY |= {"importlib.metadata", "confluent_kafka", "gcn_kafka", "jsonschema"}
HEAVY |= {"dataclasses", "typing_extensions", "argparse", "difflib"}
#: For one that serves a queue.
SERVING = {"multiprocessing.managers"}
#: For one that writes supervisord's configuration.
WRITING = {"configparser"}
#: For one that serves pages over HTTP, or asks supervisord.
WEB = {"http", "ssl", "email", "jinja2"}
FEW = HEAVY | WEB | WRITING | {"psutil", "ctypes", "ast", "inspect", "sqlite3"}
UNWANTED = {
    "darc.services.amber_listener.service": HEAVY - {"numpy"} | WEB | SERVING | WRITING,
    "darc.services.amber_clustering.service": HEAVY - {"numpy", "erfa"} | WEB | SERVING | WRITING,
    "darc.services.dada_trigger.service": FEW | SERVING,
    "darc.services.lofar_trigger.service": FEW,
    "darc.services.voevent_generator.service": FEW,
    "darc.services.offline_processing.service": FEW | SERVING,
    "darc.services.status_website.service": HEAVY | SERVING | WRITING,
    "darc.services.processor.processor_alone": HEAVY - {"numpy"} | WEB - {"jinja2"} | SERVING,
    "darc.services.processor.processor_master": HEAVY - {"numpy"} | SERVING,
    "darc.master.main": HEAVY - {"xmlrpc"} | {"jinja2", "psutil", "ast"},
    "darc.monitor.node_monitor": HEAVY - {"xmlrpc"} | {"jinja2", "ast"} | SERVING | WRITING,
}


@pytest.mark.parametrize("module", UNWANTED)
def test_a_process_loads_only_what_it_needs(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=os.environ | {"SUPERVISOR_ENABLED": "1", "DARC_NODE_ID": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=patience(30.0),
    )
    loaded = set(result.stdout.split())
    assert module in loaded
    assert not UNWANTED[module] & loaded


#: Decides about a window with a trigger, and asks for its dump; prints what that imported.
FIRST_TRIGGER = """
import socket, sys
from pathlib import Path
import numpy as np
from darc.model.candidate import CANDIDATE, records_to_bytes
from darc.node.node_config import load_config
from darc.node.read_observation import read_observation
from darc.queues.messages import ContentKind, QueueEntry
from darc.services.amber_clustering.service import AMBERClustering
from darc.services.dada_trigger.dump_port import request_dump

commits = []

class Kept(AMBERClustering):
    def commit(self, commit):
        commits.append(commit)

service = Kept(load_config(Path(sys.argv[1])))
observation = read_observation(Path(sys.argv[2]), service.config.instrument)
service.start_observation(observation, {})
line = np.zeros(1, CANDIDATE)
line["time"], line["snr"], line["dm"], line["downsampling"] = 5.1, 30.0, 700.0, 10
entries = [(1, 100.0, records_to_bytes(line)), (2, 101.0, b"")]
before = set(sys.modules)
for number, watermark, content in entries:
    service.work(
        QueueEntry(number, ContentKind.CANDIDATES, content, observation.key, watermark, watermark),
        observation,
    )
assert any(commit.puts for commit in commits)
with socket.socket() as unserved:
    unserved.bind((b"127.0.0.1", 0))
    try:
        request_dump(unserved.getsockname()[1], "")
    except ConnectionRefusedError:
        pass
print("imported:", *sorted(set(sys.modules) - before))
"""


def test_the_first_trigger_imports_nothing(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("amber_clustering:\n  thresh_iquv:\n    interval: 0\n")
    observation = write_observation(
        tmp_path / "observation", task_id="imports", source="R1", start=1.7e9, duration=600.0
    )
    result = subprocess.run(
        [sys.executable, "-P", "-c", FIRST_TRIGGER, str(config), str(observation.parset)],
        capture_output=True,
        text=True,
        check=True,
        timeout=patience(30.0),
    )
    assert result.stdout == "imported:\n"
