"""Methods that darc_monitor calls at the queue socket, and its latest report.

The other side is :mod:`darc.monitor.master_client`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from darc.config.records import Struct, replace
from darc.config.typed import from_plain
from darc.model.node_report import NodeReport
from darc.node.process_names import MONITOR
from darc.queues.exchange import Exchange
from darc.queues.messages import QueryKind, QueueError, ServiceQuery
from darc.queues.plain_connection import pack
from darc.queues.queue_server import Session
from darc.runtime.clock import Instant

log = logging.getLogger(__name__)

EXPOSED = ("news", "asked_for", "ask", "report", "facts")
MAX_REPORT_BYTES = 2**20
#: Longest wait for changes, and for the answer of a service (s).
MAX_WAIT_SECONDS, MAX_ANSWER_SECONDS = 2.0, 5.0
#: darc_monitor reports every second; supervisord restarts it where it exits (s).
ENDED_SECONDS, SILENT_SECONDS = 5.0, 10.0
#: Until its first report, since the start of darc_master (s).
FIRST_SECONDS = 20.0


class MonitoredMaster(Protocol):
    """The master, as far as darc_monitor needs it."""

    @property
    def configured(self) -> float:
        """When the current configuration was read (Unix s)."""

    @property
    def asked_for(self) -> tuple[Mapping[str, int], Mapping[str, float]]:
        """Stops and starts that were requested: :meth:`MonitorLink.asked_for`."""

    def running_services(self) -> list[str]:
        """Return the services that can be asked for an attribute."""

    def facts(self) -> dict[str, Any]:
        """Return the values for the metrics: :meth:`MonitorLink.facts`."""


class MonitorState(Struct, frozen=True):
    """Whether darc_monitor reports.

    :param trouble: it has ended, or hangs; empty: it reports
    :param since: since when (Unix s)
    """

    trouble: str = ""
    since: float = 0.0

    def __str__(self) -> str:
        """Return the state for people."""
        if not self.trouble:
            return "runs"
        what = "does not run" if self.trouble == "ended" else "does not answer"
        return f"{what} since {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(self.since))}"


class MonitorLink:
    """The master's side of the link between darc_master and darc_monitor.

    Nothing here waits for darc_monitor: `latest` is its latest report, whatever its age.

    :param on_report: called after each changed report, and when darc_monitor has disconnected
    """

    def __init__(
        self, master: MonitoredMaster, exchange: Exchange, on_report: Callable[[], None]
    ) -> None:
        self._master = master
        self._exchange = exchange
        self._on_report = on_report
        self._lock = threading.Lock()
        self._reporter: Session | None = None
        self._heard: Instant | None = None
        self._began = Instant.now()
        self.latest = NodeReport()

    # -- for the master --------------------------------------------------------------------------

    @property
    def state(self) -> MonitorState:
        """Whether darc_monitor reports."""
        with self._lock:
            gone, heard = self._reporter is None, self._heard
        if heard is None:
            age, limit = self._began.age(), FIRST_SECONDS
        else:
            age, limit = heard.age(), ENDED_SECONDS if gone else SILENT_SECONDS
        if age <= limit:
            return MonitorState()
        return MonitorState("ended" if gone else "hangs", time.time() - age)

    # -- for darc_monitor ------------------------------------------------------------------------

    def news(self, session: Session, known: int, timeout: float) -> list[Any]:
        """Wait until services have attached or detached; return the fields of `ServiceChanges`.

        :param known: number of the latest change that the caller knows
        :param timeout: longest wait (s)
        """
        services = self._exchange.services
        services.wait(known, min(timeout, MAX_WAIT_SECONDS))
        return [services.changes(), self._master.configured, self._master.running_services()]

    def asked_for(self, session: Session) -> list[dict[str, Any]]:
        """Return the fields of `AskedFor`: what the master stopped and started on purpose."""
        stops, starts = self._master.asked_for
        return [dict(stops), dict(starts)]

    def ask(
        self, session: Session, service: str, attribute: str, timeout: float
    ) -> list[Any] | None:
        """Ask a service for an attribute.

        :param timeout: for the answer (s)
        :return: whether the service has the attribute, and its value; None: no answer
        :raises QueueError: the attribute's name is invalid
        """
        if not attribute.isidentifier():
            raise QueueError(f"no attribute: {attribute!r:.80}")
        query = ServiceQuery(QueryKind.ATTRIBUTE, attribute)
        question = self._exchange.ask(service, query, min(timeout, MAX_ANSWER_SECONDS))
        return None if question is None else [question.found, question.value]

    def report(self, session: Session, plain: Any, read: float, asked: float) -> None:
        """Accept a report of darc_monitor.

        :param plain: the report; None: as before
        :param read: as in :class:`NodeReport`, as is `asked`
        :raises QueueError: the report is invalid or too large
        """
        report = None
        if plain is not None:
            size = len(pack(plain))
            if size > MAX_REPORT_BYTES:
                raise QueueError(f"a report of {size} bytes; {MAX_REPORT_BYTES} are taken")
            try:
                report = from_plain(NodeReport, plain, "report")
            except ValueError as error:
                raise QueueError(str(error)[:500]) from error
        if type(read) is not float or type(asked) is not float:
            raise QueueError("a report says when logs were read and services asked (Unix s)")
        with self._lock:
            new = self._reporter is not session
            self._reporter = session
            self._heard = Instant.now()
            self.latest = replace(report or self.latest, read=read, asked=asked)
        if new:
            log.info("%s is connected", MONITOR)
            session.on_gone(lambda: self._gone(session))
        if report is not None:
            self._on_report()

    def _gone(self, session: Session) -> None:
        with self._lock:
            if self._reporter is not session:
                return
            self._reporter = None
        log.info("%s is disconnected", MONITOR)
        self._on_report()

    def facts(self, session: Session) -> dict[str, Any]:
        """Return what the metrics need and only the master knows.

        That is its overview as text, the queue depths, and the counters of refused connections and
        of dropped log lines.
        """
        return self._master.facts()
