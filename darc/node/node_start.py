"""The start of a node."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from darc.config.config import Config
from darc.config.records import replace
from darc.node import node_identity, supervisor_config
from darc.node.endpoint import Endpoint, reached_at, write_endpoint
from darc.node.listening_process import who_listens
from darc.node.node_config import share_parsed_config
from darc.node.node_identity import NodeError
from darc.node.node_owner import NodeOwner, find_owner_unlocked, is_held, places
from darc.node.node_ports import bind_error, unavailable_ports
from darc.node.node_probe import (
    answers,
    endpoint_of_node,
    failure_reason,
    is_running,
    is_stopping,
    is_up,
    last_node_id,
    supervisor_of,
    where,
)
from darc.node.node_stop import EXIT_SECONDS, STOP_SECONDS, alone, clean, forget_wanted
from darc.node.parent_directories import check_above
from darc.node.process_names import MASTER, MONITOR
from darc.node.processes import NODE_ID, kill_node, of_node
from darc.node.secret import make_secret, read_secret
from darc.node.start_warnings import set_aside, warnings_after_start
from darc.node.state_format import check_state
from darc.node.supervisor import ProcessState, SupervisorError, SupervisorGoneError
from darc.runtime import paths
from darc.runtime.clock import wait_until
from darc.runtime.thread_limits import ONE_THREAD

START_SECONDS = 60.0  # a master that cannot start is told at once
# Time for processes left by a crashed supervisord to exit by themselves.
ORPHAN_SECONDS = 1.0
# Time for processes that only check a lock.
LOOK_SECONDS = 2.0
#: Variables that the caller may have set for other programs, in a terminal or notebook.
NOT_FOR_DAEMONS = {
    "MPLBACKEND",
    "MATPLOTLIBRC",
    "NUMBA_DISABLE_JIT",
    "PYTHONBREAKPOINT",
    "PYTHONDEBUG",
    "PYTHONINSPECT",
    "PYTHONIOENCODING",
    "PYTHONOPTIMIZE",
    "PYTHONPROFILEIMPORTTIME",
    "PYTHONSTARTUP",
    "PYTHONTRACEMALLOC",
    "PYTHONVERBOSE",
    "PYTHONWARNINGS",
}

#: Part of its message then.
_LIMIT_OF_FILES = "minimum number of file descriptors"


def start_master(config: Config, say: Callable[[str], None]) -> None:
    """Start this host's node unless it is running: supervisord, and darc_master under it.

    :param say: called with messages for the operator
    :raises ConfigError: a path cannot be used, or a section is invalid
    :raises NodeError: it did not start; the message says why
    """
    run_dir = Path(config.master.run_dir)
    supervisor_config.check_paths(config)
    running = is_running(config)  # raises if it runs elsewhere
    if not running:
        check_above(run_dir)
        check_state(run_dir)
    os.umask(os.umask(0o077) | 0o022)  # whatever the shell had: others may write nothing of it
    for directory in (run_dir, *places(run_dir), *_directories(config)):
        make_directory(directory)
    _close_to_others(run_dir)
    with alone(config):
        _wait_for_stopping(config, say)
        if answers(config):
            _repair(config, say)
            _start_monitor(config, say)
            say(f"DARC master is already running ({where()})")
            return
        supervisor = supervisor_of(config)
        damaged_before = set_aside(run_dir)
        try:
            state = _master_state(config)
        except SupervisorGoneError:
            _start_node(config, say)
        else:
            if state is None:
                supervisor.reread()
                supervisor.add(MASTER)
            elif state is ProcessState.BACKOFF:  # retry now, not after the back-off
                supervisor.stop(MASTER)
            supervisor.start(MASTER)
            _wait_for_master(config)
        for note in warnings_after_start(config, damaged_before):
            say(f"warning: {note}")
        say(f"DARC master started ({where()})")


def _start_node(config: Config, say: Callable[[str], None]) -> None:
    """Start supervisord and the master under it; clean up if that fails."""
    run_dir = Path(config.master.run_dir)
    try:
        node = _start_supervisord(config, run_dir, say)
    except subprocess.TimeoutExpired as error:
        raise NodeError(f"supervisord did not start within {START_SECONDS:.0f} s") from error
    try:
        _wait_for_master(config)
    except NodeError:
        pid = node_identity.supervisord_pid(run_dir)
        kill_node(node.node_id, pid, config.master.stop_timeout)
        clean(run_dir, node.node_id)
        raise


def _repair(config: Config, say: Callable[[str], None]) -> None:
    """Write damaged files of a running node again."""
    run_dir = Path(config.master.run_dir)
    node_id = last_node_id(run_dir)
    if node_id is None:
        return
    try:
        for directory in places(run_dir):
            node_identity.read_identity(directory)
    except NodeError as error:
        say(f"{error}; written again")
        node = node_identity.NodeIdentity.new(config.hostname)
        for directory in places(run_dir):
            node_identity.write_identity(directory, replace(node, node_id=node_id))
    endpoint = endpoint_of_node()
    if endpoint is None or endpoint.node_id != node_id:
        say("the endpoint file was missing or damaged; written again")
        host = reached_at(config.bind_address)
        write_endpoint(Endpoint(host, config.master.port, str(run_dir), node_id))


def _start_monitor(config: Config, say: Callable[[str], None]) -> None:
    """Start darc_monitor where it was stopped, or supervisord gave it up."""
    supervisor = supervisor_of(config)
    try:
        process = supervisor.processes().get(MONITOR)
        if process is None or not (process.state.ended or process.state is ProcessState.BACKOFF):
            return  # it runs; or of a node of before, which has none until it is started anew
        if process.state is ProcessState.BACKOFF:  # try now, not when it is its time
            supervisor.stop(MONITOR)
        supervisor.start(MONITOR)
    except SupervisorError as error:
        say(f"warning: {MONITOR} is not started: {error}")
    else:
        say(f"{MONITOR} started")


def _close_to_others(run_dir: Path) -> None:
    """Nobody else has a business in run_dir; but /tmp is not to be closed by mistake."""
    status = run_dir.stat()
    if status.st_uid != os.getuid() or status.st_mode & stat.S_ISVTX:
        raise NodeError(
            f"{run_dir}: shared with other users; set darc_master.run_dir to a directory of its own"
        )
    run_dir.chmod(0o700)


def _directories(config: Config) -> list[Path]:
    logs = {Path(config.log_file(service)).parent for service in config.services()}
    return [
        Path(config.darc_home),
        Path(config.master.log_dir),
        Path(config.log_file(MASTER)).parent,
        *sorted(logs),
        Path(config.master.parset_dir),
    ]


def make_directory(directory: Path) -> None:
    """Make a directory, unless it is there, and see whether files can be made in it.

    :raises NodeError: they cannot
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass  # other hosts, with the same PIDs, may do this at the same time
    except OSError as error:
        why = paths.broken_link(directory) or error.strerror
        raise NodeError(f"{directory}: cannot be written: {why}") from error


