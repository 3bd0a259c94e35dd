"""What open status pages cost a node, and how soon one shows that a service was killed.

Run: python -m benchmarks.status_page
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import socket
import statistics
import threading
import time
import urllib.request
from collections.abc import Iterator

import psutil

from darc.node.processes import of_node
from simulator.demo_node import TemporaryNode

PAGES = (0, 1, 50)
SERVICE = "darc.services.processor"


class OpenPage:
    """What a browser does: it loads the page and hears of changes, with the time of each."""

    def __init__(self, url: str) -> None:
        with urllib.request.urlopen(url) as reply:
            text = reply.read().decode()
        found = re.search(r'data-version="([^"]+)"', text)
        assert found
        port = int(url.rsplit(":", 1)[1].rstrip("/"))
        self.told: list[tuple[float, str]] = []
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(f"GET /events?after={found[1]} HTTP/1.1\r\n\r\n".encode())
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError), self._socket.makefile() as lines:
            for line in lines:
                self.told.append((time.monotonic(), line))

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="for each number of pages")
    parser.add_argument("--kills", type=int, default=6)
    args = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    node = TemporaryNode(sections={"status_website": {"port": port, "max_pages": max(PAGES)}})
    try:
        node.start()
        url = f"http://127.0.0.1:{port}/"
        wait_for_page(url)
        measure_cpu(node, url, args.seconds)
        measure_kills(node, url, args.kills)
    finally:
        node.stop()
        node.remove()


def wait_for_page(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(url) as reply:
            if b"All services of all nodes run." in reply.read():
                return
        time.sleep(0.1)
    raise SystemExit("the page does not come up")


def measure_cpu(node: TemporaryNode, url: str, seconds: float) -> None:
    """All processes of the node, in % of a core."""
    settle(node)
    print(f"{'open pages':>10} {'node, % of a core':>18} {'more than none':>15}")
    none = 0.0
    for number in PAGES:
        with open_pages(url, number):
            time.sleep(1.0)
            before = cpu_seconds(node)
            time.sleep(seconds)
            share = 100 * (cpu_seconds(node) - before) / seconds
        none = share if number == 0 else none
        print(f"{number:>10} {share:>18.2f} {share - none:>15.2f}")


def settle(node: TemporaryNode) -> None:
    """Services that have just started load what they need in the background."""
    for _ in range(30):
        before = cpu_seconds(node)
        time.sleep(1.0)
        if cpu_seconds(node) - before < 0.05:
            return


@contextlib.contextmanager
def open_pages(url: str, number: int) -> Iterator[None]:
    pages = [OpenPage(url) for _ in range(number)]
    try:
        yield
    finally:
        for page in pages:
            page.close()


def cpu_seconds(node: TemporaryNode) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes(node))


def processes(node: TemporaryNode) -> list[psutil.Process]:
    identity = json.loads((node.run_dir / "node.json").read_text())
    return of_node(str(identity["node_id"]))


def measure_kills(node: TemporaryNode, url: str, kills: int) -> None:
    """From the SIGKILL of a service to the event that has an open page show it red."""
    page = OpenPage(url)
    delays = []
    for _ in range(kills):
        wait_for_page_green(url)
        process = next(one for one in processes(node) if SERVICE in one.cmdline())
        killed = time.monotonic()
        os.kill(process.pid, signal.SIGKILL)
        delays.append(first_red(page, killed) - killed)
    page.close()
    text = ", ".join(f"{1e3 * delay:.0f}" for delay in delays)
    print(f"\nfrom kill to red, ms: {text}; median {1e3 * statistics.median(delays):.0f}")


def wait_for_page_green(url: str) -> None:
    while True:
        with urllib.request.urlopen(url) as reply:
            if b'data-state="died"' not in reply.read():
                return
        time.sleep(0.1)


def first_red(page: OpenPage, after: float) -> float:
    deadline = after + 10
    while time.monotonic() < deadline:
        for moment, line in list(page.told):
            if moment > after and 'class=\\"bad\\" data-state' in line:
                return moment
        time.sleep(0.01)
    raise SystemExit("it did not become red")


if __name__ == "__main__":
    main()
