"""The queues of a node, without the node."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from nodes import wait_for

from darc.queues.client import QueueClient, Queues
from darc.queues.exchange import EXPOSED, Exchange
from darc.queues.journal import Journal
from darc.queues.named_queues import NamedQueues
from darc.queues.queue_server import QueueServer, shut_down

KEY = b"k" * 64
NAMES = ("amber_clustering", "processor")


class Hub:
    """A journal, exchange and server, which can go and come back as a master does."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.address = directory / "queues.sock"
        self.changes: list[str] = []
        self.finished: list[tuple[str, str]] = []
        self.on_change: Callable[[str], object] = self.changes.append
        self.start()

    def start(self) -> None:
        self.journal = Journal(self.directory / "journal.sqlite")
        self.exchange = Exchange(
            self.journal,
            lambda name: self.on_change(name),  # noqa: PLW0108 - it may be another one later
            lambda *what: self.finished.append(what),
        )
        by_name = NamedQueues(self.exchange, lambda: NAMES)
        self.server = QueueServer(str(self.address), lambda: KEY, self.exchange, EXPOSED, by_name)
        self.server.start()

    def stop(self) -> None:
        self.server.stop()
        for session in self.server.watcher.sessions():  # as the end of the process does
            with suppress(OSError):  # its thread has just closed it
                shut_down(session.connection.fileno())
        wait_for(lambda: not self.sessions(), what="connections closed")
        self.journal.close()

    def client(self) -> QueueClient:
        return QueueClient(self.address, KEY, "test")

    def queues(self) -> Queues:
        return Queues(self.client())

    def sessions(self) -> int:
        return len(self.server.watcher.sessions())

    def listening(self, name: str) -> int:
        """Number of connections that wait for orders and questions of a service."""
        return self.exchange.control[name].waiting
