"""What workers and programs hand in is on the service's queue, once and in order."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodes import patience, wait_for

from darc.model.finding import AlertOrder
from darc.queues.client import QueueClient
from darc.queues.exchange import EXPOSED, Exchange
from darc.queues.journal import Journal
from darc.queues.messages import ContentKind, QueueError
from darc.queues.plain_connection import pack, unpack
from darc.queues.queue_server import QueueServer
from darc.services.base import intake
from darc.services.base.intake import Intake
from darc.services.base.queue_link import QueueLink

KEY = b"k" * 64
SERVICE = "lofar_trigger"


class Site:
    """A node's queues, and the server of a service on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.journal = Journal(directory / "journal.sqlite")
        exchange = Exchange(self.journal, lambda service: None, lambda *what: None)
        self._queues = QueueServer(str(directory / "queues.sock"), lambda: KEY, exchange, EXPOSED)
        self._queues.start()
        secret = directory / "secret"
        secret.write_bytes(KEY)
        secret.chmod(0o600)
        self._servers: list[QueueServer] = []
        self.start()

    def start(self) -> None:
        """Start the service's server, as at each start of the service."""
        self.intake = Intake(self.directory, SERVICE)
        self._servers.append(
            QueueServer(("127.0.0.1", 0), lambda: KEY, self.intake, intake.EXPOSED)
        )
        self._servers[-1].start()

    def client(self) -> QueueClient:
        return QueueClient(self._servers[-1].address, KEY, "test", patience(5.0))

    def taken(self) -> list[Any]:
        """What is on the queue, decoded."""
        return [unpack(entry.content) for entry in self.journal.take(SERVICE, 0, 10_000, 2**30)]

    def close(self) -> None:
        for server in (*self._servers, self._queues):
            server.stop()


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("i"))
    yield made
    made.close()


def deliver(client: QueueClient, number: int, text: str, source: str = "a") -> bool:
    content = pack([{"name": text}])
    return bool(client.call("deliver", "host", source, number, "obs", content, 0.0))


def names(site: Site) -> list[str]:
    return [trigger["name"] for triggers in site.taken() for trigger in triggers]


def test_what_comes_again_is_left_out(site: Site) -> None:
    client = site.client()
    assert deliver(client, 1, "one")
    assert not deliver(client, 1, "one")
    assert deliver(client, 7, "seven")  # others are the other services'
    assert not deliver(client, 3, "three")
    assert names(site) == ["one", "seven"]
    site.start()  # it is known after a restart too
    client = site.client()
    assert not deliver(client, 7, "seven")
    assert deliver(client, 8, "eight")
    assert names(site) == ["one", "seven", "eight"]
    assert "host" in site.intake.clients
    assert site.intake.clients["host"].endswith(" s ago, 1 handed in")


def test_each_source_has_numbers_of_its_own(site: Site) -> None:
    """Two workers, or a worker whose journal was lost."""
    client = site.client()
    assert deliver(client, 1, "of a", "a")
    assert deliver(client, 1, "of b", "b")
    assert not deliver(client, 1, "of b", "b")
    assert deliver(client, 2, "more of a", "a")
    assert names(site) == ["of a", "of b", "more of a"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9)), max_size=15))
@settings(max_examples=15, deadline=None)
def test_each_number_is_taken_once_and_in_order(numbers: list[tuple[str, int]]) -> None:
    with contextlib.ExitStack() as stack:
        site = Site(Path(stack.enter_context(_directory())))
        stack.callback(site.close)
        highest = {"a": 0, "b": 0}
        expected = []
        for source, number in numbers:
            new = number > highest[source]
            assert deliver(site.client(), number, f"{source}{number}", source) is new
            if new:
                highest[source] = number
                expected.append(f"{source}{number}")
        assert names(site) == expected


@contextlib.contextmanager
def _directory() -> Iterator[str]:
    import tempfile  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="i-", dir="/tmp") as made:
        yield made


