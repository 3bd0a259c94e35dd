"""What the rules find, and the states that they go by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from darc.model.service_state import ServiceState
from darc.monitor.shell_commands import ShellCommands

RUNNING, STOPPED = str(ServiceState.RUNNING), str(ServiceState.STOPPED)
STARTING, STOPPING = str(ServiceState.STARTING), str(ServiceState.STOPPING)
UNRESPONSIVE, FAILED = str(ServiceState.UNRESPONSIVE), str(ServiceState.FAILED)
#: Beside the states that there are: it ended without being asked to, a moment ago.
DIED = "died"
#: Likewise: it runs for the moment, but does not last.
OFTEN = "dies often"


class Priority:
    """What is more important has the lower number."""

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


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong on one host; see :class:`darc.monitor.problems.Problem`.

    :param title: with ``{host}`` for the host, or for all that have the same
    :param remedy: makes the command for all of these
    :param urgency: the lowest first among those of one rank
    :param state: of the service, or of all of the node's, where it is this that is wrong
    :param number: of losses: more than before are news
    """

    rank: int
    host: str
    title: str
    remedy: Callable[[Sequence[str]], str]
    text: str = ""
    since: float | None = None
    service: str = ""
    grave: bool = True
    urgency: int = 0
    state: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class RuleContext:
    """What the rules need to know beside the nodes.

    :param names: of services, for people
    :param master: what this host takes for the cluster's master
    """

    names: Mapping[str, str]
    master: str
    shell: ShellCommands

    def name(self, service: str) -> str:
        """What is shown beside the name that commands take; empty: nothing."""
        name = self.names.get(service, "")
        return "" if name == service else name
