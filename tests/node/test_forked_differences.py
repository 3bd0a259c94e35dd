"""What a forked program could have otherwise than one of a new interpreter."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from nodes import ROOT, TEST_RUN, patience, wait_for

from darc.node.supervisor import ProcessState, Supervisor

CONFIGURATION = """
[supervisord]
logfile={directory}/supervisord.log
pidfile={directory}/supervisord.pid
[unix_http_server]
file={socket}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[rpcinterface:collecting]
supervisor.rpcinterface_factory=darc.collecting:made
[program:forked]
command={python} -P -m darc.tried
autostart=false
autorestart=false
startsecs=0
redirect_stderr=true
stdout_logfile={directory}/forked.log
[program:started]
command={python} -P -m darc.tried
autostart=false
autorestart=false
startsecs=0
redirect_stderr=true
stdout_logfile={directory}/started.log
environment=ANOTHER="environment"
"""
#: A plugin of supervisord's, by which it forgets now what it does not need any more.
COLLECTING = """
import gc

def made(supervisord, **options):
    print("collected", gc.collect())
    return object()
"""
#: It waits for the end of its standard input, as services do.
WAITING = """
import os, sys
print("at work", flush=True)
os.read(0, 1)
"""


class Tried:
    """supervisord of a copy of this package, with a program ``darc.tried`` of two sections.

    The process of `forked` is that which was forked; `started` has another environment, and so an
    interpreter of its own.
    """

    def __init__(self, directory: Path, run: str) -> None:
        self.directory = directory
        self.places = directory / "copy", directory / "not_there"
        ignored = shutil.ignore_patterns("__pycache__")
        for part in ("darc", "conf", "supervisor"):
            shutil.copytree(ROOT / part, self.places[0] / part, ignore=ignored)
        self.write("collecting", COLLECTING)
        self.socket = directory / "s"
        text = CONFIGURATION.format(directory=directory, python=sys.executable, socket=self.socket)
        (directory / "conf").write_text(text)
        self.environment = {
            **os.environ,
            TEST_RUN: run,
            "DARC_HOME": str(directory),
            "DARC_HOSTNAME": "tried",
            "PYTHONPATH": os.pathsep.join(map(str, self.places)),
        }
        # What is written at the end alone is looked at, too.
        self.environment.pop("PYTHONUNBUFFERED", None)
        self.supervisor = Supervisor(self.socket, patience(5.0))

    def write(self, module: str, text: str) -> None:
        (self.places[0] / "darc" / f"{module}.py").write_text(text)

    def begin(self) -> None:
        words = ["-P", "-m", "darc.node.supervisord", "-c", str(self.directory / "conf")]
        subprocess.run(
            [sys.executable, *words],
            env=self.environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=patience(15.0),
            check=True,
        )

    def start(self, name: str) -> int:
        """Start one, and return its process id, once it has said something."""
        before = len(self.log(name))
        assert self.supervisor.start(name)
        wait_for(lambda: len(self.log(name)) > before, what=f"words of {name}")
        return self.supervisor.processes()[name].pid

    def stop(self, name: str) -> None:
        self.supervisor.stop(name)
        wait_for(lambda: self.supervisor.processes()[name].state is ProcessState.STOPPED)

    def log(self, name: str) -> str:
        path = self.directory / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def exit_of(self, name: str) -> str:
        """How a process that is started now ends, in supervisord's words."""
        before = self.log("supervisord").count(f"exited: {name} ")

        def ended() -> list[str]:
            lines = self.log("supervisord").splitlines()
            return [line for line in lines if f"exited: {name} " in line][before:]

        self.supervisor.start(name)
        return wait_for(ended)[0].partition(f"exited: {name} ")[2]


def was_forked(pid: int) -> bool:
    """Whether the process has the environment in /proc that supervisord began with."""
    return "SUPERVISOR_ENABLED" not in psutil.Process(pid).environ()


@pytest.fixture
def make_tried(tmp_path: Path, test_run: str) -> Iterator[Callable[[], Tried]]:
    """Make one that is not begun yet, and ended afterwards."""
    directory = tmp_path / "tried"
    directory.mkdir()
    yield lambda: Tried(directory, test_run)
    if (directory / "supervisord.pid").exists():
        process = psutil.Process(int((directory / "supervisord.pid").read_text()))
        process.terminate()
        process.wait(patience(20.0))


