"""Writes the status page: every node of the cluster, all asked at the same time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import jinja2

from darc.control import ask
from darc.model.settings import StatusWebsiteSettings
from darc.model.state import ServiceState
from darc.services.base import LOOP_SECONDS, Service

log = logging.getLogger(__name__)

PAGE = "index.html"
_VERDICTS = {"good": "running", "bad": "not all running", "unknown": "cannot be reached"}


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A service as the page shows it."""

    title: str
    state: str


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A node as the page shows it; without services it could not be asked, for the reason given."""

    host: str
    services: tuple[ServiceStatus, ...] = ()
    reason: str = ""

    @property
    def verdict(self) -> str:
        """Green is running alone."""
        if not self.services:
            return "unknown"
        running = all(service.state == ServiceState.RUNNING for service in self.services)
        return "good" if running else "bad"

    @property
    def verdict_text(self) -> str:
        return _VERDICTS[self.verdict]


def ask_node(host: str, port: int | None, timeout: float, titles: Mapping[str, str]) -> NodeStatus:
    """Ask a node for the state of its services."""
    reply, reason = ask(timeout, "all", "status", host=host, port=port)
    if reply is None or not isinstance(reply["message"], dict):
        return NodeStatus(host, reason=reason or str(reply))
    if reply["status"] == "Error":
        return NodeStatus(host, reason=str(reply["message"].get("error")))
    services = [
        ServiceStatus(titles.get(name, name), str(state))
        for name, state in reply["message"].items()
    ]
    return NodeStatus(host, tuple(services))


class Round:
    """All nodes being asked at the same time.

    In threads that do not keep the process from ending: one that gets no answer lives on for its
    whole timeout.
    """

    def __init__(self, hosts: Sequence[str], ask_one: Callable[[str], NodeStatus]) -> None:
        self._hosts = hosts
        self._answers: dict[str, NodeStatus] = {}
        self._changed = threading.Condition()
        self._ask_one = ask_one
        for host in hosts:
            threading.Thread(target=self._ask, args=(host,), daemon=True).start()

    def _ask(self, host: str) -> None:
        try:
            answer = self._ask_one(host)
        # Whatever a node says, the page has to be written.
        except Exception as error:
            answer = NodeStatus(host, reason=f"{type(error).__name__}: {error}")
        with self._changed:
            self._answers[host] = answer
            self._changed.notify_all()

    def answers(self, timeout: float) -> list[NodeStatus] | None:
        """What they said, in the order of the hosts; None when some are still being asked."""
        with self._changed:
            complete = self._changed.wait_for(
                lambda: len(self._answers) == len(self._hosts), timeout
            )
            return [self._answers[host] for host in self._hosts] if complete else None


class StatusWebsite(Service[StatusWebsiteSettings]):
    """Keeps the status page up to date."""

    name = "status_website"
    settings_type = StatusWebsiteSettings
    attributes: ClassVar[tuple[str, ...]] = ("page", "pages_written")
    observes = False

    def prepare(self) -> None:
        self.page = Path(self.settings.web_dir) / PAGE
        self.pages_written = 0
        self._next_update = 0.0
        self._hosts = self.config.nodes()
        loader = jinja2.PackageLoader("darc")
        # Whatever a host name or an error text holds is shown, and never markup.
        environment = jinja2.Environment(loader=loader, autoescape=True)
        self._template = environment.get_template("status.html")
        self._round: Round | None = None

    def _ask(self, host: str) -> NodeStatus:
        if host == self.config.hostname:
            status = ask_node("localhost", None, self.settings.timeout, self._titles())
            return NodeStatus(host, status.services, status.reason)
        return ask_node(host, self.config.master.port, self.settings.timeout, self._titles())

    def _titles(self) -> Mapping[str, str]:
        return self.settings.service_to_name

    def idle(self) -> None:
        """Ask, and write once all have answered; the loop beats on meanwhile."""
        if self._round is None:
            if time.monotonic() < self._next_update:
                return
            self._next_update = time.monotonic() + self.settings.interval
            self._round = Round(self._hosts, self._ask)
        nodes = self._round.answers(LOOP_SECONDS)
        if nodes is None:
            return
        self._round = None
        try:
            self._write(self._render(nodes))
        except OSError as error:
            log.error("the page of before stays: %s", error)

    def _render(self, nodes: list[NodeStatus]) -> str:
        now = datetime.now(UTC)
        colours = {
            "good": self.settings.colour_good,
            "bad": self.settings.colour_bad,
            "unknown": self.settings.colour_unknown,
        }
        return self._template.render(
            nodes=nodes,
            colours=colours,
            interval=f"{self.settings.interval:g}",
            updated=now.strftime("%Y-%m-%d %H:%M:%S"),
            updated_iso=now.isoformat(timespec="seconds"),
        )

    def _write(self, text: str) -> None:
        """A reader never sees half a page, and a full disk leaves the old one."""
        self.page.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.page.with_suffix(".new")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.page)
        self.pages_written += 1


if __name__ == "__main__":
    StatusWebsite.main()
