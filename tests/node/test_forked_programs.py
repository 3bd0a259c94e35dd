"""supervisord runs programs of DARC in the process that it has forked for them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from nodes import Node, only, patience, wait_for

import darc
from darc.runtime import paths

PROGRAM = """
import os, sys, time
print("arguments", sys.argv[1:], "of", __name__, flush=True)
print("variable", os.environ.get("WHICH"), os.environ["SUPERVISOR_PROCESS_NAME"], flush=True)
{end}
"""
#: Modules of the package, by name, with how they end.
ENDS = {
    "returns": "",
    "exits": "sys.exit(3)",
    "says": "sys.exit('what is wrong')",
    "raises": "raise ValueError('as said')",
    "stays": "time.sleep(600)",
}
SECTION = """
[program:{name}]
command={python} -P -m {module}
environment={environment}
startsecs=0
autorestart={restart}
redirect_stderr=true
stdout_logfile={directory}/{name}.log
"""
CONFIGURATION = """
[supervisord]
nodaemon=true
logfile={directory}/supervisord.log
pidfile={directory}/supervisord.pid
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A directory with a copy of DARC that has further modules."""
    source = Path(darc.__file__).parent
    copied = tmp_path / "copied"
    shutil.copytree(source, copied / "darc", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("conf", "supervisor"):
        if not (source / name).exists():  # of a checkout
            shutil.copytree(paths.packaged(name), copied / name)
    for name, end in ENDS.items():
        (copied / "darc" / f"{name}.py").write_text(PROGRAM.format(end=end))
    written = (copied / "darc" / "stays.py").stat().st_ctime
    # A process that begins in the same hundredth of a second may have loaded what was before.
    wait_for(lambda: time.time() > written + 0.1, 20.0, "that the files are older")
    return copied


@pytest.fixture
def run(package: Path, tmp_path: Path) -> Iterator[Callable[..., psutil.Process]]:
    """Run supervisord with programs: ``run(name="module")``; it ends with the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start(
        environment: str = "", *, logs: Path = tmp_path, restart: str = "false", **modules: str
    ) -> psutil.Process:
        text = CONFIGURATION.format(directory=tmp_path) + "".join(
            SECTION.format(
                name=name,
                module=module,
                python=sys.executable,
                environment=environment,
                directory=logs,
                restart=restart,
            )
            for name, module in modules.items()
        )
        (tmp_path / "supervisord.conf").write_text(text)
        command = [sys.executable, "-P", "-m", "darc.node.supervisord"]
        command += ["-c", str(tmp_path / "supervisord.conf")]
        environ = {**os.environ, "PYTHONPATH": str(package), "WHICH": "usual"}
        running.append(subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL))
        return psutil.Process(running[0].pid)

    yield start
    for one in running:
        one.terminate()
        one.wait(patience(20.0))


