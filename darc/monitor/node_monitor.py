"""darc_monitor: watches processes, logs and disks of its node, and serves the node's metrics.

It may hang on a disk that does not answer; nothing waits for it. darc_master shows its latest
report.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path

from darc import __version__
from darc.config.config import Config, ConfigError
from darc.monitor.master_client import MasterClient
from darc.monitor.metrics.metrics_endpoint import Address, MetricsEndpoint
from darc.monitor.metrics.node_measurements import NodeMeasurements, ServiceMeasurements
from darc.monitor.node_watch import NodeWatch
from darc.monitor.process_history import ProcessHistory
from darc.node.losses import LOSSES
from darc.node.node_config import load_node_config, use_config_option
from darc.node.node_identity import NodeError, read_identity
from darc.node.process_names import MASTER, MONITOR
from darc.node.supervisor import Supervisor
from darc.runtime.log import set_up_logging
from darc.runtime.process_end import end_on_sigterm, end_with_supervisord

log = logging.getLogger(__name__)


class NodeMonitor:
    """The monitor of a node.

    :param node_id: identifier of the node's start
    """

    def __init__(self, config: Config, node_id: str) -> None:
        run_dir = Path(config.master.run_dir)
        self._watch = NodeWatch(
            config,
            Supervisor(run_dir / "supervisord.sock", config.master.control_timeout),
            ProcessHistory(run_dir / "restarts.json", node_id),
            self._configure,
        )
        # Used by one scrape at a time.
        self._master = MasterClient(run_dir)
        self._metrics = MetricsEndpoint(self._measure)

    def run(self) -> None:
        """Watch the node and serve its metrics until the process is stopped."""
        self._watch.start()
        self._metrics.serve(_metrics_address(self._watch.config))
        threading.Event().wait()

    def _configure(self) -> None:
        """Apply the current configuration; keep the previous one where it cannot be read."""
        try:
            config = load_node_config()
        except (ConfigError, OSError) as error:
            log.error("the previous configuration stays in force: %s", error)
            return
        self._watch.config = config
        self._metrics.serve(_metrics_address(config))

    def _measure(self) -> NodeMeasurements:
        """Return the current measurements.

        :raises QueuesGoneError: the master is away
        """
        seen, facts = self._watch.seen, self._master.facts()
        losses = {kind: float(number) for kind, number in facts.losses.items()}
        services = {name: said["metrics"] for name, said in seen.said.items() if "metrics" in said}
        return NodeMeasurements(
            overview=facts.overview,
            services={**services, MASTER: ServiceMeasurements(counted={LOSSES: losses})},
            depths=facts.depths,
            cpu_seconds={name: one.cpu_seconds for name, one in seen.usage.items()},
            disks=self._watch.disks,
            journal_bytes=seen.journal_bytes,
            journal_max_bytes=self._watch.config.master.journal_max_bytes,
            refused=facts.refused,
            log_lines_dropped=facts.log_lines_dropped,
        )


def _metrics_address(config: Config) -> Address | None:
    metrics = config.metrics
    return None if metrics.port is None else (metrics.bind, metrics.port)


def main() -> None:
    """Run the monitor; supervisord starts this program."""
    use_config_option(MONITOR, "The monitor of a node, which supervisord runs.")
    set_up_logging(MONITOR)
    with end_on_sigterm():
        _run()


def _run() -> None:
    end_with_supervisord()
    try:
        config = load_node_config()
        node = read_identity(Path(config.master.run_dir))
    except (ConfigError, OSError, NodeError) as error:
        log.critical("cannot start: %s", error)
        sys.exit(1)
    if node is None or os.environ.get("DARC_NODE_ID") != node.node_id:
        log.critical("cannot start: %s is not this node's", config.master.run_dir)
        sys.exit(1)
    log.info("DARC %s watches %s", __version__, config.hostname)
    NodeMonitor(config, node.node_id).run()
