"""Start, stop and kill a node: what the scripts in bin/ do."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from darc.control import exchange_messages
from darc.model.config import Config
from darc.node import files, identity, render
from darc.node.endpoint import read_endpoint, remove_endpoint
from darc.node.identity import NodeError
from darc.node.processes import NODE_ID, kill_node, of_node, wait_until, who_listens
from darc.node.secret import make_secret
from darc.node.supervisor import ProcessState, Supervisor, SupervisorError, SupervisorGoneError

START_SECONDS = 15.0
LOCK_SECONDS = 30.0
LOG_LINES = 15
# What a stop may take beyond stop_timeout.
STOP_SECONDS = 3.0


def supervisor_of(config: Config) -> Supervisor:
    return Supervisor(Path(config.master.run_dir) / "supervisord.sock", timeout=5.0)


def start_master(config: Config, say: Callable[[str], None]) -> None:
    """Start this host's node, unless it runs: supervisord, and darc_master under it.

    :raises NodeError: it did not come up; the text says why
    """
    run_dir = Path(config.master.run_dir)
    for directory in (run_dir, *_directories(config)):
        _make_directory(directory)
    run_dir.chmod(0o700)
    with identity.lock(run_dir / "start.lock", LOCK_SECONDS):
        _wait_for_stopping(config, say)
        if _answers(config):
            say(f"DARC master is already running ({_where()})")
            return
        supervisor = supervisor_of(config)
        try:
            supervisor.poke()
        except SupervisorGoneError:
            _start_supervisord(config, run_dir, say)
        else:
            supervisor.start(render.MASTER)
        _wait_for_master(config)
        say(f"DARC master started ({_where()})")


def is_running(config: Config) -> bool:
    """Whether any process of this host's node is there."""
    node = identity.read_identity(Path(config.master.run_dir))
    return node is not None and bool(of_node(node.node_id))


def _directories(config: Config) -> list[Path]:
    logs = {Path(config.log_file(service)).parent for service in config.services()}
    return [
        Path(config.darc_home),
        Path(config.master.log_dir),
        Path(config.log_file(render.MASTER)).parent,
        *sorted(logs),
        Path(config.master.parset_dir),
    ]


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".probe.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise NodeError(f"{directory}: cannot be written: {error.strerror}") from error


def _start_supervisord(config: Config, run_dir: Path, say: Callable[[str], None]) -> None:
    _clear_leftovers(config, run_dir, say)
    rendered = render.render(config)
    _check_port(config)
    make_secret(run_dir / "secret")
    node = identity.Identity.new(config.hostname)
    render.write(rendered)
    identity.write_identity(run_dir, node)
    for name in ("supervisord.sock", "queues.sock"):
        (run_dir / name).unlink(missing_ok=True)
    command = [sys.executable, "-P", "-m", "supervisor.supervisord"]
    # It goes to the background once its configuration is read and its socket is open.
    result = subprocess.run(
        [*command, "-c", str(run_dir / "supervisord.conf")],
        env=_environment(config, node.node_id),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd="/",
        timeout=START_SECONDS,
        check=False,
    )
    if result.returncode != 0:
        raise NodeError(f"supervisord did not start: {(result.stderr or result.stdout).strip()}")


def _environment(config: Config, node_id: str) -> dict[str, str]:
    """Of every process of the node."""
    environment = {**os.environ, NODE_ID: node_id, "DARC_HOME": config.darc_home}
    environment["DARC_HOSTNAME"] = config.hostname
    if "DARC_CONFIG" in environment:
        environment["DARC_CONFIG"] = str(Path(environment["DARC_CONFIG"]).absolute())
    package = Path(files.__file__).resolve().parents[1]
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if not (package / "conf").exists():  # a checkout, which may not be on Python's path
        paths.insert(0, str(package.parent))
    if paths:
        environment["PYTHONPATH"] = os.pathsep.join(str(Path(path).absolute()) for path in paths)
    return environment


