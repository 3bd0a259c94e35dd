"""start_full_pipeline, stop_full_pipeline, darc_replace_secret: on every node of the cluster."""

from __future__ import annotations

import argparse
import secrets
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from darc.cluster import node_orders, ssh
from darc.cluster.node_orders import NodePhase, NodeProgress
from darc.cluster.node_table import ProgressTable, summary
from darc.cluster.remote import RemoteOrder, config_warnings, own_secret
from darc.config.config import Config, ConfigError, Role
from darc.node.node_config import load_config, load_node_config
from darc.node.node_probe import with_running_run_dir
from darc.node.secret import SecretError
from darc.runtime.program import INTERRUPTED, as_program

SECRET_SECONDS = 15.0
Report = Callable[[NodeProgress], None]
Work = Callable[[Config, Sequence[str], Report], None]


@as_program
def start_full_pipeline() -> int:
    """Start every service on every node: the master node first, then the workers side by side.

    Running services are not touched; missing ones are started, and the cluster's secret installed.
    """
    options = _parse(start_full_pipeline)

    def work(config: Config, hosts: Sequence[str], report: Report) -> None:
        secret, left = _secret_and_nodes(config, hosts, report)
        order = RemoteOrder("start", secret)
        timeout = config.cluster.connect_timeout + config.cluster.start_timeout
        for group in _by_role(config, left):
            node_orders.carry_out_on(config, group, order, timeout, report)

    return _run(options, load_config, work, "Starting the cluster", "run")


@as_program
def stop_full_pipeline() -> int:
    """Stop every service and the master of every node: the workers first, then the master node."""
    options = _parse(stop_full_pipeline)

    def work(config: Config, hosts: Sequence[str], report: Report) -> None:
        timeout = config.cluster.connect_timeout + config.cluster.stop_timeout
        for group in reversed(_by_role(config, hosts)):
            node_orders.carry_out_on(config, group, RemoteOrder("stop"), timeout, report)

    return _run(options, load_node_config, work, "Stopping the cluster", "are stopped")


@as_program
def replace_secret() -> int:
    """Replace the cluster's secret, without stopping anything.

    The master node is first; if that fails, no node is changed. Another node that fails keeps the
    old secret, and is refused by the others until start_full_pipeline runs again.
    """
    options = _parse(replace_secret)
    order = RemoteOrder("place secret", secrets.token_hex(32))

    def work(config: Config, hosts: Sequence[str], report: Report) -> None:
        first, *others = _by_role(config, hosts)
        if node_orders.role_of(config, first[0]) == Role.WORKER.value:
            raise ConfigError("--nodes: must include the master node, whose secret all nodes use")
        timeout = config.cluster.connect_timeout + SECRET_SECONDS
        (master,) = node_orders.carry_out_on(config, first, order, timeout, report)
        for group in others:
            if master.phase is NodePhase.DONE:
                node_orders.carry_out_on(config, group, order, timeout, report)
                continue
            for host in group:
                report(
                    NodeProgress(host, Role.WORKER.value, NodePhase.FAILED, detail="not changed")
                )

    return _run(options, load_node_config, work, "Replacing the secret", "have the new secret")


def _parse(script: Callable[[], int]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=Path(sys.argv[0]).name, description=script.__doc__)
    parser.add_argument(
        "--nodes", nargs="+", default=[], metavar="NODE", help="only these: names or arts[001-040]"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the commands without running them"
    )
    return parser.parse_args()


def _run(
    options: argparse.Namespace, load: Callable[[], Config], work: Work, title: str, done: str
) -> int:
    try:
        config = with_running_run_dir(load())
        hosts = node_orders.chosen_nodes(config, options.nodes)
        for warning in config_warnings(config):
            print(warning, file=sys.stderr)
        if options.dry_run:
            for host in hosts:
                print(f"{host}: {shlex.join(ssh.command(config, host))}")
            return 0
        ended: dict[str, NodeProgress] = {}
        waiting = [NodeProgress(host, node_orders.role_of(config, host)) for host in hosts]
        with ProgressTable(waiting, title) as table:

            def report(progress: NodeProgress) -> None:
                ended[progress.host] = progress
                table.update(progress)

            work(config, hosts, report)
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        ssh.clients.hang_up()
        print("interrupted; orders that have started on a node continue there", file=sys.stderr)
        return INTERRUPTED
    outcome = [ended[host] for host in config.nodes() if host in ended]
    print(summary(outcome, done))
    return 0 if all(progress.is_good for progress in outcome) else 1


def _by_role(config: Config, hosts: Sequence[str]) -> list[list[str]]:
    """Return the master node, and then the workers."""
    masters = [host for host in hosts if node_orders.role_of(config, host) != Role.WORKER.value]
    workers = [host for host in hosts if host not in masters]
    return [group for group in (masters, workers) if group]


def _secret_and_nodes(
    config: Config, hosts: Sequence[str], report: Report
) -> tuple[str | None, Sequence[str]]:
    """Return the master node's secret (created if missing), and the nodes that are to get it.

    If the master node is unreachable, the others start without: they process their data, and get
    the secret when it is back.
    """
    master = config.nodes()[0]
    timeout = config.cluster.connect_timeout + SECRET_SECONDS
    began = time.monotonic()
    try:
        if config.is_here(master):
            return own_secret(config), hosts
        result = ssh.carry_out(config, master, RemoteOrder("tell secret"), timeout)
        if result.secret:
            return result.secret, hosts
        phase, why = NodePhase.FAILED, result.error
    except (SecretError, OSError) as error:
        phase, why = NodePhase.FAILED, str(error)
    except ssh.UnreachedError as error:
        phase, why = NodePhase.UNREACHED, str(error)
    seconds, detail = time.monotonic() - began, f"its secret is unavailable: {why}"
    report(NodeProgress(master, node_orders.role_of(config, master), phase, seconds, detail))
    return None, [host for host in hosts if host != master]
