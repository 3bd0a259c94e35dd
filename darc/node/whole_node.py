"""Start and stop of a whole node, with messages on standard output."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

from darc.config.config import Config
from darc.model.service_state import FAILURES, ServiceOutcome, ServiceState
from darc.node import node_probe, node_start, node_stop
from darc.node.command_client import ask
from darc.node.endpoint import read_endpoint
from darc.node.node_identity import NodeError
from darc.runtime.progress import waiting

# Time beyond the configured times until all services have started or stopped, and the reply comes.
REPLY_SECONDS = 10.0
# Time beyond that of the command until all services have started, and how often is looked (s).
LATE_SECONDS = 16.0
LOOK_SECONDS = 0.2
# Timeout of queries whose failure does not matter.
ASK_SECONDS = 1.0


def start_master_alone(config: Config) -> None:
    """Start the master, without services.

    :raises NodeError: it did not start
    """
    with waiting("starting the master"):
        node_start.start_master(config, _say)


def start_node(config: Config) -> dict[str, str]:
    """Start the master and all services; print and return the outcome of each.

    :raises NodeError: a service was not started
    """
    start_master_alone(config)
    with waiting("starting the services", _not_running):
        outcomes, failed = _started(config)
    _print_outcomes(outcomes)
    if failed:
        reasons = "\n".join(node_probe.failure_reason(config, name) for name in failed)
        raise NodeError(f"not started: {', '.join(failed)}\n{reasons}")
    return outcomes


def stop_services(config: Config) -> None:
    """Stop all services but not the master, and print the outcome of each.

    :raises NodeError: a service was not stopped
    """
    if not node_probe.is_running(config):
        print("DARC is not running")
        return
    _command(config, "abort_all")
    with waiting("stopping the services"):
        outcomes, failed = _outcomes(config, "stop")
    _print_outcomes(outcomes)
    if failed:
        raise NodeError(
            f"not stopped: {', '.join(failed)}; darc_kill_all kills processes that hang"
        )


def stop_node(config: Config) -> None:
    """Stop the whole node, and print that.

    :raises NodeError: a process is still running
    """
    if not node_probe.is_running(config):
        print("DARC is not running")
        return
    with node_stop.alone(config), waiting("stopping the node"):
        _stop_master(config)
        node_stop.wait_for_stop(config)
    print("DARC master and all services stopped")


def _stop_master(config: Config) -> None:
    """Have the master stop the node, or supervisord if the master does not answer."""
    try:
        _command(config, "stop_master")
    except NodeError as error:
        if not node_probe.is_running(config) or node_probe.is_stopping(config):
            return
        print(f"{error}\nstopped through supervisord instead", file=sys.stderr)
        node_stop.stop_without_master(config)


def _say(what: str) -> None:
    """Print and flush, as the output may be a file that somebody follows.

    If it cannot be written, the command continues; its exit reports the error.
    """
    with contextlib.suppress(OSError):
        print(what, flush=True)


def _not_running() -> str:
    reply, _ = ask(ASK_SECONDS, "all", "status")
    states = reply["message"] if reply and isinstance(reply["message"], dict) else {}
    return ", ".join(name for name, state in states.items() if state != "running")


def _command(config: Config, command: str) -> None:
    reply = _reply(config, command, None)
    if reply["status"] == "Error":
        raise NodeError(f"{command}: {_text(reply['message'])}")


def _started(config: Config) -> tuple[dict[str, str], list[str]]:
    """Start all services, and wait for those that take longer than the command."""
    outcomes, _ = _outcomes(config, "start")
    deadline = time.monotonic() + LATE_SECONDS
    while ServiceOutcome.STARTING in outcomes.values() and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        # Not another start: one that has given up meanwhile would begin anew.
        states, _ = _outcomes(config, "status")
        for name, outcome in outcomes.items():
            if outcome == ServiceOutcome.STARTING and states.get(name) != ServiceState.STARTING:
                runs = states.get(name) == ServiceState.RUNNING
                outcomes[name] = str(ServiceOutcome.STARTED if runs else ServiceOutcome.FAILED)
    not_started = {ServiceOutcome.STARTING, *FAILURES}
    return outcomes, [name for name, outcome in outcomes.items() if outcome in not_started]


def _outcomes(config: Config, command: str) -> tuple[dict[str, str], list[str]]:
    """Run a command for all services; return the outcome of each, and which failed."""
    reply = _reply(config, command, "all")
    outcomes = reply["message"]
    if not isinstance(outcomes, dict) or "error" in outcomes:
        raise NodeError(f"{command}: {_text(outcomes)}")
    return outcomes, [name for name, outcome in outcomes.items() if outcome in FAILURES]


def _reply(config: Config, command: str, service: str | None) -> dict[str, Any]:
    if read_endpoint() is None:  # a process on the default port belongs to somebody else
        raise NodeError("the master of this node does not answer\ndarc_kill_all kills it")
    timeout = config.master.stop_timeout + config.master.control_timeout + REPLY_SECONDS
    reply, reason = ask(timeout, service, command)
    if reply is None:
        raise NodeError(f"{reason}\ndarc_kill_all kills what does not answer")
    return reply


def _text(message: Any) -> str:
    return str(message.get("error", message)) if isinstance(message, dict) else str(message)


def _print_outcomes(outcomes: dict[str, str]) -> None:
    width = max((len(name) for name in outcomes), default=0)
    for name, outcome in outcomes.items():
        print(f"{name:<{width}}  {outcome}")
