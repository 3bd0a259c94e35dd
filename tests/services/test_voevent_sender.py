"""VOEvents arrive at a real Comet as they were made; what peers do wrong is told, in time."""

from __future__ import annotations

import logging
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import count

import psutil
import pytest
from comet.protocol import messages
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from nodes import patience, wait_for
from triggers import SPECIFIED
from twisted.internet import reactor
from twisted.internet._resolver import GAIResolver
from twisted.logger import Logger

from darc.delivery.voevent_errors import NotAnsweredError, RefusedError, SendError
from darc.delivery.voevent_sender import send, warm_up
from darc.model.voevent import Direction, ObservationSetup, Sender, make_voevent
from simulator.comet_broker import CometBroker, Subscriber

#: Long enough for a machine that does other work.
PATIENCE = patience(20.0)
#: For peers that never answer.
SHORT = 0.2
HERE = "127.0.0.1"


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What DARC has logged; twisted logs what Python warns of, on some Pythons of Comet's code."""
    return [one.getMessage() for one in caplog.records if one.name.startswith("darc.")]


SETUP = ObservationSetup("WSRT", "ARTS", 300.0, 1536, 2, 8, 0.853, 85.0)
CREATED = datetime(2019, 5, 18, 23, 52, 3, tzinfo=UTC)
_numbers = count(1)


def new_event(contact: str = "The team") -> bytes:
    """A VOEvent that no broker has seen."""
    return make_voevent(
        replace(SPECIFIED, snr=10.0 + next(_numbers)),
        SETUP,
        Direction(gl=184.557, gb=-5.784, beam_rotation_angle=-12.25),
        Sender("nl.example/alert", "nl.example", contact, "team@example.org"),
        test=True,
        created=CREATED,
    )


@pytest.fixture(scope="module")
def broker() -> Iterator[CometBroker]:
    with CometBroker() as comet:
        yield comet


@pytest.fixture
def subscriber(broker: CometBroker) -> Iterator[Subscriber]:
    with Subscriber(broker.broadcast_port) as subscribed:
        yield subscribed


