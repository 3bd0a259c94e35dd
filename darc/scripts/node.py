"""What the scripts in bin/ do: each returns an exit status, and says what it did."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from darc.control import ask
from darc.model.config import Config, ConfigError
from darc.node import ending, look, starting
from darc.node.configuration import load_config, load_node_config
from darc.node.endpoint import CopiedError, EndpointError, endpoint_file, read_endpoint
from darc.node.identity import NodeError
from darc.node.secret import SecretError
from darc.node.supervisor import SupervisorError
from darc.program import as_program, is_of_output
from darc.scripts.waiting import waiting

# A reply comes when all services are settled; what it may take beyond the configured times.
REPLY_SECONDS = 10.0
# For a question of which nothing depends.
ASK_SECONDS = 1.0


# What an operator is told in words, without a traceback.
_TOLD = (ConfigError, EndpointError, NodeError, SecretError, SupervisorError, OSError)


@as_program
def start_master() -> int:
    """Start the master on this node and check that it came up."""

    def action(config: Config) -> None:
        _start_master(config)

    return _run(start_master, action, load_config)


@as_program
def stop_master() -> int:
    """Stop the master and every service; running observations are aborted."""

    return _run(stop_master, stop_node, load_node_config)


def stop_node(config: Config) -> None:
    """Stop all of this node, and say so.

    :raises NodeError: something is left
    """
    if not look.is_running(config):
        print("DARC is not running")
        return
    with ending.alone(config), waiting("stopping the node"):
        _stop_master(config)
        ending.wait_for_stop(config)
    print("DARC master and all services stopped")


@as_program
def start_all_services() -> int:
    """Start every service, and the master if it is not running."""

    def action(config: Config) -> None:
        start_node(config)

    return _run(start_all_services, action, load_config)


def start_node(config: Config) -> dict[str, str]:
    """Start all of this node, say what came of each service, and return it.

    :raises NodeError: one was not started
    """
    _start_master(config)
    with waiting("starting the services", _not_running):
        outcomes, failed = _started(config)
    _print_outcomes(outcomes)
    if failed:
        reasons = "\n".join(look.what_went_wrong(config, name) for name in failed)
        raise NodeError(f"not started: {', '.join(failed)}\n{reasons}")
    return outcomes


@as_program
def stop_all_services() -> int:
    """Stop every service but the master; running observations are aborted."""

    def action(config: Config) -> None:
        if not look.is_running(config):
            print("DARC is not running")
            return
        _command(config, "abort_all")
        with waiting("stopping the services"):
            outcomes, failed = _outcomes(config, "stop")
        _print_outcomes(outcomes)
        if failed:
            raise NodeError(f"not stopped: {', '.join(failed)}; darc_kill_all ends what hangs")

    return _run(stop_all_services, action, load_node_config)


@as_program
def kill_all() -> int:
    """Kill the master and every service, for when a normal stop fails."""
    parser = _parser(kill_all)
    parser.add_argument(
        "--forget",
        action="store_true",
        help="remove what a node of another machine has left that is gone for good; kill nothing",
    )
    options = parser.parse_args()
    try:
        run_dir, stop_timeout = _kill_settings()
        if options.forget:
            print(ending.forget(run_dir))
        else:
            print(ending.kill_all(run_dir, stop_timeout))
    except _TOLD as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _kill_settings() -> tuple[Path, float]:
    """Where the node is; broken files must not stand in the way."""
    endpoint = None
    default = endpoint_file().parent
    try:
        endpoint = read_endpoint()
    except CopiedError:  # of no node that runs here
        pass
    except EndpointError as error:
        print(error, file=sys.stderr)
    try:
        config = load_node_config()
    except (ConfigError, OSError) as error:
        print(f"{error}\n(stop_timeout of 5 s used instead)", file=sys.stderr)
        return Path(endpoint.run_dir) if endpoint else default, 5.0
    return Path(endpoint.run_dir if endpoint else config.master.run_dir), config.master.stop_timeout


def _stop_master(config: Config) -> None:
    """Tell the master to end the node, or its supervisord where the master does not answer."""
    try:
        _command(config, "stop_master")
    except NodeError as error:
        if not look.is_running(config) or look.is_stopping(config):
            return
        print(f"{error}\nstopped by way of supervisord instead", file=sys.stderr)
        ending.stop_without_master(config)


def _start_master(config: Config) -> None:
    with waiting("starting the master"):
        starting.start_master(config, _say)


def _say(what: str) -> None:
    """At once, also where the output is a file that somebody watches.

    Where it cannot be written, what was begun is done all the same; the end of it tells.
    """
    with contextlib.suppress(OSError):
        print(what, flush=True)


def _not_running() -> str:
    reply, _ = ask(ASK_SECONDS, "all", "status")
    states = reply["message"] if reply and isinstance(reply["message"], dict) else {}
    return ", ".join(name for name, state in states.items() if state != "running")


def _parser(script: Callable[[], int]) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=Path(sys.argv[0]).name, description=script.__doc__)


def _run(
    script: Callable[[], int], action: Callable[[Config], None], load: Callable[[], Config]
) -> int:
    """Do a script; one that stops a node does so with its last good configuration, too."""
    _parser(script).parse_args()
    try:
        config = load()
        for warning in config.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        action(look.of_running_node(config))
    except _TOLD as error:
        if is_of_output(error):
            raise
        print(error, file=sys.stderr)
        return 1
    return 0


def _command(config: Config, command: str) -> None:
    reply = _reply(config, command, None)
    if reply["status"] == "Error":
        raise NodeError(f"{command}: {_text(reply['message'])}")


def _started(config: Config) -> tuple[dict[str, str], list[str]]:
    """Start all services, and wait for those that take longer than the command does."""
    outcomes, failed = _outcomes(config, "start")
    deadline = time.monotonic() + REPLY_SECONDS
    while "starting" in outcomes.values() and time.monotonic() < deadline:
        again, failed = _outcomes(config, "start")
        for name, outcome in again.items():
            if outcomes[name] == "starting":
                outcomes[name] = "started" if outcome == "already running" else outcome
    late = [name for name, outcome in outcomes.items() if outcome == "starting"]
    return outcomes, failed + late


def _outcomes(config: Config, command: str) -> tuple[dict[str, str], list[str]]:
    """Do a command on all services: what became of each, and which failed."""
    reply = _reply(config, command, "all")
    outcomes = reply["message"]
    if not isinstance(outcomes, dict) or "error" in outcomes:
        raise NodeError(f"{command}: {_text(outcomes)}")
    return outcomes, [name for name, outcome in outcomes.items() if outcome.startswith("failed")]


def _reply(config: Config, command: str, service: str | None) -> dict[str, Any]:
    if read_endpoint() is None:  # whoever has the default port is somebody else's
        raise NodeError("the master of this node does not answer\ndarc_kill_all ends it")
    timeout = config.master.stop_timeout + config.master.control_timeout + REPLY_SECONDS
    reply, reason = ask(timeout, service, command)
    if reply is None:
        raise NodeError(f"{reason}\ndarc_kill_all ends what does not answer")
    return reply


def _text(message: Any) -> str:
    return str(message.get("error", message)) if isinstance(message, dict) else str(message)


def _print_outcomes(outcomes: dict[str, str]) -> None:
    width = max((len(name) for name in outcomes), default=0)
    for name, outcome in outcomes.items():
        print(f"{name:<{width}}  {outcome}")