def _start_supervisord(
    config: Config, run_dir: Path, say: Callable[[str], None]
) -> node_identity.NodeIdentity:
    rendered = supervisor_config.render(config)
    _clear_leftovers(config, run_dir, say)
    _check_port(config)
    for what in unavailable_ports(config):
        say(f"warning: {what}")
    secret = run_dir / "secret"
    if make_secret(secret):
        say(f"{secret}: was empty, as an earlier version left it on a full disk; created again")
    read_secret(secret)
    node = node_identity.NodeIdentity.new(config.hostname)
    with _locks(run_dir) as locks:
        supervisor_config.write(rendered)
        share_parsed_config()
        for directory in places(run_dir):
            node_identity.write_identity(directory, node)
        node_identity.remove_sockets(run_dir)
        command = [sys.executable, "-P", "-m", "darc.node.supervisord"]
        # It daemonizes once its configuration is read and its socket is open.
        result = subprocess.run(
            [*command, "-c", str(run_dir / "supervisord.conf")],
            env=_environment(config, node.node_id),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=supervisor_config.working_directory(config),
            pass_fds=locks,  # held as long as it runs; its children do not inherit them
            timeout=START_SECONDS,
            check=False,
        )
    if result.returncode != 0:
        raise NodeError(
            f"supervisord did not start: {_supervisord_error(result.stderr or result.stdout)}"
        )
    return node


def _supervisord_error(said: str) -> str:
    """Return supervisord's message; for the limit of open files, with the right number."""
    if _LIMIT_OF_FILES not in said:
        return said.strip()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return f"{limit} open files (ulimit -Hn) are too few for it; raise this user's limit to 4096"


