"""What it costs to have commits on the disk before they are answered.

python -m benchmarks.commits

Services commit over the queues' socket, one step after the other; the journal is in a directory
beside the checkout, or in the one that is named. Figures of three ways, in turns:

- soon: answered at once, on the disk within the window of `darc.queues.write_behind`
- durable: on the disk before the answer, as for what leaves the house
- each: SQLite's own synchronous=FULL, for comparison: every commit of every service waits
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from darc.queues.client import Holder, QueueClient
from darc.queues.exchange import EXPOSED, Exchange
from darc.queues.journal import Journal
from darc.queues.messages import Commit, ContentKind, Put
from darc.queues.queue_server import QueueServer

SECRET = b"x" * 64
CONTENT = b"x" * 2000


def _nothing(*_: object) -> None:
    pass


class Site:
    """A journal and its server, and services that commit."""

    def __init__(self, directory: Path, *, full: bool) -> None:
        opened: list[sqlite3.Connection] = []
        connect = sqlite3.connect

        def kept(*arguments: Any, **options: Any) -> sqlite3.Connection:
            opened.append(connect(*arguments, **options))
            return opened[-1]

        with patch("sqlite3.connect", kept):
            self._journal = Journal(directory / "journal.sqlite")
        if full:
            opened[0].execute("PRAGMA synchronous=FULL")
        exchange = Exchange(self._journal, _nothing, _nothing)
        self._socket = directory / "queues.sock"
        self._server = QueueServer(str(self._socket), lambda: SECRET, exchange, EXPOSED)
        self._server.start()

    def commits(self, services: int, each: int, *, durable: bool) -> tuple[float, list[float]]:
        """Commits per second of all together, and the time that each took (s)."""
        times: list[float] = []
        threads = [
            threading.Thread(target=self._commit, args=(f"service {n}", each, durable, times))
            for n in range(services)
        ]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return services * each / (time.perf_counter() - began), times

    def _commit(self, service: str, number: int, durable: bool, times: list[float]) -> None:
        client = QueueClient(self._socket, SECRET, service)
        holder = Holder(client, service, 1, "Bench", None)
        done: tuple[int, ...] = ()
        for _ in range(number):
            put = Put((service,), ContentKind.CANDIDATES, CONTENT)
            began = time.perf_counter()
            holder.commit(Commit("", done, (put,), durable=durable), holder.next_sequence)
            times.append(time.perf_counter() - began)
            done = tuple(entry.id for entry in holder.take(done[-1] if done else 0, 0.0))
        client.close()

    def close(self) -> None:
        self._server.stop()
        self._journal.close()


WAYS: dict[str, Callable[[Path], tuple[Site, bool]]] = {
    "soon": lambda directory: (Site(directory, full=False), False),
    "durable": lambda directory: (Site(directory, full=False), True),
    "each": lambda directory: (Site(directory, full=True), False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path.cwd())
    parser.add_argument("--each", type=int, default=1000)
    options = parser.parse_args()
    print("services  way      commits/s   median ms   99 % ms")
    for services in (1, 4):
        for way, make in WAYS.items():
            with tempfile.TemporaryDirectory(dir=options.directory) as name:
                site, durable = make(Path(name))
                rate, times = site.commits(services, options.each, durable=durable)
                site.close()
            times.sort()
            middle, high = statistics.median(times), times[int(0.99 * len(times))]
            print(f"{services:>8}  {way:<8} {rate:>9.0f} {1e3 * middle:>11.2f} {1e3 * high:>9.2f}")


if __name__ == "__main__":
    main()