def test_many_at_once_are_all_taken_each_source_in_order(site: Site) -> None:
    def work(source: str) -> None:
        client = site.client()
        for number in range(1, 21):
            assert deliver(client, number, f"{source} {number:02d}", source)

    threads = [threading.Thread(target=work, args=(source,)) for source in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    came = names(site)
    assert len(came) == 120
    for source in "abcdef":
        mine = [name for name in came if name.startswith(source)]
        assert mine == sorted(mine)
        assert len(mine) == 20


def test_a_program_puts_what_it_likes_and_each_call_counts(site: Site) -> None:
    client = site.client()
    for _ in range(2):
        client.call("put", [{"name": "the same"}])
    client.call("put", [])
    assert site.taken() == [[{"name": "the same"}], [{"name": "the same"}], []]
    (entry, *_) = site.journal.take(SERVICE, 0, 1, 2**20)
    assert (entry.kind, entry.observation) == (ContentKind.TRIGGERS, "")


def test_orders_of_people_are_not_taken_here(site: Site) -> None:
    """And they hold up no triggers."""
    client = site.client()
    order = AlertOrder("retract", "an id", "why", "nobody", 1.0).to_plain()
    with pytest.raises(QueueError, match="orders of people"):
        client.call("put", [{"name": "one"}, order])
    mixed = pack([order, {"name": "two"}, {**order, "name": "three"}])
    assert client.call("deliver", "host", "a", 1, "", mixed, 0.0) is True
    assert site.taken() == [[{"name": "two"}]]


def test_how_long_it_has_waited_is_kept(site: Site) -> None:
    site.client().call("deliver", "h", "s", 1, "190518009", pack([]), 100.0)
    (entry,) = site.journal.take(SERVICE, 0, 1, 2**20)
    assert entry.observation == "190518009"
    assert 100.0 <= entry.since.age() < 200.0


GOOD: list[Any] = ["h", "s", 1, "", pack([]), 0.0]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((place, value) for place in (0, 1, 3) for value in (7, None, b"h", "x" * 301)),
        *((2, value) for value in ("1", None, 1.0)),
        *((4, value) for value in (None, "[]", b"", b"\xc1", pack({}), pack("no"), b"x" * 2**21)),
        *((5, value) for value in (None, "now", float("nan"), float("inf"), -1.0)),
    ],
)
def test_what_is_no_delivery_is_refused(site: Site, place: int, value: Any) -> None:
    client = site.client()
    arguments = [*GOOD[:place], value, *GOOD[place + 1 :]]
    with pytest.raises(QueueError, match=r"triggers|delivery|texts of up to"):
        client.call("deliver", *arguments)
    assert site.taken() == []
    assert client.call("deliver", *GOOD) is True


@pytest.mark.parametrize("value", [None, {}, "no list", 7, ["x" * 2**21]])
def test_what_is_no_list_of_triggers_is_not_put(site: Site, value: Any) -> None:
    client = site.client()
    with pytest.raises(QueueError, match="triggers"):
        client.call("put", value)
    assert site.taken() == []
    client.call("put", [])


def test_greetings_tell_who_is_there(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "KEPT_CLIENTS", 3)
    client = site.client()
    for number in range(5):
        assert client.call("hello", f"host{number}", f"source{number}") == SERVICE
    assert list(site.intake.clients) == ["host2", "host3", "host4"]
    for who in ((7, "s"), ("h", []), ("x" * 301, "s")):
        with pytest.raises(QueueError, match="texts of up to"):
            client.call("hello", *who)


def test_many_may_greet_at_the_same_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "KEPT_CLIENTS", 1)
    errors: list[Exception] = []

    def greet(number: int) -> None:
        try:
            for turn in range(2000):
                site.intake.hello(cast(Any, None), f"host{number}", f"source{number} {turn % 7}")
        except Exception as error:
            errors.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=greet, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert errors == []
    assert len(site.intake.clients) == 1


def test_while_the_master_is_away_who_hands_in_is_told_to_try_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "BUSY_SECONDS", 0.05)
    client = site.client()
    entered, release = threading.Event(), threading.Event()
    commit = QueueLink.commit

    def hang(link: QueueLink, step: Any) -> None:
        entered.set()
        assert release.wait(patience(10.0))
        commit(link, step)

    monkeypatch.setattr(QueueLink, "commit", hang)
    first = threading.Thread(target=lambda: deliver(site.client(), 1, "one"))
    first.start()
    assert entered.wait(patience(10.0))
    with pytest.raises(QueueError, match="the master of lofar_trigger's node is away"):
        deliver(client, 1, "one")
    with pytest.raises(QueueError, match="is away"):
        client.call("put", [])
    release.set()
    first.join()
    # It was taken after all; who tries again is told so.
    assert not deliver(client, 1, "one")
    wait_for(lambda: names(site) == ["one"])
