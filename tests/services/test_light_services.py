"""What each service, darc_master and darc_monitor load, as their processes do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from nodes import patience

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
        env=os.environ | {"SUPERVISOR_ENABLED": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=patience(30.0),
    )
    loaded = set(result.stdout.split())
    assert module in loaded
    assert not UNWANTED[module] & loaded
