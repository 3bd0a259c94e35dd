"""Overviews of all nodes of a cluster, polled in parallel."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from darc.config.records import Struct, field, replace
from darc.model.overview import NodeOverview, OverviewError, from_text
from darc.node.command_client import (
    MasterUnreachedError,
    Unreached,
    ask,
    master_value,
    request_reply,
)
from darc.runtime.fan_out import fan_out
from darc.runtime.vital_threads import vital

#: First delay before a retry where a node does not answer; it grows to the usual interval (s).
FIRST_RETRY_SECONDS = 0.25
#: Least interval between two requests to a node that changes all the time (s).
SPACING_SECONDS = 0.25
#: A thread may hang longer than its timeout, in the resolver of names (s).
GRACE_SECONDS = 0.5


class NodeTarget(Struct, frozen=True):
    """Address of a node.

    :param name: as in the cluster's configuration
    :param port: None: the node on this host, whatever its port
    """

    name: str
    host: str
    port: int | None


class NodeStatus(Struct, frozen=True):
    """What is known of a node. Times are Unix s by the clock of this host.

    :param overview: the latest one received, also when the node does not answer any more
    :param states: by service, of a node whose overview cannot be read
    :param reason: why the node does not answer, or has no readable overview; empty: none
    :param cause: why it does not answer, for programs
    :param reached: whether it answers
    :param asked: whether it was asked yet
    :param heard: when the overview was received
    :param since: since when it does not answer
    :param clock: how far its clock is ahead of this host's, at least (s); negative: behind
    """

    name: str
    overview: NodeOverview | None = None
    states: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    cause: Unreached | None = None
    reached: bool = False
    asked: bool = True
    heard: float = 0.0
    since: float | None = None
    clock: float = 0.0


class ClusterStatus(Struct, frozen=True):
    """Status of all nodes at `time` (Unix s), the master first."""

    time: float
    nodes: tuple[NodeStatus, ...]


def ask_node(
    target: NodeTarget, timeout: float, after: str = "", within: float = 0.0
) -> NodeStatus:
    """Request the overview of a node.

    :param timeout: for the node to answer (s)
    :param after: a change that is known: wait for another one
    :param within: how long to wait for it (s)
    """
    wait = f" after={after} within={within:g}" if after else ""
    sent = time.time()
    try:
        message = request_reply(
            timeout + (within if after else 0.0),
            None,
            f"get_attr overview{wait}",
            host=target.host,
            port=target.port,
            values=True,
        )["message"]
        return _status(target, message, sent, timeout)
    except MasterUnreachedError as error:
        return NodeStatus(target.name, reason=error.why, cause=error.cause, since=time.time())
    # An invalid answer of a node must not affect the others.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        return NodeStatus(target.name, reason=reason, since=time.time())


def _status(target: NodeTarget, message: object, sent: float, timeout: float) -> NodeStatus:
    """Return the status by a node's answer to a request of the time `sent` (Unix s)."""
    received = time.time()
    try:
        value = master_value(message)
        if not isinstance(value, str):
            raise OverviewError(f"no overview: {message}"[:200])
        overview = from_text(value)
    except OverviewError as error:
        states = _ask_states(target, timeout)
        return NodeStatus(target.name, None, states, str(error), reached=True, heard=received)
    clock = _clock(overview.time, sent + overview.waited, received)
    return NodeStatus(target.name, overview, reached=True, heard=received, clock=clock)


def _ask_states(target: NodeTarget, timeout: float) -> dict[str, str]:
    """Return the states of the services, as nodes of other versions can report them."""
    reply, _ = ask(timeout, "all", "status", host=target.host, port=target.port)
    if reply is None or not isinstance(reply["message"], dict) or reply["status"] == "Error":
        return {}
    return {str(name): str(state) for name, state in reply["message"].items()}


def _clock(shown: float, earliest: float, latest: float) -> float:
    """Return the least offset of a clock that showed `shown` between two times here (s)."""
    if shown > latest:
        return shown - latest
    return min(0.0, shown - earliest)


