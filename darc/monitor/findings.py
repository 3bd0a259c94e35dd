"""Findings of the rules, and the states that they refer to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Self

from darc.config.config import Config, Role
from darc.config.records import Struct
from darc.config.settings import StatusWebsiteSettings
from darc.model.service_state import ServiceState
from darc.monitor.shell_commands import ShellCommands

RUNNING, STOPPED = str(ServiceState.RUNNING), str(ServiceState.STOPPED)
STARTING, STOPPING = str(ServiceState.STARTING), str(ServiceState.STOPPING)
UNRESPONSIVE, FAILED = str(ServiceState.UNRESPONSIVE), str(ServiceState.FAILED)
#: State beside those of ServiceState: it has just exited without being stopped.
DIED = "died"
#: Likewise: it runs at the moment, but exits again and again.
OFTEN = "dies often"


class Priority:
    """Rank of a finding; the most important has the lowest number."""

    MASTER = 1
    JOURNAL = 2
    ON_MASTER = 3
    UNREACHED = 4
    HANDOVER = 5
    ON_WORKER = 6
    SUPERVISORD = 7
    LOST = 8
    UNHURRIED = 9
    DISK = 10
    LATE = 11
    GROWS = 12
    CLOCK = 13
    VERSION = 14
    CHANGING = 15
    DIED_LATELY = 16


class FindingTitle(Struct, frozen=True, order=True):
    """Title of a finding, alone and with the hosts that it is about.

    :param about: the title without the hosts
    :param template: the title with ``{host}`` for the hosts
    """

    about: str
    template: str

    @classmethod
    def at(cls, what: str) -> Self:
        """Return the title ``HOST: WHAT``."""
        return cls(what, f"{{host}}: {what}")

    @classmethod
    def on(cls, subject: str, does: str) -> Self:
        """Return the title ``SUBJECT on HOST DOES``."""
        return cls(f"{subject} {does}", f"{subject} on {{host}} {does}")

    @classmethod
    def of(cls, does: str) -> Self:
        """Return the title ``HOST DOES``."""
        return cls(does, f"{{host}} {does}")

    def named(self, hosts: str) -> str:
        return self.template.replace("{host}", hosts)


class Finding(Struct, frozen=True):
    """Problem on one host; see :class:`darc.monitor.problems.Problem`.

    :param remedy: returns the shell command for these hosts
    :param urgency: the lowest first among those of one rank
    :param state: of the service, or of all services of the node, where the state is the problem
    :param number: of losses; an increase is a change
    """

    rank: int
    host: str
    title: FindingTitle
    remedy: Callable[[Sequence[str]], str]
    text: str = ""
    since: float | None = None
    service: str = ""
    grave: bool = True
    urgency: int = 0
    state: str = ""
    number: int = 0


def one_text(texts: Iterable[tuple[str, str]]) -> str:
    """Return what several hosts have in common.

    :param texts: of each host; empty: there is none
    :return: the first text; with its host where others have another; empty: there is none
    """
    known = [(host, text) for host, text in texts if text]
    if len({text for _, text in known}) > 1:
        return "{}: {}".format(*known[0])
    return known[0][1] if known else ""


class RuleContext(Struct, frozen=True):
    """Context of the rules beside the nodes.

    :param names: display names of services
    :param master: the cluster's master by the configuration of this host
    """

    names: Mapping[str, str]
    master: str
    shell: ShellCommands

    @classmethod
    def of(cls, config: Config) -> Self:
        """Return the context on this host."""
        alone = config.role is Role.STANDALONE
        names = config.of(StatusWebsiteSettings).service_to_name
        return cls(names, "" if alone else config.nodes()[0], ShellCommands(alone))

    def name(self, service: str) -> str:
        """Return the display name of a service beside its name in commands; empty: none."""
        name = self.names.get(service, "")
        return "" if name == service else name
