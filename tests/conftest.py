"""Fixtures: real nodes, and a test run that fails when it leaves a process behind."""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

from nodes import Node, left_of_run, node, only, patience, send_signal

from darc.delivery.outbox import Outbox

#: s, of one test with all that it starts, before it is taken for hung
_TEST_SECONDS = 120.0
_IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
if not _IS_WORKER:
    os.environ["DARC_TEST_SESSION"] = uuid.uuid4().hex
#: Of all test processes of this run; and of this one.
_SESSION = os.environ["DARC_TEST_SESSION"]
_RUN = f"{_SESSION}.{os.environ.get('PYTEST_XDIST_WORKER', '')}."

# No test fails by the clock. Continuous integration tries the same examples each time, so that it
# tells of the change; elsewhere new ones are drawn in each run, and more on request:
# --hypothesis-profile=thorough.
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.register_profile("darc", deadline=None, max_examples=50, derandomize="CI" in os.environ)
settings.load_profile("darc")

os.kill = send_signal

# A node is ten processes: compiled anew in each, the start of one takes three times as long.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


class _Loggers(dict[str, Any]):
    """The loggers by name. pytest walks through them before and after each test, without the lock
    of logging, while threads that a test has left import libraries, which make further ones."""

    def values(self) -> Any:
        return list(super().values())


logging.Logger.manager.loggerDict = _Loggers(logging.Logger.manager.loggerDict)

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
def running_node(request: pytest.FixtureRequest, test_run: str) -> Iterator[Node]:
    """A node that runs, shared by a module's tests: leave it as you found it.

    With all services, or with those alone that the module names in RUNNING_SERVICES: each takes a
    third of a second of processor time to start.
    """
    services = getattr(request.module, "RUNNING_SERVICES", None)
    with node(test_run, darc_master=only(*services) if services else {}) as made:
        made.start()
        yield made


@pytest.fixture(scope="module")
def lent_nodes() -> Iterator[list[Node]]:
    """What `lent_node` lends: one node, or none yet."""
    nodes: list[Node] = []
    yield nodes
    for made in nodes:
        made.remove()


@pytest.fixture
def lent_node(
    request: pytest.FixtureRequest, test_run: str, lent_nodes: list[Node]
) -> Iterator[Node]:
    """A node that runs, for a test that disturbs it, or ends and starts it, and sets it right.

    The next test that asks has the same one, or a new one where this is not as it was. The module
    names sections of its configuration in LENT.
    """
    if not lent_nodes:
        lent_nodes.append(Node(test_run, **request.module.LENT))
        lent_nodes[0].start()
    before = lent_nodes[0].own_files()
    yield lent_nodes[0]
    if not lent_nodes[0].all_run() or lent_nodes[0].own_files() != before:
        lent_nodes.pop().remove()


@pytest.fixture
def here(running_node: Node, monkeypatch: pytest.MonkeyPatch) -> Node:
    """The node of the module, as the one that this process finds."""
    for name in ("DARC_HOME", "DARC_HOSTNAME"):
        monkeypatch.setenv(name, running_node.environment[name])
    return running_node


@pytest.fixture
def no_more_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have the system refuse so many threads: ``no_more_threads(2)``."""
    start = threading.Thread.start

    def refuse(times: int) -> None:
        errors = [RuntimeError("can't start new thread")] * times

        def begin(thread: threading.Thread) -> None:
            if errors:
                raise errors.pop()
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", begin)

    return refuse


@pytest.fixture(autouse=True)
def _outboxes_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """None that a test leaves, with the service that made it, goes on trying in this process."""
    made: list[Outbox[Any]] = []
    init = Outbox.__init__

    def note(outbox: Outbox[Any], *words: Any, **named: Any) -> None:
        init(outbox, *words, **named)
        made.append(outbox)

    monkeypatch.setattr(Outbox, "__init__", note)
    yield
    for outbox in made:
        outbox.close()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real samples, which are not part of the project."""
    path = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the real samples are not here")
    return path


def pytest_configure(config: pytest.Config) -> None:
    """Give a test more time on a machine that others use; workers get the value as it is here."""
    if not _IS_WORKER:
        # As Ctrl-C: `timeout` ends the tests so, and their nodes have to end with them.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    if config.option.timeout is None:
        config.option.timeout = patience(_TEST_SECONDS)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Have what is collected, half a million objects, never looked at for garbage.

    It stays as long as the process, and took a tenth of the tests' time, and a third of collecting.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        # What is old is looked at when it has grown by a quarter: of little, that is all the time.
        gc.set_threshold(*gc.get_threshold()[:2], 50)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Have one process alone import a file of tests first: what that compiles, the others read.

    All processes collect all files, in the same order: where nothing is compiled yet, each would
    compile everything.
    """
    if not isinstance(collector, pytest.Module):
        return (yield)
    with collector.path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        return (yield)


def pytest_collection_finish() -> None:
    """Have one process alone compile a function (numba): the others read the machine code."""
    if "numba" not in sys.modules:
        return
    from numba.core.dispatcher import Dispatcher  # noqa: PLC0415 - takes a second, and not all need it

    compile_here = Dispatcher.compile
    functions: list[Any] = []

    def compile_alone(function: Any, signature: Any) -> Any:
        source = Path(function.py_func.__code__.co_filename)
        # Those that it calls are compiled meanwhile, by this same process.
        if functions or not source.exists():
            return compile_here(function, signature)
        functions.append(function)
        try:
            with source.open() as held:
                fcntl.flock(held, fcntl.LOCK_EX)
                try:
                    return compile_here(function, signature)
                finally:
                    # Not by closing it: what is forked meanwhile has it open, too.
                    fcntl.flock(held, fcntl.LOCK_UN)
        finally:
            functions.pop()

    Dispatcher.compile = compile_alone


def pytest_itemcollected(item: pytest.Item) -> None:
    """The same for tests that say themselves how long they may take."""
    marker = item.get_closest_marker("timeout")
    if marker is not None:
        item.add_marker(pytest.mark.timeout(patience(marker.args[0])), append=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that may take long come first: at the end, the other test processes would wait."""

    def is_short(item: pytest.Item) -> bool:
        marker = item.get_closest_marker("timeout")
        return marker is None or marker.args[0] <= patience(_TEST_SECONDS)

    items.sort(key=is_short)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of a node that outlives the tests is a defect, of the tests or of the stop."""
    if _end_what_is_left(_RUN):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        # A worker's exit status does not reach the controller by itself.
        if _IS_WORKER:
            raise pytest.Exit.Exception("processes were left running", 1)


def pytest_unconfigure() -> None:
    """Ctrl-C, or the death of a test process, leaves its nodes to the process that started it."""
    if not _IS_WORKER:
        _end_what_is_left(_SESSION)


def _end_what_is_left(of: str) -> bool:
    left = left_of_run(of)
    for process in left:
        words = [str(process.pid)]
        with suppress(psutil.NoSuchProcess):
            words += process.cmdline()
            process.kill()
        print("left running by the tests:", *words, file=sys.__stderr__)
    return bool(left)
