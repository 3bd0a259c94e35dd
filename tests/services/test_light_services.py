"""What each service, darc_master and darc_monitor load, as their processes do."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.nodes import patience

#: What a process that computes nothing does without, and for most of it any process of a node.
COMPUTING = {"numpy", "numba", "h5py", "astropy", "erfa", "matplotlib", "scipy"}
HEAVY = COMPUTING | {"rich", "twisted", "lxml", "yaml", "asyncio", "smtplib", "xmlrpc", "dask"}
HEAVY |= {"multiprocessing.managers", "importlib.metadata"}
#: For one that serves pages over HTTP, or talks to children.
WEB = {"http", "ssl", "email", "jinja2"}
CHILDREN = {"multiprocessing", "subprocess"}
FEW = HEAVY | WEB | CHILDREN | {"psutil", "sqlite3", "ctypes", "argparse", "pickle"}
UNWANTED = {
    "darc.services.amber_listener.service": HEAVY - {"numpy"} | WEB,
    "darc.services.amber_clustering.service": HEAVY - {"numpy", "erfa"} | WEB,
    "darc.services.dada_trigger.service": FEW,
    "darc.services.lofar_trigger.service": FEW - {"pickle"},
    "darc.services.voevent_generator.service": FEW - {"pickle"},
    "darc.services.offline_processing.service": FEW - CHILDREN - {"pickle"},
    "darc.services.status_website.service": HEAVY,
    "darc.services.processor.processor_alone": HEAVY - {"numpy"} | WEB - {"jinja2"},
    "darc.services.processor.processor_master": HEAVY - {"numpy"},
    "darc.master.main": HEAVY | WEB | {"psutil"},
    "darc.monitor.node_monitor": HEAVY | WEB,
}


@pytest.mark.parametrize("module", UNWANTED)
def test_a_process_loads_only_what_it_needs(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=patience(30.0),
    )
    loaded = set(result.stdout.split())
    assert module in loaded
    assert not UNWANTED[module] & loaded