def _clear_leftovers(config: Config, run_dir: Path, say: Callable[[str], None]) -> None:
    """End what a dead supervisord left, and refuse to share a run_dir with a living node."""
    before = identity.read_identity(run_dir)
    if before is None:
        return
    left = of_node(before.node_id)
    if left:
        say(f"replacing {len(left)} processes that a dead supervisord left")
        pid = identity.supervisord_pid(run_dir)
        kill_node(before.node_id, pid, config.master.stop_timeout)
    held = identity.try_lock(run_dir / "lock")
    if held is None:
        machine = "this machine" if before.machine == identity.this_machine() else "another machine"
        raise NodeError(
            f"{run_dir} is in use by a node named {before.hostname} on {machine}"
            f" (id {before.node_id}); a second node of the same name on one home is refused:"
            " set DARC_HOSTNAME to another name, or stop that node"
        )
    os.close(held)


def _check_port(config: Config) -> None:
    address = (config.bind_address, config.master.port)
    family = socket.AF_INET6 if ":" in config.bind_address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise NodeError(
                f"cannot listen on {address[0]}:{address[1]}: {error.strerror};"
                f" the port is in use by {who_listens(config.master.port)};"
                " set darc_master.port to another one, or stop that process"
            ) from error


def _wait_for_stopping(config: Config, say: Callable[[str], None]) -> None:
    """A node that is about to end is not one that runs."""
    if _attribute("stopping") == "True":
        say("waiting for the end of the node that is being stopped")
        wait_until(lambda: not is_running(config), config.master.stop_timeout + STOP_SECONDS)


def _answers(config: Config) -> bool:
    """This host's node answers on its command port."""
    node = identity.read_identity(Path(config.master.run_dir))
    return node is not None and _attribute("node_id") == node.node_id


def _attribute(name: str) -> str | None:
    """An attribute of the master that the endpoint file names; None when it does not answer."""
    endpoint = read_endpoint()
    if endpoint is None:
        return None
    request = {"command": f"get_attr {name}"}
    try:
        reply = exchange_messages(endpoint.host, endpoint.port, request, 2.0, None)
    except (OSError, ValueError):
        return None
    return str(reply.get("message")).removeprefix(f"DARCMaster.{name} = ")


def _where() -> str:
    endpoint = read_endpoint()
    return f"{endpoint.host}:{endpoint.port}" if endpoint else "nowhere"


def _wait_for_master(config: Config) -> None:
    supervisor = supervisor_of(config)

    def settled() -> bool:
        return _answers(config) or supervisor.processes()[render.MASTER].state in {
            ProcessState.BACKOFF,
            ProcessState.FATAL,
        }

    with contextlib.suppress(SupervisorError):
        wait_until(settled, START_SECONDS)
    if _answers(config):
        return
    raise NodeError(f"DARC master did not come up\n{log_end(config, render.MASTER)}")


def log_end(config: Config, service: str) -> str:
    """The last lines of a service's log, with its name."""
    path = Path(config.log_file(service))
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16384))
            lines = file.read().decode(errors="replace").splitlines()[-LOG_LINES:]
    except OSError as error:
        return f"{path}: {error.strerror}"
    return "\n".join([f"the end of {path}:", *(f"  {line}" for line in lines)])


def wait_for_stop(config: Config) -> None:
    """Wait until nothing of this host's node is left.

    :raises NodeError: something is
    """
    run_dir = Path(config.master.run_dir)
    node = identity.read_identity(run_dir)
    if node is None:
        return
    patience = config.master.stop_timeout + STOP_SECONDS
    if not wait_until(lambda: not of_node(node.node_id), patience):
        names = ", ".join(f"{process.pid}" for process in of_node(node.node_id))
        raise NodeError(
            f"still running after {patience:.0f} s: processes {names}; darc_kill_all ends them\n"
            + log_end(config, render.MASTER)
        )
    _clean(run_dir)


def kill_all(run_dir: Path, stop_timeout: float) -> str:
    """End everything of the node that was started last in ``run_dir``; says what was done."""
    node = identity.read_identity(run_dir)
    if node is None:
        return "DARC is not running: no node was started here"
    asked, killed = kill_node(node.node_id, identity.supervisord_pid(run_dir), stop_timeout)
    left = of_node(node.node_id)
    if left:
        raise NodeError(
            f"processes {', '.join(str(process.pid) for process in left)} cannot be killed"
        )
    _clean(run_dir)
    if not asked:
        return "DARC is not running"
    return f"{asked} processes ended, {killed} of them by SIGKILL"


def _clean(run_dir: Path) -> None:
    for name in ("supervisord.sock", "supervisord.pid", "queues.sock"):
        (run_dir / name).unlink(missing_ok=True)
    remove_endpoint()
