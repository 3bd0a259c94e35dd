"""Triggers for the services that tell systems outside, and what these services say of them."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, get_args

from hypothesis import strategies as st
from msgspec.structs import replace
from nodes import Node, patience, value_of, wait_for
from triggers import SPECIFIED

from darc.config.typed import OneOf, Range, field_types
from darc.model.trigger import Stages, Trigger
from darc.node.command_client import exchange_messages
from darc.node.secret import read_secret
from darc.queues.client import QueueClient

TRIGGER = replace(SPECIFIED, window=0, dm=500.0, dm_cluster=500.0, snr=20.0, ra=83.63308)
RELOADED = "configuration read again"
#: Between two pulses' arrival times; more than any interval in these tests.
PULSE_SECONDS = 4.0
#: Of the first one: what would freeze LOFAR in the past is of no use.
_FIRST = time.time() + 3600.0
_windows = itertools.count(1)


def trigger(**changes: Any) -> Trigger:
    """A trigger of a pulse of its own, with an identity of its own."""
    number = next(_windows)
    utc = datetime.fromtimestamp(_FIRST + PULSE_SECONDS * number, UTC).replace(tzinfo=None)
    found = {"dm_cluster": changes["dm"]} if "dm" in changes else {}
    own = {"window": number, "utc": utc.isoformat(timespec="microseconds")}
    return replace(TRIGGER, **{**own, **found, **changes})


def of_same_pulse(first: Trigger, **changes: Any) -> Trigger:
    """As another compound beam sees the pulse."""
    return replace(first, window=next(_windows), **changes)


def any_triggers() -> st.SearchStrategy[Trigger]:
    """Whatever may be in one, however absurd together."""
    return st.builds(
        Trigger, **{name: _any(name, hint) for name, hint in field_types(Trigger).items()}
    )


def _any(name: str, hint: Any) -> st.SearchStrategy[Any]:
    moments = st.datetimes(datetime(1990, 1, 2), datetime(2199, 12, 30))
    special = {
        "utc": moments.map(datetime.isoformat) | st.just("2026-01-01\x0000:00:00"),
        "stages": st.just(Stages()),
    }
    if name in special:
        return special[name]
    choices = get_args(hint)
    if type(None) in choices:
        return st.none() | _any(name, next(kind for kind in choices if kind is not type(None)))
    kind, rule = choices or (hint, None)
    if isinstance(rule, OneOf):
        return st.sampled_from(rule.values)
    limits = rule if isinstance(rule, Range) else Range(-(2.0**63), 2.0**63 - 1024)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(max_size=20),
        int: st.integers(int(limits.low), int(limits.high or 2**53)),
        float: st.floats(limits.low, limits.high),
        bool: st.booleans(),
    }
    return plain[kind]


def put(node: Node, service: str, *triggers: Trigger) -> None:
    """On the service's queue, all in one entry."""
    put_values(node, service, [[one.to_plain() for one in triggers]])


def put_values(node: Node, service: str, values: Iterable[object]) -> None:
    """On the service's queue, an entry each."""
    client = QueueClient(node.run_dir / "queues.sock", read_secret(node.run_dir / "secret"), "test")
    for value in values:
        client.call("put", service, value)
    client.close()


def command(node: Node, words: str, service: str = "") -> Any:
    """The message of a command's reply."""
    request = {"command": words, "service": service} if service else {"command": words}
    secret = node.run_dir / "secret"
    return exchange_messages("127.0.0.1", node.port, request, patience(30.0), secret)["message"]


def told(node: Node, service: str, attribute: str) -> Any:
    """The value of an attribute; None where the service does not tell it now."""
    return value_of(str(command(node, f"get_attr {attribute}", service)[service]))


def is_running(node: Node, service: str) -> bool:
    return bool(command(node, "status", service) == {service: "running"})


def wait_until_done(node: Node, service: str, timeout: float = 30.0) -> None:
    """Wait until all that was put is decided upon, and what could be sent is sent."""
    wait_for(
        lambda: service not in command(node, "get_attr queue_depths"),
        timeout,
        f"nothing on the queue of {service}",
    )


class Outcomes:
    """What became of a service's triggers since this was made."""

    def __init__(self, node: Node, service: str) -> None:
        self._node = node
        self._service = service
        self._before = self._now()

    def _now(self) -> Counter[str]:
        found: list[dict[str, int]] = []

        def look() -> bool:
            found[:] = [answer := told(self._node, self._service, "outcomes")]
            return answer is not None

        wait_for(look, 30.0, f"the outcomes of {self._service}")
        return Counter(found[0])

    def new(self) -> dict[str, int]:
        return dict(self._now() - self._before)

    def of_all(self, number: int, timeout: float = 30.0) -> dict[str, int]:
        """Wait until so many triggers have their outcomes; return these."""
        wait_for(lambda: sum(self.new().values()) >= number, timeout)
        return self.new()

    def expect(self, expected: dict[str, int], timeout: float = 30.0) -> None:
        """Wait until these and no others have come."""
        deadline = time.monotonic() + patience(timeout)
        while (new := self.new()) != expected and time.monotonic() < deadline:
            time.sleep(0.1)
        assert new == expected, f"{self._service}: {new}"


def reload(node: Node, service: str, **sections: dict[str, Any]) -> str:
    """Change the configuration, and have a running service read it; what the reply says."""
    count = node.log(service).count(RELOADED)
    node.configure(**sections)
    reply = str(command(node, "reload"))
    assert reply.startswith("Config reloaded"), reply
    wait_for(lambda: node.log(service).count(RELOADED) > count, 20.0, f"{service} reloaded")
    return reply


@contextmanager
def settings_kept(node: Node, service: str) -> Iterator[None]:
    """The settings are those of before once it is over; then all is decided upon."""
    before = json.dumps(node.config)
    yield
    if json.dumps(node.config) != before:
        node.config = json.loads(before)
        reload(node, service)
    wait_until_done(node, service)


@contextmanager
def paused(node: Node, service: str) -> Iterator[None]:
    """The service does nothing meanwhile; what is put is taken at once afterwards."""
    pid = node.pid(service)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def kill(node: Node, service: str) -> None:
    """End a service's process by SIGKILL, and wait for the next one."""
    pid = node.pid(service)
    os.kill(pid, signal.SIGKILL)
    wait_for_successor(node, service, pid)


def wait_for_successor(node: Node, service: str, pid: int) -> None:
    """Wait until another process than this one does the service's work."""
    wait_for(lambda: node.pid(service) not in (0, pid), 20.0, f"another {service}")
    wait_for(
        lambda: node.runs_for_good(service) and is_running(node, service),
        20.0,
        f"{service} running again",
    )
