"""Client of darc_monitor for darc_master's queue socket."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darc.config.records import Struct, replace
from darc.config.typed import to_plain
from darc.model.node_report import NodeReport
from darc.model.overview import NodeOverview, from_text
from darc.node.process_names import MASTER, MONITOR
from darc.node.secret import SecretError, read_secret
from darc.queues.client import QueueClient, QueuesGoneError
from darc.queues.messages import Depth
from darc.queues.names import OF_MONITOR

log = logging.getLogger(__name__)


class ServiceChanges(Struct, frozen=True):
    """Result of :meth:`MasterClient.news`.

    :param changes: number of the latest change
    :param configured: when the current configuration was read (Unix s)
    :param running: services that can be asked
    """

    changes: int = 0
    configured: float = 0.0
    running: Sequence[str] = ()


class AskedFor(Struct, frozen=True):
    """Stops and starts that the master requested on purpose, by service.

    :param stops: id of the process that was stopped last
    :param starts: last start (Unix s)
    """

    stops: Mapping[str, int]
    starts: Mapping[str, float]


class MasterFacts(Struct, frozen=True):
    """Values for the metrics that only the master knows.

    :param refused: number of refused connections to its ports
    :param losses: its own, by kind
    """

    overview: NodeOverview
    depths: Mapping[str, Depth]
    refused: Mapping[str, int]
    losses: Mapping[str, int]
    log_lines_dropped: int


class MasterClient:
    """Connection to the master that is restored after a failure; for one thread.

    Every method raises QueuesGoneError while the master is away.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._client: QueueClient | None = None
        self._away = False

    def _call(self, method: str, *arguments: object) -> Any:
        try:
            if self._client is None:
                self._client = self._connect()
            answer = self._client.call(method, *arguments)
        except QueuesGoneError:
            if self._client is not None:
                self._client.close()
            self._client = None  # the next call opens another one
            if not self._away:
                log.info("%s does not answer, trying again", MASTER)
            self._away = True
            raise
        self._away = False
        return answer

    def _connect(self) -> QueueClient:
        try:
            key = read_secret(self._run_dir / "secret")
        except SecretError as error:
            raise QueuesGoneError(str(error)) from error
        return QueueClient(self._run_dir / "queues.sock", key, MONITOR, served=OF_MONITOR)

    def news(self, known: int, timeout: float) -> ServiceChanges:
        """Wait until services have attached or detached, or until the timeout (s)."""
        return ServiceChanges(*self._call("news", known, timeout))

    def asked_for(self) -> AskedFor:
        """Return which ends of processes were asked for."""
        return AskedFor(*self._call("asked_for"))

    def ask(self, service: str, attribute: str, timeout: float) -> tuple[bool, Any] | None:
        """Ask a service for an attribute.

        :param timeout: for the answer (s)
        :return: whether the service has the attribute, and its value; None: no answer in time
        """
        answer = self._call("ask", service, attribute, timeout)
        return None if answer is None else (answer[0], answer[1])

    def report(self, report: NodeReport, known: NodeReport | None) -> None:
        """Send a report to the master.

        :param known: the last report sent; None: this master has none
        """
        same = known is not None and replace(known, read=report.read, asked=report.asked) == report
        plain = None if same else to_plain(report)
        self._call("report", plain, report.read, report.asked)

    def facts(self) -> MasterFacts:
        """Return what the metrics need and only the master knows.

        :raises OverviewError: the master has another version
        """
        plain = self._call("facts")
        return MasterFacts(
            from_text(plain["overview"]),
            {row[0]: Depth(*row) for row in plain["depths"]},
            plain["refused"],
            plain["losses"],
            plain["log_lines_dropped"],
        )
