"""Fixtures: a browser, and pages in front of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from browsing import Site, browser, made_live

from darc.monitor.cluster_watch import ClusterStatus
from darc.monitor.page.page_server import StatusServer

__all__ = ["browser"]


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Serve pages: ``make_site(cluster, port=0, max_pages=8, interval=10.0, results='')``."""
    servers: list[StatusServer] = []

    def make(
        cluster: ClusterStatus,
        *,
        port: int = 0,
        max_pages: int = 8,
        interval: float = 10.0,
        results: str = "",
    ) -> Site:
        web_dir = tmp_path / "web"
        live = made_live(cluster, interval=interval, results=results, web_dir=web_dir)
        web_dir.mkdir(exist_ok=True)
        server = StatusServer(("127.0.0.1", port), live, web_dir, max_pages)
        server.start()
        servers.append(server)
        return Site(server, live, web_dir)

    yield make
    for server in servers:
        server.live.stop("The test is over.")
        server.stop()


@pytest.fixture
def now() -> float:
    """Pages compare what they are told with the time."""
    return time.time()
