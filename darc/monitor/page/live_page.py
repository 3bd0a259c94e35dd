"""The current pages, and the changes that are sent to open pages."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator, Sequence

from darc.monitor.cluster_watch import ClusterStatus
from darc.monitor.page.render_page import INDEX, Page, PageParts, Renderer, node_page
from darc.monitor.page.status_json import status_json
from darc.monitor.problems import Problem

STATUS = "status.json"
#: Interval at which an open page is sent that its content is still current (s).
TICK_SECONDS = 5.0
#: After so long (s) a page's stream of events ends; browsers then reconnect.
STREAM_SECONDS = 3600.0


class LivePages:
    """Content that is served: one thread publishes it, others read it.

    :param interval: longest time between two publications (s)
    """

    def __init__(self, renderer: Renderer, interval: float) -> None:
        self._renderer = renderer
        self._interval = interval
        # Unique for each process: pages of an earlier process reload.
        self._epoch = uuid.uuid4().hex[:8]
        self._changed = threading.Condition()
        self._number = 0
        self._since: dict[str, int] = {}  # by part, the version that changed it
        self._texts: dict[str, str] = {}
        self._parts: PageParts | None = None
        self._cluster = ClusterStatus(0.0, ())
        self._problems: tuple[Problem, ...] = ()
        self._goodbye: str | None = None
        self._icons = renderer.icons()
        #: Content-Security-Policy of the pages.
        self.policy = renderer.policy

    def publish(self, cluster: ClusterStatus, problems: Sequence[Problem]) -> None:
        parts = self._renderer.parts(cluster, problems)
        # The table of nodes is sent row by row, unless its rows or columns have changed.
        texts = {**parts.parts, "nodes": parts.frame, **parts.inner, "title": parts.title}
        with self._changed:
            changed = [name for name, text in texts.items() if self._texts.get(name) != text]
            if changed:
                self._number += 1
                self._since |= dict.fromkeys(changed, self._number)
            self._texts, self._parts = texts, parts
            self._cluster, self._problems = cluster, tuple(problems)
            if changed:
                self._changed.notify_all()

    def touch(self, now: float) -> None:
        """Mark the content as still current at this time (Unix s)."""
        with self._changed:
            self._cluster = ClusterStatus(now, self._cluster.nodes)

    def stop(self, goodbye: str) -> None:
        """End publication, and show the reason on open pages."""
        with self._changed:
            self._goodbye = goodbye
            self._changed.notify_all()

    # -- files -----------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Return the names of all files, relative to web_dir."""
        return [INDEX, STATUS, *self._icons, *self.node_pages()]

    def node_pages(self) -> dict[str, str]:
        """Return the files of the nodes' pages, with the nodes' names."""
        return {node_page(node.name): node.name for node in self._cluster.nodes}

    def read(self, name: str) -> str | None:
        """Return the content of a file; None where it does not exist."""
        with self._changed:
            parts, cluster, problems = self._parts, self._cluster, self._problems
            page = Page(cluster.time, self._version, self._interval, self._goodbye)
        if name in self._icons:
            return self._icons[name]
        if parts is None:
            return None
        if name == INDEX:
            return self._renderer.page(parts, page)
        if name == STATUS:
            return status_json(cluster, problems, page)
        for node in cluster.nodes:
            if node_page(node.name) == name:
                return self._renderer.node(node, cluster.time, page, problems)
        return None

    # -- events ----------------------------------------------------------------------------------

    @property
    def _version(self) -> str:
        return f"{self._epoch}.{self._number}"

    def events(self, after: str) -> Iterator[bytes]:
        """Yield server-sent events for a page of version `after`, as they become due."""
        end = time.monotonic() + STREAM_SECONDS
        yield b"retry: 1000\n\n"
        epoch, _, number = after.partition(".")
        if epoch != self._epoch or not (number.isascii() and number.isdecimal()):
            yield _event("anew", "")
            return
        known = int(number)
        yield self._tick()
        while time.monotonic() < end:
            with self._changed:
                self._wait(known)
                goodbye = self._goodbye
                changes = self._changes_since(known) if self._number > known else None
                known = self._number
            if changes is not None:
                yield _event("parts", changes, self._version)
            elif goodbye is None:
                yield self._tick()
            if goodbye is not None:
                yield _event("stopped", f"{goodbye} What is below was so until then.")
                return

    def _tick(self) -> bytes:
        return _event("tick", f"{self._cluster.time:.3f}")

    def _wait(self, known: int) -> None:
        """Wait for a version after `known`, for the end, or for the next tick."""
        self._changed.wait_for(
            lambda: self._number > known or self._goodbye is not None,
            min(self._interval, TICK_SECONDS),
        )

    def _changes_since(self, known: int) -> str:
        assert self._parts
        names = [name for name, since in self._since.items() if since > known]
        texts = {**self._parts.parts, **self._parts.inner}
        if "nodes" in names:  # with all its parts
            names = [name for name in names if name not in self._parts.inner]
        return json.dumps(
            {
                "version": self._version,
                "now": self._cluster.time,
                "title": self._parts.title,
                "verdict": self._parts.verdict,
                "parts": {name: texts[name] for name in names if name in texts},
            }
        )


def _event(name: str, text: str, number: str = "") -> bytes:
    identity = f"id: {number}\n" if number else ""
    return f"event: {name}\n{identity}data: {text}\n\n".encode()
