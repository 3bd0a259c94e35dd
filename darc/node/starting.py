"""The start of a node."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from darc.model.config import Config
from darc.node import files, identity, render
from darc.node.ending import STOP_SECONDS, alone, clean
from darc.node.endpoint import (
    Endpoint,
    reached_at,
    write_endpoint,
)
from darc.node.identity import NodeError
from darc.node.look import (
    answers,
    endpoint_of_node,
    is_running,
    is_stopping,
    is_up,
    last_node_id,
    supervisor_of,
    what_went_wrong,
    where,
)
from darc.node.one_thread import ONE_THREAD
from darc.node.processes import NODE_ID, kill_node, of_node, wait_until, who_listens
from darc.node.secret import make_secret, read_secret
from darc.node.supervisor import ProcessState, SupervisorError, SupervisorGoneError

START_SECONDS = 15.0
# For the processes that a dead supervisord left to end by themselves.
ORPHAN_SECONDS = 1.0


def start_master(config: Config, say: Callable[[str], None]) -> None:
    """Start this host's node, unless it runs: supervisord, and darc_master under it.

    :raises NodeError: it did not come up; the text says why
    """
    run_dir = Path(config.master.run_dir)
    for directory in (run_dir, *_directories(config)):
        _make_directory(directory)
    _close_to_others(run_dir)
    with alone(config):
        _wait_for_stopping(config, say)
        if answers(config):
            _repair(config, say)
            say(f"DARC master is already running ({where()})")
            return
        supervisor = supervisor_of(config)
        try:
            state = supervisor.processes()[render.MASTER].state
        except SupervisorGoneError:
            _start_node(config, say)
        else:
            if state is ProcessState.BACKOFF:  # try now, not when it is its time
                supervisor.stop(render.MASTER)
            supervisor.start(render.MASTER)
            _wait_for_master(config)
        say(f"DARC master started ({where()})")


def _start_node(config: Config, say: Callable[[str], None]) -> None:
    """Start supervisord, and the master under it; or leave nothing."""
    run_dir = Path(config.master.run_dir)
    try:
        node = _start_supervisord(config, run_dir, say)
    except subprocess.TimeoutExpired as error:
        raise NodeError(f"supervisord did not start within {START_SECONDS:.0f} s") from error
    try:
        _wait_for_master(config)
    except NodeError:
        pid = identity.supervisord_pid(run_dir)
        kill_node(node.node_id, pid, config.master.stop_timeout)
        clean(run_dir)
        raise


def _repair(config: Config, say: Callable[[str], None]) -> None:
    """Make files of a node that runs anew where they are damaged."""
    run_dir = Path(config.master.run_dir)
    node_id = last_node_id(run_dir)
    if node_id is None:
        return
    try:
        identity.read_identity(run_dir)
    except NodeError as error:
        say(f"{error}; made anew")
        node = identity.Identity.new(config.hostname)
        identity.write_identity(run_dir, replace(node, node_id=node_id))
    endpoint = endpoint_of_node()
    if endpoint is None or endpoint.node_id != node_id:
        say("the endpoint file was missing or damaged; made anew")
        host = reached_at(config.bind_address)
        write_endpoint(Endpoint(host, config.master.port, str(run_dir), node_id))


def _close_to_others(run_dir: Path) -> None:
    """Nobody else has a business in run_dir; but /tmp is not to be closed by mistake."""
    status = run_dir.stat()
    if status.st_uid != os.getuid() or status.st_mode & stat.S_ISVTX:
        raise NodeError(
            f"{run_dir}: belongs to others as well; set darc_master.run_dir to a directory"
            " of its own"
        )
    run_dir.chmod(0o700)


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
        with tempfile.TemporaryFile(dir=directory):
            pass  # other hosts, with the same pids, may do this at the same time
    except OSError as error:
        raise NodeError(f"{directory}: cannot be written: {error.strerror}") from error


def _start_supervisord(
    config: Config, run_dir: Path, say: Callable[[str], None]
) -> identity.Identity:
    rendered = render.render(config)
    _clear_leftovers(config, run_dir, say)
    _check_port(config)
    make_secret(run_dir / "secret")
    read_secret(run_dir / "secret")
    node = identity.Identity.new(config.hostname)
    render.write(rendered)
    identity.write_identity(run_dir, node)
    identity.remove_sockets(run_dir)
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
    return node


def _environment(config: Config, node_id: str) -> dict[str, str]:
    """Of every process of the node."""
    environment = {**ONE_THREAD, **os.environ, NODE_ID: node_id, "DARC_HOME": config.darc_home}
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
    node_id = last_node_id(run_dir)
    if node_id and not wait_until(lambda: not of_node(node_id), ORPHAN_SECONDS):
        say(f"replacing {len(of_node(node_id))} processes that a dead supervisord left")
        pid = identity.supervisord_pid(run_dir)
        kill_node(node_id, pid, config.master.stop_timeout)
    if not identity.is_locked(run_dir / "lock"):
        return
    try:
        before = identity.read_identity(run_dir)
    except NodeError:
        before = None
    whose = "another process"
    if before:
        machine = "this machine" if before.machine == identity.this_machine() else "another machine"
        whose = f"a node named {before.hostname} on {machine} (id {before.node_id})"
    raise NodeError(
        f"{run_dir} is in use by {whose}; a second node of the same name on one home is refused:"
        " set DARC_HOSTNAME to another name, or stop that node"
    )


def _check_port(config: Config) -> None:
    address = (config.bind_address, config.master.port)
    family = socket.AF_INET6 if ":" in config.bind_address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            text = f"cannot listen on {address[0]}:{address[1]}: {error.strerror}"
            if error.errno != errno.EADDRINUSE:
                raise NodeError(
                    f"{text}; set control.bind or darc_master.port to what can be listened on"
                ) from error
            raise NodeError(
                f"{text}; the port is in use by {who_listens(config.master.port)};"
                " set darc_master.port to another one, or stop that process"
            ) from error


def _wait_for_stopping(config: Config, say: Callable[[str], None]) -> None:
    """A node that is about to end is not one that runs."""
    if is_stopping(config):
        say("waiting for the end of the node that is being stopped")
        patience = config.master.stop_timeout + STOP_SECONDS
        if not wait_until(lambda: not is_running(config), patience):
            raise NodeError(
                f"a node that is being stopped has not ended within {patience:.0f} s;"
                " darc_kill_all ends it"
            )


def _wait_for_master(config: Config) -> None:
    supervisor = supervisor_of(config)

    def settled() -> bool:
        return is_up(config) or supervisor.processes()[render.MASTER].state in {
            ProcessState.BACKOFF,
            ProcessState.FATAL,
        }

    with contextlib.suppress(SupervisorError):
        wait_until(settled, START_SECONDS)
    if is_up(config):
        return
    raise NodeError(f"DARC master did not come up\n{what_went_wrong(config, render.MASTER)}")