@contextlib.contextmanager
def _locks(run_dir: Path) -> Iterator[list[int]]:
    """Hold the locks that mark a node as running, for all machines with the same home.

    :raises NodeError: another process holds them
    """
    held: list[int] = []
    try:
        for directory in places(run_dir):
            try:
                # A process that only checks the lock holds it for a moment.
                lock = node_identity.wait_for_lock(directory / node_identity.LOCK, LOOK_SECONDS)
            except node_identity.LocklessError:
                if directory == run_dir:
                    raise
                continue
            if lock is None:
                raise NodeError(f"{directory} is in use by another process, which just started")
            held.append(lock)
        yield held
    finally:
        for descriptor in held:
            os.close(descriptor)


def _environment(config: Config, node_id: str) -> dict[str, str]:
    """Return the environment of every process of the node."""
    own = {name: text for name, text in os.environ.items() if name not in NOT_FOR_DAEMONS}
    environment = {**ONE_THREAD, **own, NODE_ID: node_id, "DARC_HOME": config.darc_home}
    environment["MPLBACKEND"] = "Agg"
    if paths.users_home() is None:  # astropy cannot be imported without one
        environment["HOME"] = config.darc_home
    environment["DARC_HOSTNAME"] = config.hostname
    environment[supervisor_config.BLANK] = " "
    if "DARC_CONFIG" in environment:
        environment["DARC_CONFIG"] = str(Path(environment["DARC_CONFIG"]).absolute())
    package = Path(paths.__file__).resolve().parents[1]
    wanted = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if not (package / "conf").exists():  # a checkout, which may not be on Python's path
        wanted.insert(0, str(package.parent))
    if wanted:
        environment["PYTHONPATH"] = os.pathsep.join(str(Path(path).absolute()) for path in wanted)
    return environment


def _clear_leftovers(config: Config, run_dir: Path, say: Callable[[str], None]) -> None:
    """Kill processes left by a crashed supervisord; refuse to share a run_dir with a node."""
    node_id = last_node_id(run_dir)
    if node_id and not wait_until(lambda: not of_node(node_id), ORPHAN_SECONDS):
        say(f"replacing {len(of_node(node_id))} processes left by a crashed supervisord")
        pid = node_identity.supervisord_pid(run_dir)
        kill_node(node_id, pid, config.master.stop_timeout)
    if not wait_until(lambda: not is_held(run_dir), EXIT_SECONDS):
        raise NodeError(
            f"{run_dir} is in use by another process; a second node of the same name on one home"
            " is refused: set DARC_HOSTNAME to another name, or stop that node"
        )
    owner, before = find_owner_unlocked(run_dir)
    if owner is NodeOwner.COPIED and before is not None:
        say(
            f"{run_dir} is a copy of that of node {before.node_id}, which is not touched;"
            " its journal, observations and secret were copied as well"
        )
        forget_wanted(run_dir)


def _check_port(config: Config) -> None:
    address = (config.bind_address, config.master.port)
    error: OSError | None = None

    def is_settled() -> bool:
        nonlocal error
        error = bind_error(address)
        return error is None or error.errno != errno.EADDRINUSE

    # A process that was just killed releases its port last.
    wait_until(is_settled, EXIT_SECONDS)
    if error is None:
        return
    text = f"cannot listen on {address[0]}:{address[1]}: {error.strerror}"
    if error.errno != errno.EADDRINUSE:
        raise NodeError(
            f"{text}; set control.bind or darc_master.port to a usable address"
        ) from error
    raise NodeError(
        f"{text}; the port is in use by {who_listens(config.master.port)};"
        " set darc_master.port to another port, or stop that process"
    ) from error


def _wait_for_stopping(config: Config, say: Callable[[str], None]) -> None:
    """Wait until a node that is being stopped has stopped."""
    if is_stopping(config):
        say("waiting until the node that is being stopped has stopped")
        timeout = config.master.stop_timeout + STOP_SECONDS
        if not wait_until(lambda: not is_running(config), timeout):
            raise NodeError(
                f"a node that is being stopped did not stop within {timeout:.0f} s;"
                " darc_kill_all kills it"
            )


def _master_state(config: Config) -> ProcessState | None:
    """Return the state of the master's process; None if supervisord does not know it."""
    process = supervisor_of(config).processes().get(MASTER)
    return process.state if process else None


def _wait_for_master(config: Config) -> None:

    def settled() -> bool:
        return is_up(config) or _master_state(config) in {ProcessState.BACKOFF, ProcessState.FATAL}

    with contextlib.suppress(SupervisorError):
        wait_until(settled, START_SECONDS)
    if is_up(config):
        return
    raise NodeError(f"DARC master did not start\n{failure_reason(config, MASTER)}")