@contextmanager
def peer(serve: Callable[[socket.socket], None], host: str = HERE) -> Iterator[int]:
    """Something that listens, and does with each connection as it likes; its port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family)
    port = listener.getsockname()[1]
    ending = threading.Event()

    def accept() -> None:
        while True:
            with listener.accept()[0] as connection:
                if ending.is_set():
                    return
                with suppress(OSError):
                    serve(connection)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield port
        # Nothing may stay open at the sender's side either.
        wait_for(lambda: not connections_to(port), what="the sender hangs up")
    finally:
        ending.set()
        socket.create_connection((host, port)).close()
        thread.join(PATIENCE)
        listener.close()
        assert not thread.is_alive()


def connections_to(port: int) -> list[object]:
    return [
        connection
        for connection in psutil.Process().net_connections("tcp")
        if connection.raddr and connection.raddr.port == port
    ]


def framed(message: bytes) -> bytes:
    return struct.pack(">I", len(message)) + message


def read_event(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as stream:
        return stream.read(struct.unpack(">I", stream.read(4))[0])


def wait_for_the_end(connection: socket.socket) -> None:
    while connection.recv(2**16):
        pass


# -- with a real broker ----------------------------------------------------------------------------


def test_an_event_is_broadcast_byte_for_byte(broker: CometBroker, subscriber: Subscriber) -> None:
    event = new_event()
    send(event, HERE, broker.port, PATIENCE)
    assert [received.event for received in subscriber.wait_for(1, PATIENCE)] == [event]


def test_an_event_that_no_serialiser_would_make_is_broadcast_byte_for_byte(
    broker: CometBroker, subscriber: Subscriber
) -> None:
    event = new_event(contact="Zoë").replace(b"\n", b"\r\n") + b"<!-- the   end -->\r\n\r\n"
    event = event.decode().replace("UTF-8", "ISO-8859-1", 1).encode("latin-1")
    assert b"ISO-8859-1" in event
    assert b"Zo\xeb" in event
    send(event, HERE, broker.port, PATIENCE)
    assert [received.event for received in subscriber.wait_for(1, PATIENCE)] == [event]


def test_a_repeat_counts_as_taken_and_is_broadcast_once(
    broker: CometBroker, subscriber: Subscriber, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    event, after = new_event(), new_event()
    send(event, HERE, broker.port, PATIENCE)
    assert said(caplog) == []
    send(event, HERE, broker.port, PATIENCE)
    send(after, HERE, broker.port, PATIENCE)
    assert [received.event for received in subscriber.wait_for(2, PATIENCE)] == [event, after]
    assert said(caplog) == [
        f"127.0.0.1:{broker.port} has the VOEvent already: "
        "Event rejected: Previously seen by this broker"
    ]


def test_comet_knows_an_event_by_its_bytes_not_by_its_ivorn(
    broker: CometBroker, subscriber: Subscriber
) -> None:
    event = new_event()
    other = event + b"\n"
    send(event, HERE, broker.port, PATIENCE)
    send(other, HERE, broker.port, PATIENCE)
    assert [received.event for received in subscriber.wait_for(2, PATIENCE)] == [event, other]


@pytest.mark.parametrize(
    ("good", "bad", "reason"),
    [
        (b"What>", b"Wat>", "Element 'Wat': This element is not expected."),
        (b'ivorn="ivo://', b'ivorn="iv://', "Invalid IVOID: iv://nl.example/alert#FRB"),
    ],
)
def test_what_is_no_voevent_is_refused_with_the_reason(
    broker: CometBroker, good: bytes, bad: bytes, reason: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        send(new_event().replace(good, bad), HERE, broker.port, PATIENCE)
    start = f"127.0.0.1:{broker.port} refused the event: Event rejected: {reason}"
    assert str(caught.value).startswith(start)


def test_what_comet_hangs_up_on_is_not_answered(broker: CometBroker) -> None:
    without_ivorn = new_event().replace(b" ivorn=", b" nrovi=")
    too_long = new_event(contact="x" * 100_000)
    for event in (without_ivorn, too_long):
        with pytest.raises(NotAnsweredError, match="closed the connection without a reply"):
            send(event, HERE, broker.port, PATIENCE)


def test_several_threads_send_at_once(broker: CometBroker, subscriber: Subscriber) -> None:
    events = [new_event() for _ in range(24)]
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(send, event, HERE, broker.port, PATIENCE) for event in events]
    assert [done.result() for done in sent] == [None] * 24
    arrived = [received.event for received in subscriber.wait_for(24, PATIENCE)]
    assert sorted(arrived) == sorted(events)


def test_a_broker_may_be_given_by_name(broker: CometBroker) -> None:
    send(new_event(), "localhost", broker.port, PATIENCE)


def test_a_broker_that_is_down_and_comes_back() -> None:
    event = new_event()
    with CometBroker() as comet:
        port = comet.port
        comet.stop()
        with pytest.raises(NotAnsweredError, match=f"^127.0.0.1:{port} .* refused"):
            send(event, HERE, port, PATIENCE)
        comet.start()
        assert comet.port == port
        send(event, HERE, port, PATIENCE)


def test_a_broker_that_hangs_gets_the_event_once_all_the_same() -> None:
    event, after = new_event(), new_event()
    with CometBroker() as comet, Subscriber(comet.broadcast_port) as subscribed:
        comet.pause()
        with pytest.raises(NotAnsweredError, match=rf":{comet.port} did not reply within 0.2 s"):
            send(event, HERE, comet.port, SHORT)
        comet.resume()
        send(event, HERE, comet.port, PATIENCE)
        send(after, HERE, comet.port, PATIENCE)
        arrived = [received.event for received in subscribed.wait_for(2, PATIENCE)]
        assert sorted(arrived) == sorted([event, after])


# -- with peers that are none ----------------------------------------------------------------------


def test_what_is_sent_is_a_length_and_the_event_and_nothing_else() -> None:
    arrived = []

    def serve(connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            arrived.append(stream.read(4))
            arrived.append(stream.read(struct.unpack(">I", arrived[0])[0]))
            connection.sendall(framed(messages.ack("ivo://broker", "ivo://event").raw_bytes))
            arrived.append(stream.read())

    event = new_event()
    with peer(serve) as port:
        send(event, HERE, port, PATIENCE)
        wait_for(lambda: len(arrived) == 3)
    assert arrived == [struct.pack(">I", len(event)), event, b""]


def test_a_broker_may_be_at_an_ipv6_address() -> None:
    def serve(connection: socket.socket) -> None:
        read_event(connection)
        connection.sendall(framed(messages.ack("ivo://broker", "ivo://event").raw_bytes))

    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with peer(serve, "::1") as port:
        send(new_event(), "::1", port, PATIENCE)
    with pytest.raises(NotAnsweredError, match=rf"^\[::1\]:{port} .* refused"):
        send(new_event(), "::1", port, PATIENCE)


@pytest.mark.parametrize("result", [None, "We  are\nfull " + "x" * 5000])
def test_a_refusal_is_one_line_of_a_log(result: str | None) -> None:
    def serve(connection: socket.socket) -> None:
        read_event(connection)
        connection.sendall(framed(messages.nak("ivo://broker", "ivo://event", result).raw_bytes))

    with peer(serve) as port, pytest.raises(RefusedError) as caught:
        send(new_event(), HERE, port, PATIENCE)
    reason = str(caught.value).removeprefix(f"127.0.0.1:{port} refused the event: ")
    assert reason.startswith("We are full xxx" if result else "no reason given")
    assert len(reason) <= 300


WEB_PAGE = b"HTTP/1.1 400 Bad Request\r\n\r\n"
#: An answer whose role would be of 10**9 letters.
BOMB = (
    b"<!DOCTYPE a ["
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10))
    + b'<!ENTITY a0 "a">]><a role="&a9;"/>'
)
NO_ANSWER = framed(messages.iamalive("ivo://broker").raw_bytes)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"", "closed the connection without a reply"),
        (b"\0\0", "closed the connection without a reply"),
        (framed(b"<a/>")[:-1], "closed the connection without a reply"),
        (b"\xff\xff\xff\xff", "invalid reply: a message of 4294967295 bytes"),
        (WEB_PAGE, "invalid reply: a message of 1213486160 bytes"),
        (framed(b"no XML"), "invalid reply: not XML: syntax error"),
        (framed(BOMB), "invalid reply: a document type is not allowed in a VOEvent; not read"),
        (b"\0" * 3_000_000, "invalid reply: not XML: no element found"),
        (NO_ANSWER, "invalid reply: neither ack nor nak, but 'iamalive'"),
    ],
)
def test_a_peer_that_is_no_broker(answer: bytes, what: str) -> None:
    def serve(connection: socket.socket) -> None:
        read_event(connection)
        connection.sendall(answer)

    with peer(serve) as port, pytest.raises(NotAnsweredError) as caught:
        send(new_event(), HERE, port, PATIENCE)
    assert str(caught.value).startswith(f"127.0.0.1:{port} {what}")


@pytest.mark.parametrize("first", ["ack", "nak"])
def test_the_first_answer_counts(first: str, caplog: pytest.LogCaptureFixture) -> None:
    answers = [
        framed(make("ivo://broker", "ivo://event").raw_bytes)
        for make in (messages.ack, messages.nak)
    ]

    def serve(connection: socket.socket) -> None:
        read_event(connection)
        connection.sendall(b"".join((answers if first == "ack" else answers[::-1]) * 2))

    with peer(serve) as port:
        if first == "ack":
            send(new_event(), HERE, port, PATIENCE)
        else:
            with pytest.raises(RefusedError):
                send(new_event(), HERE, port, PATIENCE)
    assert said(caplog) == []


def test_a_peer_that_closes_before_it_reads() -> None:
    with peer(lambda _: None) as port, pytest.raises(NotAnsweredError, match="closed"):
        send(new_event(), HERE, port, PATIENCE)


def test_a_peer_that_streams_rubbish_for_ever() -> None:
    def serve(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"\0" * 2**16)

    with peer(serve) as port, pytest.raises(NotAnsweredError, match="invalid reply"):
        send(new_event(), HERE, port, PATIENCE)


@pytest.mark.parametrize("begun", [b"", framed(b"<a/>")[:-1]], ids=["silent", "half an answer"])
def test_a_peer_that_does_not_answer(begun: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(begun)
        wait_for_the_end(connection)

    with peer(serve) as port, pytest.raises(NotAnsweredError, match=r"did not reply within 0.2"):
        send(new_event(), HERE, port, SHORT)


@pytest.mark.parametrize("answer", [b"", framed(b"no XML")], ids=["silent", "rubbish"])
def test_a_peer_that_does_not_read(answer: bytes) -> None:
    """The event is larger than what the kernel takes for it."""
    hung_up = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.sendall(answer)
        assert hung_up.wait(PATIENCE)

    with peer(serve) as port:
        with pytest.raises(
            NotAnsweredError, match="invalid reply" if answer else "did not reply within"
        ):
            send(new_event(contact="x" * 9_000_000), HERE, port, PATIENCE if answer else 1.0)
        wait_for(lambda: not connections_to(port), what="the sender hangs up")
        hung_up.set()


def test_a_peer_that_does_not_take_the_connection() -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind((HERE, 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex((HERE, port))
        before = len(connections_to(port))
        with pytest.raises(
            NotAnsweredError, match=rf":{port} connection failed: not connected within"
        ):
            send(new_event(), HERE, port, SHORT)
        wait_for(lambda: len(connections_to(port)) == before, what="the sender gives up")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "no host", ""])
def test_a_host_that_does_not_exist(host: str) -> None:
    with pytest.raises(NotAnsweredError, match=rf"^{host}:8098 connection failed: "):
        send(new_event(), host, 8098, PATIENCE)


def test_a_name_server_that_answers_too_late() -> None:
    """The event is not sent then: who sent it was told that it was not."""
    asked, late, answered = threading.Event(), threading.Event(), threading.Event()
    arrived = []

    def look_up(host: str, port: int, *arguments: int) -> list[object]:
        if host == "slow":
            asked.set()
            late.wait(PATIENCE)
            answered.set()
        return list(socket.getaddrinfo(HERE, port, *arguments))

    def serve(connection: socket.socket) -> None:
        arrived.append(read_event(connection))
        connection.sendall(framed(messages.ack("ivo://broker", "ivo://event").raw_bytes))

    event, after = new_event(), new_event()
    warm_up()
    before = reactor.installNameResolver(GAIResolver(reactor, getaddrinfo=look_up))
    try:
        with peer(serve) as port:
            with pytest.raises(
                NotAnsweredError, match=rf"^slow:{port} connection failed: not connected within"
            ):
                send(event, "slow", port, SHORT)
            assert asked.is_set()
            late.set()
            assert answered.wait(PATIENCE)
            send(after, "quick", port, PATIENCE)
        assert arrived == [after]
    finally:
        late.set()
        reactor.installNameResolver(before)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=64).flatmap(lambda data: st.sampled_from([data, framed(data)])))
def test_whatever_a_peer_says_it_is_a_send_error(answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        read_event(connection)
        connection.sendall(answer)

    with peer(serve) as port, pytest.raises(SendError):
        send(b"<a/>", HERE, port, PATIENCE)


@pytest.mark.parametrize("event", [b"", b"no XML", b"<a>", b"<!DOCTYPE a SYSTEM 'b'><a>&c;</a>"])
def test_what_is_no_xml_is_not_sent(event: bytes) -> None:
    with pytest.raises(ValueError, match="not a VOEvent: "):
        send(event, HERE, 1, PATIENCE)


# -- in a process ----------------------------------------------------------------------------------

QUIET = """
import sys
from darc.delivery.voevent_errors import SendError
from darc.delivery.voevent_sender import send, warm_up