@pytest.fixture
def tried(make_tried: Callable[[], Tried]) -> Callable[[str], Tried]:
    """Begin one with the text of its program."""

    def begin(text: str) -> Tried:
        made = make_tried()
        made.write("tried", text)
        made.begin()
        return made

    return begin


def test_standard_streams_are_there_after_supervisord_has_reloaded(
    tried: Callable[[str], Tried],
) -> None:
    at = tried(WAITING)
    for times in (2, 3):
        at.supervisor.call("supervisor.restart")
        wait_for(lambda n=times: at.log("supervisord").count("supervisord started") == n)
    found = {}
    for name in ("forked", "started"):
        pid = at.start(name)
        assert was_forked(pid) == (name == "forked")
        found[name] = sorted(
            (path.name, str(path.readlink()).partition(":")[0])
            for path in Path(f"/proc/{pid}/fd").iterdir()
        )
        assert at.log(name) == "at work\n"  # and nothing that supervisord has printed
    assert found["forked"] == found["started"] == [(str(n), "pipe") for n in range(3)]


def test_a_signal_that_python_ends_by_is_what_it_ends_by(tried: Callable[[str], Tried]) -> None:
    at = tried("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n")
    for name in ("forked", "started"):
        assert at.exit_of(name) == "(terminated by SIGINT; not expected)"
        assert at.log(name).endswith("KeyboardInterrupt\n")


@pytest.mark.parametrize("end", ["sys.exit(3)", "sys.exit('why')", "1 / 0", "print('x', end='')"])
def test_exit_statuses_are_those_of_python(tried: Callable[[str], Tried], end: str) -> None:
    at = tried(f"import sys\nprint('unflushed')\n{end}\n")
    assert at.exit_of("forked") == at.exit_of("started")
    last = [at.log(name).splitlines()[-1] for name in ("forked", "started")]
    assert last[0] == last[1]


def test_what_is_put_before_a_module_is_run_by_a_new_interpreter(
    tried: Callable[[str], Tried],
) -> None:
    at = tried("import msgspec, sys\nprint(msgspec.__file__, flush=True)\nsys.stdin.read()\n")
    assert was_forked(at.start("forked"))
    at.stop("forked")
    # An operator's mend, in a directory of PYTHONPATH that was not there.
    at.places[1].mkdir()
    (at.places[1] / "sitecustomize.py").write_text("print('a mend')\n")
    assert not was_forked(at.start("forked"))
    assert "a mend" in wait_for(lambda: at.log("forked"))


def test_a_library_of_the_system_that_was_replaced_is_loaded_anew(
    make_tried: Callable[[], Tried], tmp_path: Path
) -> None:
    maps = Path("/proc/self/maps").read_text().splitlines()
    library = next(line.split()[-1] for line in maps if "/libm.so" in line or "/libm-" in line)
    copy = tmp_path / Path(library).name
    shutil.copy(library, copy)
    at = make_tried()
    at.environment["LD_PRELOAD"] = str(copy)
    at.write("tried", WAITING)
    at.begin()
    assert was_forked(at.start("forked"))
    at.stop("forked")
    # As package managers do.
    shutil.copy(library, tmp_path / "new")
    (tmp_path / "new").replace(copy)
    assert not was_forked(at.start("forked"))


def test_sigterm_is_heard_from_the_beginning(tried: Callable[[str], Tried]) -> None:
    at = tried(WAITING)
    for _ in range(5):
        at.supervisor.start("forked")
        pid = wait_for(lambda: at.supervisor.processes()["forked"].pid)
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: at.supervisor.processes()["forked"].state is ProcessState.EXITED)


def test_a_signal_between_fork_and_program_is_not_taken_for_supervisord_s() -> None:
    program = """
import os, signal, time
from darc.node.supervisord import NodeOptions
before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
signal.signal(signal.SIGTERM, lambda *_: None)
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
pid = NodeOptions.fork(None)
if pid == 0:
    os._exit(3)
after = signal.pthread_sigmask(signal.SIG_BLOCK, [])
print(os.WTERMSIG(os.waitpid(pid, 0)[1]), after == before)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"{signal.SIGTERM:d} True\n"
