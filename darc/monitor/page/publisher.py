"""Thread that updates the pages, also while this host's master is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

from darc.monitor.cluster_watch import ClusterStatus, ClusterWatch, NodeStatus
from darc.monitor.findings import Finding, FindingTitle, Priority
from darc.monitor.page.live_page import LivePages
from darc.monitor.page.page_files import WebDirectory
from darc.monitor.page.page_server import StatusServer
from darc.monitor.page.publisher_settings import PublisherSettings
from darc.monitor.page.render_page import Renderer
from darc.monitor.problems import find, find_problems
from darc.monitor.rules import CLOCK_SECONDS, DIED_SECONDS
from darc.monitor.service_trends import ServiceTrends
from darc.runtime.freed_memory import give_back_freed_memory

log = logging.getLogger(__name__)

#: How often changes are detected that follow from time alone (s).
CHECK_SECONDS = 0.5
_UNWRITTEN = "The files of this page cannot be written"
#: Changes within this time are shown together (s).
GATHER_SECONDS = 0.02
#: Time for open pages to receive the end (s).
GOODBYE_SECONDS = 0.5
#: Least interval between two writes of files (s).
FILES_SECONDS = 1.0


class Publisher:
    """Publisher of the pages: polls the nodes, writes the files, and serves them.

    :param history: earlier trends; None: none
    """

    def __init__(self, settings: PublisherSettings, history: ServiceTrends | None = None) -> None:
        self._settings = settings
        self.live = LivePages(Renderer(settings), settings.interval)
        self.history = history or ServiceTrends()
        self.server: StatusServer | None = None
        self.pages_written = 0
        self.failure: Exception | None = None
        self._directory = WebDirectory(settings.web_dir)
        self._watch = ClusterWatch(settings.targets, settings.interval, settings.timeout)
        self._watch.on_change = self.wake
        self._known: dict[str, object] = {}
        self._due: set[str] = set()  # nodes whose pages have to be written
        self._unwritten = True
        self._unserved = self._write_error = ""
        self._next_show = self._next_files = self._next_server = 0.0  # monotonic, s
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._seen = threading.Condition()
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._show(self._watch.status())
        self._serve(time.monotonic())
        self._watch.start()
        self._thread.start()

    def wake(self) -> None:
        """Start the next round at once."""
        self._woken.set()

    def stop(self, goodbye: str | None = None) -> None:
        """Stop publishing, and show the reason on the pages; without one, they stay as they are.

        :raises OSError: the pages could not be written
        """
        self._stopped.set()
        self._watch.stop()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)  # it may hang in a write
        if goodbye is not None:
            self.live.stop(goodbye)
            self._directory.write_all(self.live)
            deadline = time.monotonic() + GOODBYE_SECONDS
            while self.server and self.server.open_pages and time.monotonic() < deadline:
                time.sleep(0.01)
        elif self.server:
            self.live.stop("")
            self.server.stop()

    def wait_until_seen(self, limit: float) -> None:
        """Wait for a round, unless the last one was less than this time (s) ago.

        :raises Exception: the error that has ended the thread
        """
        with self._seen:
            self._seen.wait_for(
                lambda: self.failure or time.monotonic() - self._last < limit or None
            )
        if self.failure:
            raise self.failure

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self.check()
            give_back_freed_memory()  # 1.8 MB: all templates are compiled
            while True:
                self._woken.wait(CHECK_SECONDS)
                time.sleep(GATHER_SECONDS)
                self._woken.clear()
                if self._stopped.is_set():
                    break
                self.check()
        # Raised again in the service's loop, which ends the process.
        except Exception as error:
            self.failure = error
        with self._seen:
            self._seen.notify_all()

    def check(self) -> None:
        """Publish what has changed."""
        now = time.monotonic()
        self._serve(now)
        cluster = self._watch.status()
        self.history.note(cluster.nodes, cluster.time)
        changed = self._changed(cluster)
        self._due |= changed
        if changed or now >= self._next_show:
            self._next_show = now + self._settings.interval
            self._show(cluster)
            self._unwritten = True
        else:
            self.live.touch(cluster.time)
        if self._unwritten and now >= self._next_files:
            self._next_files = now + FILES_SECONDS
            self._write()
        with self._seen:
            self._last = time.monotonic()
            self._seen.notify_all()

    def _changed(self, cluster: ClusterStatus) -> set[str]:
        """Return the nodes where more than numbers has changed."""
        known = {node.name: _salient(node, cluster.time) for node in cluster.nodes}
        changed = {name for name, what in known.items() if self._known.get(name) != what}
        self._known = known
        return changed

    def _show(self, cluster: ClusterStatus) -> None:
        context, own = self._settings.context, self._own_findings()
        self.live.publish(cluster, find_problems(cluster, context, own, self.history))

    @property
    def url(self) -> str | None:
        """URL of the pages; None: they are files only."""
        return self.server.url if self.server else None

    def findings(self) -> tuple[ClusterStatus, list[Finding]]:
        """Return the status and all findings; other threads may call it while a write hangs."""
        cluster = self._watch.status()
        found = find(cluster, self._settings.context, self.history)
        return cluster, [*self._own_findings(), *found]

    def _own_findings(self) -> Iterator[Finding]:
        if self._write_error:
            own, shell = self._settings.own, self._settings.context.shell
            command = shell.on(own, "df", "-h", str(self._settings.web_dir))
            title = FindingTitle(_UNWRITTEN, _UNWRITTEN)
            yield Finding(
                Priority.DISK, own, title, lambda hosts: command, self._write_error, grave=False
            )

    def _write(self) -> None:
        try:
            if not self.pages_written:
                self._directory.remove_others(self.live)
            self._directory.write(self.live, self._due)
        except OSError as error:
            if str(error) != self._write_error:
                log.error("the status page cannot be updated, the previous one stays: %s", error)
                self._next_show = 0.0
            self._write_error = str(error)
            return
        if self._write_error:
            log.info("the page's files can be written again")
            self._next_show = 0.0
        self._write_error = ""
        self._unwritten = False
        self._due.clear()
        self.pages_written += 1

    def _serve(self, now: float) -> None:
        settings = self._settings
        if self.server or settings.address is None or now < self._next_server:
            return
        self._next_server = now + settings.interval
        try:
            self.server = StatusServer(
                settings.address, self.live, settings.web_dir, settings.max_pages
            )
        except OSError as error:
            if str(error) != self._unserved:
                log.warning("not served at %s:%d, only written: %s", *settings.address, error)
            self._unserved = str(error)
            return
        self.server.start()
        log.info("served at %s", self.server.url)


def _salient(node: NodeStatus, now: float) -> object:
    """Return the values whose changes are shown at once."""
    overview = node.overview
    change, died = "", []
    if overview:
        change = overview.change
        there = overview.time + now - node.heard
        died = [
            one.name for one in overview.services if one.died and there - one.died < DIED_SECONDS
        ]
    is_off = abs(node.clock) > CLOCK_SECONDS
    return node.asked, node.reached, node.reason, change, is_off, died, dict(node.states)