def stack(pid: int) -> str:
    """Where the kernel has put a process' stack: in a fork, where it was before."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    (line,) = [line for line in lines if line.endswith("[stack]")]
    return line.split("-")[1]


def log_of(directory: Path, name: str, last: str) -> str:
    path = directory / f"{name}.log"
    wait_for(lambda: path.exists() and last in path.read_text(), 20.0, f"{last!r} of {name}")
    return path.read_text()


def test_what_a_program_prints_and_how_it_ends_is_as_python_has_it(
    run: Callable[..., psutil.Process], tmp_path: Path
) -> None:
    run(**{name: f"darc.{name}" for name in ENDS if name != "stays"})
    for end in (
        "exited: returns (exit status 0; expected)",
        "exited: exits (exit status 3; not expected)",
        "exited: says (exit status 1; not expected)",
        "exited: raises (exit status 1; not expected)",
    ):
        log_of(tmp_path, "supervisord", end)
    told = log_of(tmp_path, "returns", "variable")
    assert told == "arguments [] of __main__\nvariable usual returns\n"
    assert log_of(tmp_path, "says", "wrong").endswith("\nwhat is wrong\n")
    raised = log_of(tmp_path, "raises", "as said")
    assert "Traceback (most recent call last):" in raised
    assert raised.endswith("\nValueError: as said\n")


def test_a_program_is_shown_as_its_command_and_has_no_more_open_than_a_new_one(
    run: Callable[..., psutil.Process], tmp_path: Path
) -> None:
    supervisord = run(stays="darc.stays", alone="darc.stays")
    log_of(tmp_path, "stays", "variable")
    log_of(tmp_path, "alone", "variable")
    for one in supervisord.children():
        assert [word for word in one.cmdline() if word] == [
            sys.executable,
            "-P",
            "-m",
            "darc.stays",
        ]
        assert one.environ()["WHICH"] == "usual"
        assert stack(one.pid) == stack(supervisord.pid)
        opened = {path.name for path in Path(f"/proc/{one.pid}/fd").iterdir()}
        assert opened == {"0", "1", "2"}
        status = Path(f"/proc/{one.pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
        assert int(caught.split()[1], 16) == 1 << 1  # SIGINT, as Python has it at its start


@pytest.mark.parametrize("variable", ["WHICH", "PYTHONMALLOC", "TZ"])
def test_a_program_with_variables_of_its_own_has_an_interpreter_of_its_own(
    run: Callable[..., psutil.Process], tmp_path: Path, variable: str
) -> None:
    supervisord = run(f'{variable}="malloc"', stays="darc.stays")
    log_of(tmp_path, "stays", "variable")
    (one,) = supervisord.children()
    assert stack(one.pid) != stack(supervisord.pid)
    assert one.environ()[variable] == "malloc"


def test_start_code_of_somebody_runs_for_each_program(
    run: Callable[..., psutil.Process], package: Path, tmp_path: Path
) -> None:
    code = "import os; os.environ['WHICH'] = os.environ.get('SUPERVISOR_PROCESS_NAME', 'nobody')\n"
    (package / "sitecustomize.py").write_text(code)
    run(stays="darc.stays")
    assert "variable stays stays" in log_of(tmp_path, "stays", "variable")


@pytest.mark.parametrize("there", ["nothing", "a file", "a directory in its place"])
def test_a_program_is_started_again_where_its_log_is_gone_or_cannot_be_written(
    run: Callable[..., psutil.Process], tmp_path: Path, there: str
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    supervisord = run(stays="darc.stays", logs=logs, restart="true")
    log_of(logs, "stays", "variable")
    shutil.rmtree(logs)
    if there == "a file":
        logs.write_text("")
    elif there == "a directory in its place":
        (logs / "stays.log").mkdir(parents=True)
    (before,) = supervisord.children()

    before.kill()

    wait_for(lambda: {*supervisord.children()} - {before}, 20.0, "the program")
    if there == "nothing":
        assert "variable usual stays" in log_of(logs, "stays", "variable")
    else:
        log_of(tmp_path, "supervisord", "stays runs without its log: ")


def test_a_master_whose_logs_were_removed_when_it_died_is_back(fresh_node: Node) -> None:
    fresh_node.start()
    logs = fresh_node.home / "log"
    master = fresh_node.pid("darc_master")
    service = fresh_node.pid("lofar_trigger")
    os.kill(master, signal.SIGSTOP)  # it would make the directory again
    shutil.rmtree(logs)
    os.kill(service, signal.SIGKILL)
    os.kill(master, signal.SIGKILL)
    wait_for(fresh_node.all_run, 10.0, "all services")
    assert "lofar_trigger: started" in fresh_node.log("lofar_trigger")


def test_a_service_that_is_restarted_after_an_update_is_the_new_one(
    make_node: Callable[..., Node], package: Path
) -> None:
    node = make_node(darc_master=only("dada_trigger", "lofar_trigger"))
    node.environment["PYTHONPATH"] = str(package)
    node.start()
    assert stack(node.pid("dada_trigger")) == stack(node.pid("lofar_trigger"))
    updated = package / "darc" / "services" / "base" / "trigger_consumer.py"
    before = updated.stat()
    updated.write_text(
        f"{updated.read_text()}\nimport sys; print('this is the new one', file=sys.stderr)\n"
    )
    os.utime(updated, ns=(before.st_atime_ns, before.st_mtime_ns))

    result = node.darc("--service", "dada_trigger", "restart")

    assert result.returncode == 0, result.stdout
    wait_for(node.all_run, 20.0, "the restart")
    assert "this is the new one" in node.log("dada_trigger")
    assert "this is the new one" not in node.log("lofar_trigger")
