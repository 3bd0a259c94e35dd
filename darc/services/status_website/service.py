"""Writes and serves the status page, and updates open pages: see docs/status_page.md.

It also sends alarms: see docs/alarms.md.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from darc.config.settings import ProcessorMasterSettings, StatusWebsiteSettings
from darc.monitor.alarms.alarm_manager import AlarmManager
from darc.monitor.cluster_watch import NodeTarget
from darc.monitor.findings import RuleContext
from darc.monitor.page.publisher import Publisher
from darc.monitor.page.publisher_settings import PublisherSettings
from darc.monitor.page.render_page import INDEX
from darc.node.losses import LossKind
from darc.queues.messages import Commit
from darc.services.base.service import Service
from darc.services.status_website.traits import TRAITS
from darc.web.style import Colours

log = logging.getLogger(__name__)

STOPPED = "The status website was stopped."
ENDED = "The status website has ended."
#: If the publisher hangs in a file system for longer, the heartbeat stops, too (s).
SEEN_SECONDS = 3.0
#: Key of the alarms in the memory.
ALARMS = "alarms"


ALARM_GIVEN_UP = LossKind(
    "alarm_given_up",
    "an alarm could not be sent to somebody",
    "See section alarms of the configuration, and the mail server or webhook.",
)


class StatusWebsite(Service[StatusWebsiteSettings]):
    """Service that keeps the status page up to date."""

    name = "status_website"
    traits = TRAITS
    settings_type = StatusWebsiteSettings
    attributes: ClassVar[tuple[str, ...]] = (
        "page",
        "pages_written",
        "url",
        "open_pages",
        "refused_pages",
        "alarms",
    )
    loss_kinds = (ALARM_GIVEN_UP,)

    def prepare(self) -> None:
        """Make the pages' publisher and the alarm manager, without starting them."""
        self.publisher = Publisher(self.page_settings())
        self._alarm_manager = AlarmManager(self.config, lambda: self.publisher)
        self._is_published = False

    def page_settings(self) -> PublisherSettings:
        config, settings = self.config, self.settings
        hosts = config.nodes()
        return PublisherSettings(
            targets=tuple(map(self._target, hosts)),
            own=next(filter(self.config.is_here, hosts), config.hostname),
            service=self.name,
            context=RuleContext.of(config),
            colours=Colours(settings.colour_good, settings.colour_bad, settings.colour_unknown),
            interval=settings.interval,
            timeout=settings.timeout,
            web_dir=Path(settings.web_dir),
            address=None if settings.port is None else (settings.bind, settings.port),
            max_pages=settings.max_pages,
            results=self._results(),
        )

    def _results(self) -> str:
        """Address of the results relative to the page; empty where they are not collected here."""
        webdir = self.config.of(ProcessorMasterSettings).webdir
        is_here = not Path(webdir).is_absolute() and "processor" in self.config.services()
        return quote(webdir) if is_here else ""

    def _target(self, host: str) -> NodeTarget:
        if self.config.is_here(host):
            return NodeTarget(host, "localhost", None)
        return NodeTarget(host, host, self.config.master.port)

    # -- attributes --------------------------------------------------------------------------------

    @property
    def page(self) -> Path:
        """Path of the page."""
        return Path(self.settings.web_dir) / INDEX

    @property
    def pages_written(self) -> int:
        """Number of times that the page was written."""
        return self.publisher.pages_written

    @property
    def url(self) -> str | None:
        """URL of the pages; None: they are files only."""
        return self.publisher.url

    @property
    def open_pages(self) -> int:
        """Number of open pages that receive events."""
        return self.publisher.server.open_pages if self.publisher.server else 0

    @property
    def refused_pages(self) -> int:
        """Number of refused connections of browsers."""
        return self.publisher.server.refused if self.publisher.server else 0

    @property
    def alarms(self) -> dict[str, list[str]]:
        """Open alarms and queued messages."""
        return self._alarm_manager.shown()

    # -- the service -------------------------------------------------------------------------------

    def recover(self, memory: dict[str, Any]) -> None:
        """Publish the page, and go on with the alarms of an earlier process."""
        self.publisher.start()
        self._is_published = True
        self._alarm_manager.start(memory.get(ALARMS, {}))

    def reloaded(self) -> None:
        """Publish by the new configuration."""
        self.publisher.stop()
        self.publisher = Publisher(self.page_settings(), self.publisher.history)
        self.publisher.start()
        self._alarm_manager.reconfigure(self.config)

    def idle(self) -> None:
        """Wait for the publisher, so that the heartbeat stops if it hangs; commit the alarms."""
        for what, why in self._alarm_manager.given_up():
            self.lost(ALARM_GIVEN_UP, what, why)
        if unsaved := self._alarm_manager.unsaved():
            self.commit(Commit(memory={ALARMS: unsaved.memory}))
            self._alarm_manager.remembered(unsaved)
        self.publisher.wait_until_seen(SEEN_SECONDS)

    def run(self) -> None:
        """Work until the process is stopped, and show that on the page."""
        try:
            super().run()
        except SystemExit:
            self._alarm_manager.stop()
            self._say_goodbye(STOPPED)
            raise
        except BaseException:
            self._say_goodbye(ENDED)
            raise

    def _say_goodbye(self, text: str) -> None:
        if not self._is_published:
            return  # the pages belong to another process
        try:
            self.publisher.stop(text)
        except OSError as error:
            log.error("the page does not say that it is not kept up to date: %s", error)
