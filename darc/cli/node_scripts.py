"""Implementation of the scripts in bin/: each prints messages, and returns an exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from darc.config.config import Config, ConfigError
from darc.node import node_probe, node_stop
from darc.node.endpoint import CopiedError, EndpointError, endpoint_file, read_endpoint
from darc.node.node_config import load_config, load_node_config
from darc.node.node_identity import NodeError
from darc.node.secret import SecretError
from darc.node.supervisor import SupervisorError
from darc.node.whole_node import start_master_alone, start_node, stop_node, stop_services
from darc.runtime.program import as_program, is_output_error

# Errors that are printed without a traceback.
_TOLD = (ConfigError, EndpointError, NodeError, SecretError, SupervisorError, OSError)


@as_program
def start_master() -> int:
    """Start the master on this node and check that it has started."""

    return _run(start_master, start_master_alone, load_config)


@as_program
def stop_master() -> int:
    """Stop the master and every service; running observations are aborted."""

    return _run(stop_master, stop_node, load_node_config)


@as_program
def start_all_services() -> int:
    """Start every service, and the master if it is not running."""

    return _run(start_all_services, start_node, load_config)


@as_program
def stop_all_services() -> int:
    """Stop every service but the master; running observations are aborted."""

    return _run(stop_all_services, stop_services, load_node_config)


@as_program
def kill_all() -> int:
    """Kill the master and every service, for when a normal stop fails."""
    parser = _parser(kill_all)
    parser.add_argument(
        "--forget",
        action="store_true",
        help="remove the files of a node on another machine that is gone for good; kill nothing",
    )
    options = parser.parse_args()
    try:
        run_dir, stop_timeout = _kill_settings()
        if options.forget:
            print(node_stop.forget(run_dir))
        else:
            print(node_stop.kill_all(run_dir, stop_timeout))
    except _TOLD as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _kill_settings() -> tuple[Path, float]:
    """Return run_dir and stop_timeout of the node, even if its files are damaged."""
    endpoint = None
    default = endpoint_file().parent
    try:
        endpoint = read_endpoint()
    except CopiedError:  # no node of this home is running
        pass
    except EndpointError as error:
        print(error, file=sys.stderr)
    try:
        config = load_node_config()
    except (ConfigError, OSError) as error:
        print(f"{error}\n(stop_timeout of 5 s used instead)", file=sys.stderr)
        return Path(endpoint.run_dir) if endpoint else default, 5.0
    return Path(endpoint.run_dir if endpoint else config.master.run_dir), config.master.stop_timeout


def _parser(script: Callable[[], int]) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=Path(sys.argv[0]).name, description=script.__doc__)


def _run(
    script: Callable[[], int], action: Callable[[Config], object], load: Callable[[], Config]
) -> int:
    """Run a script; one that stops a node may use its last good configuration."""
    _parser(script).parse_args()
    try:
        config = load()
        for warning in config.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        action(node_probe.with_running_run_dir(config))
    except _TOLD as error:
        if is_output_error(error):
            raise
        print(error, file=sys.stderr)
        return 1
    return 0
