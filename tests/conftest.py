"""Fixtures: real nodes, and a test run that fails when it leaves a process behind."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

from nodes import Node, left_of_run, node

_RUN = uuid.uuid4().hex

# No test fails by the clock.
settings.register_profile("darc", deadline=None)
settings.load_profile("darc")

# Ctrl-C is ignored in what runs in the background, and in all that it starts; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def test_run() -> str:
    """What every process of this test process's nodes carries."""
    return _RUN


@pytest.fixture
def make_node(test_run: str) -> Iterator[Callable[..., Node]]:
    """Make nodes that are gone when the test ends: ``make_node(section={key: value})``."""
    with ExitStack() as nodes:

        def make(hostname: str = "testnode", **config: Any) -> Node:
            return nodes.enter_context(node(test_run, hostname, **config))

        yield make


@pytest.fixture
def fresh_node(make_node: Callable[..., Node]) -> Node:
    """A node of this test's own that is not started."""
    return make_node()


@pytest.fixture(scope="module")
def running_node(test_run: str) -> Iterator[Node]:
    """A node with all services running, shared by a module's tests: leave it as you found it."""
    with node(test_run) as made:
        made.start()
        yield made


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real samples, which are not part of the project."""
    path = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the real samples are not here")
    return path


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of a node that outlives the tests is a defect, of the tests or of the stop."""
    left = left_of_run(_RUN)
    for process in left:
        print(f"left running by the tests: {process}", file=sys.__stderr__)
        process.kill()
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        # A worker's exit status does not reach the controller by itself.
        if "PYTEST_XDIST_WORKER" in os.environ:
            raise pytest.Exit.Exception("processes were left running", 1)
