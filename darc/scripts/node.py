"""What the scripts in bin/ do: each returns an exit status, and says what it did."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from darc.control import ask
from darc.model.config import Config, ConfigError
from darc.node import lifecycle
from darc.node.configuration import load_config
from darc.node.endpoint import read_endpoint
from darc.node.identity import NodeError

# A reply comes when all services are settled; a little more than the master waits for them.
REPLY_SECONDS = 30.0


class _CommandError(Exception):
    """A command was not answered with success; the text says how."""


def start_master() -> int:
    """Start the master on this node and check that it came up."""

    def action(config: Config) -> None:
        lifecycle.start_master(config, print)

    return _run(start_master, action)


def stop_master() -> int:
    """Stop the master and every service; running observations are aborted."""

    def action(config: Config) -> None:
        if not lifecycle.is_running(config):
            print("DARC is not running")
            return
        _command("stop_master")
        lifecycle.wait_for_stop(config)
        print("DARC master and all services stopped")

    return _run(stop_master, action)


def start_all_services() -> int:
    """Start every service, and the master if it is not running."""

    def action(config: Config) -> None:
        lifecycle.start_master(config, print)
        try:
            outcomes = _command("start", "all")
        except _CommandError as error:
            outcomes = error.args[0]
            failed = [name for name, outcome in outcomes.items() if outcome == "failed"]
            _print_outcomes(outcomes)
            ends = "\n".join(lifecycle.log_end(config, name) for name in failed)
            raise NodeError(f"not started: {', '.join(failed)}\n{ends}") from error
        _print_outcomes(outcomes)

    return _run(start_all_services, action)


def stop_all_services() -> int:
    """Stop every service but the master; running observations are aborted."""

    def action(config: Config) -> None:
        if not lifecycle.is_running(config):
            print("DARC is not running")
            return
        _command("abort_all")
        _print_outcomes(_command("stop", "all"))

    return _run(stop_all_services, action)


def kill_all() -> int:
    """Kill the master and every service, for when a normal stop fails."""
    _no_arguments(kill_all)
    run_dir, stop_timeout = _kill_settings()
    try:
        print(lifecycle.kill_all(run_dir, stop_timeout))
    except NodeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _kill_settings() -> tuple[Path, float]:
    """Where the node is; a broken configuration must not stand in the way."""
    endpoint = read_endpoint()
    try:
        config = load_config()
    except (ConfigError, OSError) as error:
        if endpoint is None:
            raise
        print(f"{error}\n(stop_timeout of 5 s used instead)", file=sys.stderr)
        return Path(endpoint.run_dir), 5.0
    return Path(endpoint.run_dir if endpoint else config.master.run_dir), config.master.stop_timeout


def _no_arguments(script: Callable[[], int]) -> None:
    name = Path(sys.argv[0]).name
    argparse.ArgumentParser(prog=name, description=script.__doc__).parse_args()


def _run(script: Callable[[], int], action: Callable[[Config], None]) -> int:
    _no_arguments(script)
    try:
        config = load_config()
        for warning in config.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        action(config)
    except (ConfigError, NodeError, OSError, _CommandError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _command(command: str, service: str | None = None) -> Any:
    reply, reason = ask(REPLY_SECONDS, service, command)
    if reply is None:
        raise NodeError(f"{reason}\ndarc_kill_all ends what does not answer")
    if reply["status"] == "Error":
        raise _CommandError(reply["message"])
    return reply["message"]


def _print_outcomes(outcomes: dict[str, str]) -> None:
    width = max(len(name) for name in outcomes)
    for name, outcome in outcomes.items():
        print(f"{name:<{width}}  {outcome}")