def collect(targets: Sequence[NodeTarget], timeout: float) -> ClusterStatus:
    """Poll all nodes once, in parallel; return when all have answered, or at the timeout.

    :param timeout: s
    """
    known = fan_out(
        lambda target: ask_node(target, timeout), targets, timeout=timeout + GRACE_SECONDS
    )
    nodes = (known.get(target) or _late(NodeStatus(target.name), timeout) for target in targets)
    return ClusterStatus(time.time(), tuple(nodes))


def _late(node: NodeStatus, timeout: float, since: float | None = None) -> NodeStatus:
    """Return the status of a node whose thread hangs.

    :param since: when it was asked (Unix s); None: now
    """
    return replace(
        node,
        reached=False,
        asked=True,
        reason=f"no answer within {timeout:g} s",
        cause=Unreached.NO_ANSWER,
        since=node.since or since or time.time(),
        states={},
    )


class ClusterWatch:
    """Poll of all nodes, each in a thread of its own; changes are received as they happen.

    A node answers when something has changed, and after `interval` at the latest, so that numbers
    are never older. The threads are daemons: they do not delay the exit of the process.

    :param interval: s
    :param timeout: for a node to answer (s)
    """

    def __init__(self, targets: Sequence[NodeTarget], interval: float, timeout: float) -> None:
        #: Called when a node has answered, or has failed to.
        self.on_change: Callable[[], None] = lambda: None
        self._targets = tuple(targets)
        self._interval = interval
        self._timeout = timeout
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._known = {one.name: NodeStatus(one.name, asked=False) for one in self._targets}
        # Current requests: when each began (monotonic, s), and how long it may take (s).
        self._asking: dict[str, tuple[float, float]] = {}

    def start(self) -> None:
        """Start polling, a thread for each node."""
        for target in self._targets:
            follow = partial(self._follow, target)
            vital(f"ask {target.name}", follow, or_exit=True, stoppable=True)

    def stop(self) -> None:
        """Stop polling; requests in progress are not waited for."""
        self._stopped.set()

    def status(self) -> ClusterStatus:
        """Return the current status."""
        with self._lock:
            nodes = [self._unless_late(self._known[target.name]) for target in self._targets]
        return ClusterStatus(time.time(), tuple(nodes))

    def _unless_late(self, node: NodeStatus) -> NodeStatus:
        """Return the status of a node; one whose thread hangs does not answer."""
        now = time.monotonic()
        began, limit = self._asking.get(node.name, (now, math.inf))
        if now - began < limit:
            return node
        return _late(node, self._timeout, time.time() - (now - began))

    def _follow(self, target: NodeTarget) -> None:
        delay = FIRST_RETRY_SECONDS
        while not self._stopped.is_set():
            node = self._ask(target)
            if node.reached:
                delay = FIRST_RETRY_SECONDS
                self._stopped.wait(SPACING_SECONDS if node.overview else self._interval)
            else:
                self._stopped.wait(min(delay, self._interval))
                delay *= 2

    def _ask(self, target: NodeTarget) -> NodeStatus:
        known = self._known[target.name]
        after = known.overview.change if known.reached and known.overview else ""
        limit = self._timeout + (self._interval if after else 0.0) + GRACE_SECONDS
        with self._lock:
            self._asking[target.name] = time.monotonic(), limit
        node = ask_node(target, self._timeout, after, self._interval)
        if after and node.overview and node.overview.change == after:
            early = self._interval - node.overview.waited
            self._stopped.wait(max(0.0, min(early, 1.0)))  # too many clients are waiting there
        if not node.reached:
            overview = node.overview or known.overview
            since = known.since or node.since
            node = replace(node, overview=overview, heard=known.heard, since=since)
        with self._lock:
            self._asking.pop(target.name, None)
            self._known[target.name] = node
        self.on_change()
        return node
