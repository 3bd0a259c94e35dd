"""State of this host's node as seen from outside: running, answering, stopping, failed."""

from __future__ import annotations

import contextlib
from pathlib import Path

from darc.config.config import Config
from darc.model.vocabulary import VALUES
from darc.node import node_identity
from darc.node.command_client import exchange_messages, master_value
from darc.node.endpoint import Endpoint, EndpointError, reached_at, read_endpoint
from darc.node.node_config import with_run_dir
from darc.node.node_identity import NodeError
from darc.node.node_owner import ElsewhereError, NodeOwner, find_owner, refuse_elsewhere
from darc.node.process_names import MASTER
from darc.node.processes import of_node
from darc.node.supervisor import ProcessState, Supervisor, SupervisorError

LOG_LINES = 15


def supervisor_of(config: Config) -> Supervisor:
    return Supervisor(Path(config.master.run_dir) / "supervisord.sock", timeout=5.0)


def is_running(config: Config) -> bool:
    """Whether any process of this host's node exists."""
    node_id = last_node_id(Path(config.master.run_dir))
    return node_id is not None and bool(of_node(node_id))


def is_stopping(config: Config) -> bool:
    """Whether this host's node is being stopped."""
    return (
        attribute(config, "stopping") in (True, "True") or supervisor_of(config).is_shutting_down()
    ) and is_running(config)


def with_running_run_dir(config: Config) -> Config:
    """Return the configuration with the run_dir of the running node, if there is one."""
    endpoint = endpoint_of_node()
    if endpoint and endpoint.run_dir != config.master.run_dir and of_node(endpoint.node_id):
        return with_run_dir(config, endpoint.run_dir)
    return config


def endpoint_of_node() -> Endpoint | None:
    """Return the address of the node; None if there is none, or its file is damaged."""
    try:
        return read_endpoint()
    except EndpointError:
        return None


def last_node_id(run_dir: Path) -> str | None:
    """Return the id of the node that was started last on this machine.

    :return: None if there is none since the last reboot, or the files were copied from another home
    :raises ElsewhereError: a node of this home and name runs out of reach of this process
    :raises NodeError: the files are damaged, and there may be a node
    """
    try:
        refuse_elsewhere(run_dir)
        owner, node = find_owner(run_dir)
    except ElsewhereError:
        raise
    except NodeError:
        endpoint = endpoint_of_node()
        if endpoint and Path(endpoint.run_dir) == run_dir:
            return endpoint.node_id
        if node_identity.is_locked(run_dir / node_identity.MASTER_LOCK):
            raise
        return None  # whatever the file said, no node is running
    return node.node_id if node and owner is NodeOwner.HERE else None


def is_up(config: Config) -> bool:
    """Whether the master answers, and has written its endpoint file."""
    endpoint = endpoint_of_node()
    node_id = last_node_id(Path(config.master.run_dir))
    return endpoint is not None and endpoint.node_id == node_id and answers(config)


def answers(config: Config) -> bool:
    """Whether this host's node answers on its command port."""
    node_id = last_node_id(Path(config.master.run_dir))
    return node_id is not None and attribute(config, "node_id") == node_id


def attribute(config: Config, name: str) -> object | None:
    """Return an attribute of this host's master; None if it does not answer.

    One of a version before values answers in text.
    """
    endpoint = endpoint_of_node()
    if endpoint:
        host, port = endpoint.host, endpoint.port
    else:
        host, port = reached_at(config.bind_address), config.master.port
    request = {"command": f"get_attr {name}", "form": VALUES}
    try:
        reply = exchange_messages(host, port, request, 2.0, None)
    except (OSError, ValueError):
        return None
    return master_value(reply.get("message"))


def where() -> str:
    endpoint = endpoint_of_node()
    return f"{endpoint.host}:{endpoint.port}" if endpoint else "nowhere"


def failure_reason(config: Config, service: str) -> str:
    """Return supervisord's reason why a service is not running, and the end of its log."""
    process = None
    with contextlib.suppress(SupervisorError):
        process = supervisor_of(config).processes().get(service)
    if process and process.state is ProcessState.STOPPED:
        # supervisord refused the start; the reason is in the master's log
        return f"{service}: {log_end(config, MASTER)}"
    said = f"{process.spawn_error}\n" if process and process.spawn_error else ""
    if process and process.state.alive:
        said = (
            f"process {process.pid} exists but does not answer;"
            f" if that persists: darc --service {service} restart\n"
        )
    return f"{service}: {said}{log_end(config, service)}"


def log_end(config: Config, service: str) -> str:
    """Return the last lines of a service's log, with its path."""
    path = Path(config.log_file(service))
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16384))
            lines = file.read().decode(errors="replace").splitlines()[-LOG_LINES:]
    except OSError as error:
        return f"{path}: {error.strerror}"
    return "\n".join([f"the end of {path}:", *(f"  {line}" for line in lines)])
