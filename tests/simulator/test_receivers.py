"""The receivers of triggers for the demo and tests: as good and as bad as the real ones."""

from __future__ import annotations

import smtplib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest
from dump_requests import parse_request
from hypothesis import given, settings
from hypothesis import strategies as st
from nodes import patience, wait_for

from darc.services.dada_trigger.dump_request import DumpEvent, DumpRequest, format_request
from darc.services.lofar_trigger.lofar_packet import compose, parse
from simulator import dbevent, lofar
from simulator.dbevent import DadaDbevent
from simulator.dbevent_buffer import EventOutcome, RequestedEvent
from simulator.lofar import Lofar
from simulator.mailbox import Mailbox

HOST = "127.0.0.1"
TIMEOUT = patience(10.0)  # s, for what has to come
NOTHING = 0.1  # s, for what can never come
UTC_START = "2019-05-18-23:51:13"
START = datetime(2019, 5, 18, 23, 51, 13, tzinfo=UTC).timestamp()
LATER = "2019-05-19-01:00:00"


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No thread and no socket of the test and its receivers; others of this process may stay."""
    threads, sockets = {threading.current_thread()}, []
    start, init = threading.Thread.start, socket.socket.__init__

    def note_thread(thread: threading.Thread) -> None:
        if threading.current_thread() in threads:
            threads.add(thread)
        start(thread)

    def note_socket(made: socket.socket, *words: int, **named: int | None) -> None:
        init(made, *words, **named)
        if threading.current_thread() in threads:
            sockets.append(made)

    monkeypatch.setattr(threading.Thread, "start", note_thread)
    monkeypatch.setattr(socket.socket, "__init__", note_socket)
    yield
    assert [thread for thread in threads if thread.is_alive()] == [threading.current_thread()]
    assert [made for made in sockets if made.fileno() >= 0] == []


# -- dada_dbevent ---------------------------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    return Clock(START + 10.0)


@pytest.fixture
def dada(clock: Clock) -> Iterator[DadaDbevent]:
    with DadaDbevent(UTC_START, clock=clock) as made:
        yield made


def connect(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), TIMEOUT)


def end(client: socket.socket) -> None:
    """Close the sending side, and see that the other one closes."""
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""


def send(to: DadaDbevent, text: str | bytes) -> dbevent.ReceivedRequest:
    with connect(to.port) as client:
        client.sendall(text if isinstance(text, bytes) else text.encode())
        end(client)
    return to.received[-1]  # it is there once the connection is closed


def event(start: float, stop: float, *, snr: float = 10.0, beam: int = 0) -> DumpEvent:
    return DumpEvent(start, stop, dm=500.0, snr=snr, width=5, beam=beam)


def text_of(*events: DumpEvent, utc_start: str = UTC_START) -> str:
    return format_request(DumpRequest(utc_start, events))


def outcomes(received: dbevent.ReceivedRequest) -> list[EventOutcome]:
    return [event.outcome for event in received.events]


def spans(windows: tuple[DumpEvent, ...] | list[DumpEvent]) -> list[tuple[float, float]]:
    return [(window.start, window.end) for window in windows]


EXAMPLE = """N_EVENTS 1
2019-05-18-23:51:13
2019-05-18-23:51:20 793 2019-05-18-23:51:26 937 1056.6 28.4666 10 35
"""
LINE = EXAMPLE.splitlines()[2]


def test_the_example_of_the_specification(dada: DadaDbevent, clock: Clock) -> None:
    received = send(dada, EXAMPLE)
    asked = DumpEvent(7.793, 13.937, 1056.6, 28.4666, 10, 35)
    assert received == dbevent.ReceivedRequest(
        EXAMPLE, clock.now, (RequestedEvent(asked, EventOutcome.KEPT),), (asked,)
    )
    assert dada.wait_for(1, TIMEOUT) == [received]
    assert dada.kept == [asked]
    assert not dada.crashed


requests = st.builds(
    lambda start, events: DumpRequest(f"{start:%Y-%m-%d-%H:%M:%S}", tuple(events)),
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),
    st.lists(
        st.builds(
            lambda start, length, *numbers: DumpEvent(
                start / 1000, (start + length) / 1000, *numbers
            ),
            *(st.integers(0, 10**4) | st.integers(0, 10**8), st.integers(1, 10**4)),
            *(st.floats(0, 1e6), st.floats(0, 1e6)),
            *(st.integers(0, 10**6), st.integers(0, 10**6)),
        ),
        min_size=1,
        max_size=6,
    ).map(lambda events: sorted(events, key=lambda event: event.start)),
)


def milliseconds(event: DumpEvent) -> range:
    return range(round(event.start * 1000), round(event.end * 1000))


def test_what_is_written_is_received_as_it_was() -> None:
    with DadaDbevent(clock=Clock(0.0)) as dada:

        @settings(deadline=None, max_examples=60)
        @given(requests)
        def check(request: DumpRequest) -> None:
            dada.begin(request.utc_start)
            received = send(dada, format_request(request))
            assert parse_request(received.text) == request
            assert tuple(event.asked for event in received.events) == request.events
            assert received.errors == ()
            # All that was asked for is kept, and nothing of it twice.
            asked = {ms for event in request.events for ms in milliseconds(event)}
            assert [ms for window in received.kept for ms in milliseconds(window)] == sorted(asked)
            kept = [e for e in received.events if e.outcome is EventOutcome.KEPT]
            assert [e.asked.snr for e in kept] == [window.snr for window in received.kept]
            assert set(outcomes(received)) <= {EventOutcome.KEPT, EventOutcome.MERGED}

        check()


def test_overlapping_events_are_merged_in_order_of_time(dada: DadaDbevent) -> None:
    lines = text_of(
        event(8.0, 12.0, snr=30.0, beam=1),
        event(2.0, 9.0, snr=20.0, beam=2),
        event(3.0, 4.0, snr=40.0, beam=3),
        event(12.0, 13.0, snr=50.0, beam=4),  # it only touches the one before
    ).splitlines()
    header, events = lines[:2], lines[2:]
    received = send(dada, "".join(f"{line}\n" for line in [*header, *reversed(events)]))
    assert [event.asked.beam for event in received.events] == [2, 3, 1, 4]
    assert outcomes(received) == [
        EventOutcome.MERGED,
        EventOutcome.MERGED,
        EventOutcome.KEPT,
        EventOutcome.KEPT,
    ]
    assert spans(received.kept) == [(2.0, 12.0), (12.0, 13.0)]
    # The file's header tells of the last one only.
    assert [(window.snr, window.beam) for window in received.kept] == [(30.0, 1), (50.0, 4)]


def test_from_the_command_line_it_prints_what_came(capsys: pytest.CaptureFixture[str]) -> None:
    with DadaDbevent() as free:
        port = free.port
    words = ["--port", str(port), "--within", str(TIMEOUT)]
    thread = threading.Thread(target=dbevent.main, args=(words,))
    thread.start()

    def is_sent() -> bool:
        try:
            with connect(port) as client:
                client.sendall(text_of(event(2.0, 9.0)).encode())
        except ConnectionRefusedError:
            return False
        return True

    wait_for(is_sent, what="the stand-in")
    thread.join(TIMEOUT)
    assert capsys.readouterr().out.startswith("N_EVENTS 1\n")


def test_from_the_command_line_it_says_that_nothing_came(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with DadaDbevent() as free:
        port = free.port
    with pytest.raises(SystemExit, match="1"):
        dbevent.main(["--port", str(port), "--within", "0.01"])
    assert capsys.readouterr().err == "0 of 1 requests came within 0.01 s\n"


def test_it_cannot_go_back(dada: DadaDbevent) -> None:
    send(dada, text_of(event(2.0, 9.0)))
    assert outcomes(send(dada, text_of(event(8.999, 12.0)))) == [EventOutcome.SKIPPED]
    # An event that starts early takes those merged with it along.
    both = send(dada, text_of(event(8.0, 12.0), event(11.0, 14.0)))
    assert outcomes(both) == [EventOutcome.SKIPPED, EventOutcome.SKIPPED]
    assert both.kept == ()
    assert outcomes(send(dada, text_of(event(9.0, 12.0)))) == [EventOutcome.KEPT]
    assert spans(dada.kept) == [(2.0, 9.0), (9.0, 12.0)]


def test_another_observation_is_another_reading(dada: DadaDbevent, clock: Clock) -> None:
    send(dada, text_of(event(2.0, 9.0)))
    dada.begin(LATER)
    assert outcomes(send(dada, text_of(event(12.0, 14.0)))) == [EventOutcome.REFUSED]
    clock.now = datetime(2019, 5, 19, 1, tzinfo=UTC).timestamp() + 5.0
    received = send(dada, text_of(event(1.0, 3.0), utc_start=LATER))
    assert outcomes(received) == [EventOutcome.KEPT]


def test_what_has_left_the_buffer(clock: Clock) -> None:
    with DadaDbevent(UTC_START, buffer_length=4.0, clock=clock) as dada:
        early = send(dada, text_of(event(5.999, 6.5), event(7.0, 8.0)))
        assert outcomes(early) == [EventOutcome.LEFT, EventOutcome.KEPT]
        assert spans(early.kept) == [(7.0, 8.0)]
        clock.now += 2.5
        merged = send(dada, text_of(event(8.4, 10.0), event(9.0, 12.0)))
        assert outcomes(merged) == [EventOutcome.LEFT, EventOutcome.LEFT]
        assert outcomes(send(dada, text_of(event(8.5, 10.0)))) == [EventOutcome.KEPT]


@pytest.mark.parametrize(
    "utc_start", ["2019-05-18-23:51:14", "2018-05-18-23:51:13", "2019-05-18 23:51:13", "?" * 19]
)
def test_another_start_is_refused(dada: DadaDbevent, utc_start: str) -> None:
    received = send(dada, EXAMPLE.replace(UTC_START, utc_start, 1))
    assert received.kept == ()
    assert set(outcomes(received)) <= {EventOutcome.REFUSED}
    assert received.events or received.errors[0].startswith("line 2: ")
    assert outcomes(send(dada, EXAMPLE)) == [EventOutcome.KEPT]


def test_starts_are_compared_to_the_second(dada: DadaDbevent) -> None:
    received = send(dada, EXAMPLE.replace(UTC_START, f"{UTC_START}.537", 1))
    assert outcomes(received) == [EventOutcome.KEPT]
    assert spans(received.kept) == [(7.793, 13.937)]


def test_without_an_observation_all_is_refused() -> None:
    with DadaDbevent() as dada:
        assert outcomes(send(dada, EXAMPLE)) == [EventOutcome.REFUSED]


def test_a_start_that_is_no_time() -> None:
    with pytest.raises(ValueError, match="2019-05-18T23:51:13"):
        DadaDbevent("2019-05-18T23:51:13")


@pytest.mark.parametrize(
    ("digits", "start"), [("7", 7.7), ("07", 7.07), ("007", 7.007), ("0070", 7.007), ("70", 7.7)]
)
def test_milliseconds_are_a_decimal_fraction(dada: DadaDbevent, digits: str, start: float) -> None:
    (read,) = send(dada, EXAMPLE.replace("793", digits)).events
    assert read.asked.start == start


def test_what_starts_before_the_observation(dada: DadaDbevent) -> None:
    early = LINE.replace("23:51:20", "23:51:10")
    assert spans(send(dada, EXAMPLE.replace(LINE, early)).kept) == [(0.0, 13.937)]
    # After that the start has been read, and lies behind.
    assert outcomes(send(dada, EXAMPLE.replace(LINE, early))) == [EventOutcome.SKIPPED]


def test_what_ends_before_the_observation(dada: DadaDbevent) -> None:
    before = "2019-05-18-23:51:10 000 2019-05-18-23:51:12 000 500 10 5 0"
    received = send(dada, EXAMPLE.replace(LINE, before))
    assert outcomes(received) == [EventOutcome.SKIPPED]
    assert received.errors == ()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("#", "0 bytes"),
        ("", "0 bytes"),
        ("2019-05-1", "9 bytes"),
        ("2019-05-18-23:51:20 793 #" + LINE, "not an event"),
        (LINE.replace(" 35", "#35"), "not an event"),
        (LINE + " " * (1024 - len(LINE)), "1024 bytes"),
        (LINE.replace(" 35", ""), "not an event"),
        (LINE.replace("28.4666", "nan"), "not an event"),
        (LINE.replace("23:51:26", "23:61:26"), "does not match"),
        (LINE.replace("23:51:26", "23:51:20").replace("937", "793"), "ends before it starts"),
        ("\xff" * 30, "not an event"),
    ],
)
def test_lines_that_are_no_events_do_not_count(dada: DadaDbevent, line: str, told: str) -> None:
    received = send(dada, EXAMPLE.replace(LINE, f"{line}\n{LINE}").encode("latin-1"))
    assert outcomes(received) == [EventOutcome.KEPT]
    (error,) = received.errors
    assert error.startswith("line 3: ")
    assert told in error


@pytest.mark.parametrize(
    "line", [LINE + "#" + "x" * 2000, LINE + " # a comment", LINE + "\r", LINE + " " * 5]
)
def test_lines_with_more_than_an_event(dada: DadaDbevent, line: str) -> None:
    received = send(dada, EXAMPLE.replace(LINE, line))
    assert outcomes(received) == [EventOutcome.KEPT]
    assert received.errors == ()


def test_the_longest_line(dada: DadaDbevent) -> None:
    assert send(dada, EXAMPLE.replace(LINE, LINE + " " * (1023 - len(LINE)))).errors == ()


def test_more_events_than_announced_are_ignored(dada: DadaDbevent) -> None:
    text = EXAMPLE + LINE.replace("51:", "52:") + "\nrubbish\n"
    received = send(dada, text)
    assert received.text == text
    assert outcomes(received) == [EventOutcome.KEPT]
    assert received.errors == ()


@pytest.mark.parametrize("text", ["", "\n", "GET / HTTP/1.1\r\n", "N_EVENTS x\n" + LINE])
def test_what_is_no_request(dada: DadaDbevent, text: str) -> None:
    received = send(dada, text)
    assert received.text == text
    assert received.errors == ("line 1: not N_EVENTS and a number",)
    assert outcomes(send(dada, EXAMPLE)) == [EventOutcome.KEPT]


@pytest.mark.parametrize(
    "text",
    [
        EXAMPLE.replace("N_EVENTS 1", "N_EVENTS 2"),
        EXAMPLE.replace("N_EVENTS 1", "N_EVENTS 0"),
        EXAMPLE.replace(LINE, LINE[:40]),
        EXAMPLE.replace(LINE + "\n", ""),
        "N_EVENTS 1\n",
        EXAMPLE.replace(LINE, LINE[:9] + "\n"),
    ],
)
def test_too_few_events_crash_it(dada: DadaDbevent, text: str) -> None:
    received = send(dada, text)
    assert dada.crashed
    assert received.events == ()
    assert received.kept == ()
    assert received.errors[-1].startswith("crashed: ")
    with pytest.raises(ConnectionRefusedError):
        connect(dada.port)
    with pytest.raises(RuntimeError, match="ended"):
        dada.accept()


def test_a_crash_takes_along_who_waits(dada: DadaDbevent) -> None:
    with connect(dada.port) as first, connect(dada.port) as second:
        first.sendall(b"N_EVENTS 1\n")
        end(first)
        with pytest.raises(ConnectionResetError):
            second.recv(1)


def test_who_asks_may_die(dada: DadaDbevent) -> None:
    with connect(dada.port) as client:
        client.sendall(EXAMPLE[:40].encode())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert dada.wait_for(1, TIMEOUT)[0].errors[-1].startswith("crashed: ")


def test_one_connection_at_a_time(dada: DadaDbevent) -> None:
    early, late = text_of(event(2.0, 3.0)), text_of(event(4.0, 5.0))
    with connect(dada.port) as first, connect(dada.port) as second:
        second.sendall(late.encode())
        second.shutdown(socket.SHUT_WR)
        second.settimeout(NOTHING)
        with pytest.raises(TimeoutError):
            second.recv(1)
        for piece in early.encode():
            first.sendall(bytes([piece]))
        end(first)
        second.settimeout(TIMEOUT)
        assert second.recv(1) == b""
    assert [received.text for received in dada.received] == [early, late]


def test_it_refuses_and_listens_again(dada: DadaDbevent) -> None:
    port = dada.port
    for _ in range(3):
        dada.refuse()
        dada.refuse()
        with pytest.raises(ConnectionRefusedError):
            connect(port)
        # The port is kept meanwhile.
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((HOST, port))
        dada.accept()
        dada.accept()
        assert send(dada, EXAMPLE).text == EXAMPLE
    assert dada.port == port
    assert len(dada.received) == 3


def test_refusing_resets_who_waits_and_ends_what_it_reads(dada: DadaDbevent) -> None:
    with connect(dada.port) as taken:
        with connect(dada.port) as waiting:
            # It has been taken once something of it was read.
            taken.sendall(EXAMPLE[:20].encode())
            wait_for(lambda: unread(dada.port, taken) == 0)
            dada.refuse()
            with pytest.raises(ConnectionResetError):
                waiting.recv(1)
        dada.accept()
        with connect(dada.port) as next_:
            next_.sendall(text_of(event(14.0, 15.0)).encode())
            next_.shutdown(socket.SHUT_WR)
            taken.sendall(EXAMPLE[20:].encode())
            end(taken)
            assert next_.recv(1) == b""
    assert [outcomes(received) for received in dada.received] == [[EventOutcome.KEPT]] * 2
    assert dada.received[0].text == EXAMPLE


def unread(port: int, client: socket.socket) -> int:
    """Bytes that the other side of a connection has not read."""
    own = client.getsockname()[1]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[2].endswith(f":{own:04X}"):
            return int(fields[4].split(":")[1], 16)
    return -1


def test_it_never_reads(dada: DadaDbevent) -> None:
    dada.never_read = True
    with connect(dada.port) as client:
        client.sendall(EXAMPLE.encode())
        client.shutdown(socket.SHUT_WR)
        client.settimeout(NOTHING)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert unread(dada.port, client) >= len(EXAMPLE)
        dada.never_read = False
        client.settimeout(TIMEOUT)
        assert client.recv(1) == b""
    assert outcomes(dada.received[0]) == [EventOutcome.KEPT]


def test_it_closes_at_once(dada: DadaDbevent) -> None:
    dada.close_at_once = True
    # It can be so fast that it is connecting which fails.
    with pytest.raises(ConnectionResetError), connect(dada.port) as client:
        client.recv(1)
    dada.close_at_once = False
    assert outcomes(send(dada, EXAMPLE)) == [EventOutcome.KEPT]
    assert len(dada.received) == 1


def test_it_holds_a_connection_until_the_data_are_there(dada: DadaDbevent, clock: Clock) -> None:
    dada.real_time = True
    with connect(dada.port) as client:
        client.sendall(EXAMPLE.encode())
        client.shutdown(socket.SHUT_WR)
        dada.wait_for(1, TIMEOUT)
        clock.now = START + 13.936
        client.settimeout(NOTHING)
        with pytest.raises(TimeoutError):
            client.recv(1)
        clock.now = START + 13.938
        client.settimeout(TIMEOUT)
        assert client.recv(1) == b""


@pytest.mark.parametrize("worse", ["never_read", "real_time", "nothing"])
def test_it_closes_whatever_it_is_at(clock: Clock, worse: str) -> None:
    with DadaDbevent(UTC_START, clock=clock) as dada:
        setattr(dada, worse, True)
        with connect(dada.port) as client, connect(dada.port) as waiting:
            client.sendall(EXAMPLE.encode())
            if worse == "real_time":
                client.shutdown(socket.SHUT_WR)
                dada.wait_for(1, TIMEOUT)
            dada.close()
            assert closed(client)
            assert closed(waiting)
        assert len(dada.received) == (worse == "real_time")
        with pytest.raises(ConnectionRefusedError):
            connect(dada.port)
        dada.close()
    with pytest.raises(RuntimeError, match="ended"):
        dada.accept()


def closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_it_closes_while_it_refuses(clock: Clock) -> None:
    with DadaDbevent(UTC_START, clock=clock) as dada:
        dada.refuse()
    with socket.socket() as other:
        other.bind((HOST, dada.port))


def test_the_port_can_be_given(dada: DadaDbevent) -> None:
    with pytest.raises(OSError, match="in use"):
        DadaDbevent(port=dada.port)
    dada.close()
    with DadaDbevent(UTC_START, port=dada.port, clock=Clock(START)) as other:
        assert other.port == dada.port
        assert outcomes(send(other, EXAMPLE)) == [EventOutcome.KEPT]


def test_waiting_for_what_does_not_come(dada: DadaDbevent) -> None:
    assert dada.wait_for(0, 0.0) == []
    send(dada, EXAMPLE)
    with pytest.raises(TimeoutError, match=r"1 of 2 came to DadaDbevent .*1056\.6 28\.4666"):
        dada.wait_for(2, NOTHING)


# -- LOFAR ----------------------------------------------------------------------------------------


@pytest.fixture
def boards(clock: Clock) -> Iterator[Lofar]:
    with Lofar(clock=clock) as made:
        yield made


@pytest.fixture
def fire() -> Iterator[Callable[[Lofar, bytes], lofar.ReceivedPacket]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:

        def send_datagram(to: Lofar, datagram: bytes) -> lofar.ReceivedPacket:
            before = len(to.received)
            client.sendto(datagram, (HOST, to.port))
            return to.wait_for(before + 1, TIMEOUT)[-1]

        yield send_datagram


Fire = Callable[[Lofar, bytes], lofar.ReceivedPacket]


def freeze(since_start: float, *, test: bool = False) -> bytes:
    return compose(START + since_start, 557.0, test=test)


def test_buffers_are_frozen_once(boards: Lofar, clock: Clock, fire: Fire) -> None:
    first = fire(boards, freeze(12.0))
    assert first == lofar.ReceivedPacket(
        parse(freeze(12.0)), freeze(12.0), clock.now, lofar.FreezeOutcome.FROZEN
    )
    assert boards.frozen
    assert fire(boards, freeze(13.0)).outcome is lofar.FreezeOutcome.IGNORED
    clock.now += 1e6
    assert fire(boards, compose(clock.now, 1.0, test=False)).outcome is lofar.FreezeOutcome.IGNORED
    boards.unfreeze()
    assert not boards.frozen
    assert fire(boards, compose(clock.now, 1.0, test=False)).outcome is lofar.FreezeOutcome.FROZEN
    assert boards.counts == {lofar.FreezeOutcome.FROZEN: 2, lofar.FreezeOutcome.IGNORED: 2}


def test_they_thaw_by_themselves(clock: Clock, fire: Fire) -> None:
    with Lofar(frozen_for=60.0, clock=clock) as boards:
        assert fire(boards, freeze(12.0)).outcome is lofar.FreezeOutcome.FROZEN
        clock.now = START + 71.999
        assert boards.frozen
        assert fire(boards, freeze(74.0)).outcome is lofar.FreezeOutcome.IGNORED
        clock.now = START + 72.0
        assert not boards.frozen
        assert fire(boards, freeze(74.0)).outcome is lofar.FreezeOutcome.FROZEN


def test_a_command_that_comes_too_late(boards: Lofar, clock: Clock, fire: Fire) -> None:
    clock.now = START + 12.501
    assert fire(boards, freeze(10.0)).outcome is lofar.FreezeOutcome.TOO_LATE
    assert not boards.frozen
    clock.now = START + 12.5
    assert fire(boards, freeze(10.0)).outcome is lofar.FreezeOutcome.FROZEN


def test_how_late_is_half_of_the_buffer(clock: Clock, fire: Fire) -> None:
    with Lofar(buffer_length=1.0, clock=clock) as boards:
        assert fire(boards, freeze(9.499)).outcome is lofar.FreezeOutcome.TOO_LATE
        assert fire(boards, freeze(9.5)).outcome is lofar.FreezeOutcome.FROZEN


def test_tests_freeze_nothing(boards: Lofar, fire: Fire) -> None:
    received = fire(boards, freeze(12.0, test=True))
    assert received.outcome is lofar.FreezeOutcome.TEST
    assert received.freeze
    assert received.freeze.test
    assert not boards.frozen
    assert fire(boards, freeze(12.0)).outcome is lofar.FreezeOutcome.FROZEN
    assert fire(boards, freeze(12.0, test=True)).outcome is lofar.FreezeOutcome.TEST


@pytest.mark.parametrize(
    "datagram", [b"", b"\x99\xa0", freeze(12.0) + b"\0", b"\x98" + freeze(12.0)[1:], b"S" * 65507]
)
def test_rubbish_is_counted(boards: Lofar, clock: Clock, fire: Fire, datagram: bytes) -> None:
    assert fire(boards, datagram) == lofar.ReceivedPacket(
        None, datagram, clock.now, lofar.FreezeOutcome.RUBBISH
    )
    assert not boards.frozen


def test_any_datagram_is_received_as_it_was(fire: Fire) -> None:
    with Lofar(clock=Clock(0.0), frozen_for=0.0) as boards:
        commands = st.builds(
            lambda ms, tenths, test: compose(ms / 1000, tenths / 10, test=test),
            *(st.integers(0, 2**31 * 1000 - 1), st.integers(0, 65535), st.booleans()),
        )

        @settings(deadline=None)
        @given(commands | st.binary(max_size=20))
        def check(datagram: bytes) -> None:
            boards.unfreeze()
            received = fire(boards, datagram)
            assert received.datagram == datagram
            try:
                expected = parse(datagram)
            except ValueError:
                assert received.outcome is lofar.FreezeOutcome.RUBBISH
            else:
                assert received.freeze == expected
                assert (received.outcome is lofar.FreezeOutcome.TEST) == expected.test

        check()


def test_boards_close(boards: Lofar) -> None:
    with pytest.raises(OSError, match="in use"):
        Lofar(boards.port)
    boards.close()
    boards.close()
    assert boards.received == []
    with Lofar(boards.port) as other, pytest.raises(TimeoutError, match="0 of 1 came to Lofar"):
        other.wait_for(1, NOTHING)


# -- mail -----------------------------------------------------------------------------------------


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as made:
        yield made


def mail(text: str = "DM 557.0\n", to: str = "a@example.org, b@example.org") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "darc@example.org"
    message["To"] = to
    message["Subject"] = "Trigger: 10.3 µs"
    message.set_content(text)
    return message


def post(to: Mailbox, message: EmailMessage) -> dict[str, tuple[int, bytes]]:
    with smtplib.SMTP(HOST, to.port, local_hostname="localhost", timeout=TIMEOUT) as client:
        return client.send_message(message)


def test_mail_is_kept_as_it_was_sent(mailbox: Mailbox) -> None:
    sent = mail("Flux density 1.5 Jy ± 0.3\n.\n..dots\n")
    sent.add_attachment(b"\x99\xa0\r\n\0", maintype="application", subtype="octet-stream")
    assert post(mailbox, sent) == {}
    (received,) = mailbox.wait_for(1, TIMEOUT)
    assert received.sender == "darc@example.org"
    assert received.recipients == ("a@example.org", "b@example.org")
    assert received.message["Subject"] == sent["Subject"]
    body, attachment = received.message.iter_parts()
    assert body.get_content() == "Flux density 1.5 Jy ± 0.3\n.\n..dots\n"
    assert attachment.get_content() == b"\x99\xa0\r\n\0"
    assert received.content.startswith(b"From: darc@example.org\r\n")


def test_the_envelope_is_not_the_message(mailbox: Mailbox) -> None:
    with smtplib.SMTP(HOST, mailbox.port, local_hostname="localhost", timeout=TIMEOUT) as client:
        client.send_message(mail(), "bounces@example.org", ["c@example.org"])
        client.send_message(mail(), "bounces@example.org", ["d@example.org"])
    received = mailbox.wait_for(2, TIMEOUT)
    assert [one.recipients for one in received] == [("c@example.org",), ("d@example.org",)]
    assert received[0].sender == "bounces@example.org"
    assert received[0].message["To"] == "a@example.org, b@example.org"


def test_addresses_need_not_be_ascii(mailbox: Mailbox) -> None:
    post(mailbox, mail(to="jörg@example.org"))
    (received,) = mailbox.wait_for(1, TIMEOUT)
    assert received.recipients == ("jörg@example.org",)
    assert received.message["To"] == "jörg@example.org"


def test_a_recipient_is_refused(mailbox: Mailbox) -> None:
    mailbox.refused = ["b@example.org"]
    refused = post(mailbox, mail())
    assert {address: code for address, (code, _) in refused.items()} == {"b@example.org": 550}
    (received,) = mailbox.wait_for(1, TIMEOUT)
    assert received.recipients == ("a@example.org",)


def test_all_recipients_are_refused(mailbox: Mailbox) -> None:
    mailbox.refused = None
    with pytest.raises(smtplib.SMTPRecipientsRefused) as told:
        post(mailbox, mail())
    assert {code for code, _ in told.value.recipients.values()} == {550}
    mailbox.refused = ()
    post(mailbox, mail())
    assert len(mailbox.received) == 1


def test_mail_is_not_taken_for_now(mailbox: Mailbox) -> None:
    mailbox.temporary_failures = 2
    for _ in range(2):
        with pytest.raises(smtplib.SMTPDataError) as told:
            post(mailbox, mail())
        assert told.value.smtp_code == 451
    assert mailbox.received == []
    post(mailbox, mail())
    assert len(mailbox.received) == 1


def test_it_never_answers(mailbox: Mailbox) -> None:
    mailbox.never_answer = True
    with connect(mailbox.port) as client:
        client.settimeout(NOTHING)
        client.sendall(b"EHLO localhost\r\n")
        with pytest.raises(TimeoutError):
            client.recv(1)
        mailbox.never_answer = False
        post(mailbox, mail())
    assert len(mailbox.received) == 1


def test_it_closes_connections_at_once(mailbox: Mailbox) -> None:
    mailbox.close_at_once = True
    with connect(mailbox.port) as client:
        assert closed(client)
    mailbox.close_at_once = False
    post(mailbox, mail())
    assert len(mailbox.received) == 1


def test_it_closes_with_connections_open(caplog: pytest.LogCaptureFixture) -> None:
    with Mailbox() as mailbox:
        with connect(mailbox.port) as greeted, connect(mailbox.port) as sending:
            for client in (greeted, sending):
                assert client.recv(4) == b"220 "
            sending.sendall(b"EHLO x\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nhalf")
            mailbox.never_answer = True
            with connect(mailbox.port) as mute:
                mute.sendall(b"QUIT\r\n")
                wait_for(lambda: unread(mailbox.port, mute) == 0)
                mailbox.close()
                for client in (greeted, sending, mute):
                    while not closed(client):
                        pass
        with pytest.raises(ConnectionRefusedError):
            connect(mailbox.port)
        mailbox.close()
    assert mailbox.received == []
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_the_port_of_mail_can_be_given(mailbox: Mailbox) -> None:
    with pytest.raises(OSError, match="in use"):
        Mailbox(mailbox.port)
    mailbox.close()
    with Mailbox(mailbox.port) as other:
        post(other, mail())
        assert len(other.received) == 1


def test_what_it_needs_is_named() -> None:
    code = "import sys; sys.modules['aiosmtpd'] = None; import simulator.mailbox"
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=6 * TIMEOUT,
    )
    assert run.returncode == 1
    assert "needs aiosmtpd: pip install 'darc[demo]'" in run.stderr.splitlines()[-1]