assert not {"twisted", "comet", "lxml"} & set(sys.modules), "imported before it is needed"
warm_up()
event = sys.stdin.buffer.read()
for what in (event, event, event.replace(b"What>", b"Wat>"), event.replace(b" ivorn=", b" x=")):
    for port in map(int, sys.argv[1:]):
        try:
            send(what, "127.0.0.1", port, 20.0)
        except SendError:
            pass
"""


def test_a_process_that_sends_prints_nothing_and_ends(broker: CometBroker) -> None:
    def serve(connection: socket.socket) -> None:
        read_event(connection)
        connection.sendall(framed(b"no XML"))

    with peer(serve) as rubbish, peer(lambda _: None) as gone:
        done = subprocess.run(
            [sys.executable, "-c", QUIET, *map(str, (broker.port, rubbish, gone, 1))],
            input=new_event(),
            capture_output=True,
            check=False,
            timeout=patience(60),
        )
    assert (done.stdout, done.stderr, done.returncode) == (b"", b"", 0)


def test_there_is_one_event_loop_and_its_warnings_are_logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        warm_up()
    with peer(lambda _: None) as port, pytest.raises(NotAnsweredError):
        send(new_event(), HERE, port, PATIENCE)
    assert [thread.name for thread in threading.enumerate()].count("twisted") == 1
    Logger("some.part").warn("the roof is on fire")
    Logger("some.part").info("all is well")
    assert [record.getMessage() for record in caplog.records] == ["the roof is on fire"]
    assert capfd.readouterr() == ("", "")


def test_without_comet_the_error_says_how_to_install_it() -> None:
    code = """
import sys
sys.modules["comet"] = None
from darc.delivery.voevent_errors import NotAnsweredError
from darc.delivery.voevent_sender import send
for _ in range(2):
    try:
        send(b"<event/>", "127.0.0.1", 1, 20.0)
    except NotAnsweredError as error:
        print(error)
"""
    said = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert said.stdout.count("pip install 'darc[vtp]'") == 2
