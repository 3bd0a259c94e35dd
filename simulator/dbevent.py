"""A stand-in for dada_dbevent (PSRDADA), with the same limitations.

dada_dbevent itself acts as soon as it has read as many events as were announced. The stand-in first
reads to the end-of-file, so that it can report what else was sent.

``python -m simulator.dbevent`` listens on the ports of a node that is tried out, and prints each
request.
"""

from __future__ import annotations

import argparse
import errno
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from darc.config.records import Struct
from darc.runtime.program import LONGEST, number, whole
from darc.services.dada_trigger.dump_request import DumpEvent
from simulator.dbevent_buffer import CrashError, RequestedEvent, RingBuffer, read_request, read_time
from simulator.receiver import HOST, Receiver

BUFFER_LENGTH = 10.0  # s

_BACKLOG = 1  # PSRDADA's
_LOOK = 0.02  # s, after which a wait looks whether it is to go on
_CHUNK = 2**16
_RESET = struct.pack("ii", 1, 0)  # linger for 0 s: closing resets


class ReceivedRequest(Struct, frozen=True):
    """A received request.

    :param time: time of its end-of-file, Unix s
    :param events: events in order of time; empty if the request failed (see errors)
    :param kept: the windows that were copied, s since the request's start, each with DM, S/N, width
        and beam of the last event in it
    :param errors: what could not be read, by line
    """

    text: str
    time: float
    events: tuple[RequestedEvent, ...] = ()
    kept: tuple[DumpEvent, ...] = ()
    errors: tuple[str, ...] = ()


class DadaDbevent(Receiver[ReceivedRequest]):
    """Stand-in that listens on a local TCP port and holds the last seconds of an observation.

    It accepts one connection at a time, reads it to the end-of-file and closes it. On too few
    events it crashes: it stops listening for good. Further failures can be simulated:

    - `refuse` and `accept`
    - `never_read`: it takes a connection and does not read it for as long as this is set
    - `close_at_once`: it resets connections without reading
    - `real_time`: as dada_dbevent does, it holds a connection, and takes no other one, until the
      last of the data asked for are there

    :param utc_start: of the observation, YYYY-MM-DD-hh:mm:ss; None: there is none yet, and all
        events are refused
    :param port: 0: a free one
    :param buffer_length: s
    :param clock: gives Unix s
    """

    def __init__(
        self,
        utc_start: str | None = None,
        *,
        port: int = 0,
        buffer_length: float = BUFFER_LENGTH,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self.never_read = False
        self.close_at_once = False
        self.real_time = False
        self.crashed = False
        self._clock = clock
        self._buffer = RingBuffer(buffer_length)
        if utc_start is not None:
            self.begin(utc_start)
        self._closing = threading.Event()
        self._busy = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener = _bound(port)
        self.port = int(self._listener.getsockname()[1])
        self._listening = False
        self.accept()

    def begin(self, utc_start: str) -> None:
        """Start an observation, of which nothing has been read yet.

        :raises ValueError: not a time
        """
        self._buffer.begin(read_time(utc_start))

    @property
    def kept(self) -> list[DumpEvent]:
        """Return the windows copied for all requests, s since the start of each."""
        return [window for received in self.received for window in received.kept]

    def refuse(self) -> None:
        """Stop listening, but keep the port: connections are refused, and pending ones reset.

        One that has been taken is read as usual.
        """
        if self._listening:
            self._listening = False
            _shut_down(self._listener)  # its thread closes it
            self._listener = _bound(self.port)

    def accept(self) -> None:
        """Listen again.

        :raises RuntimeError: it has crashed, or was closed
        """
        if self.crashed or self._closing.is_set():
            raise RuntimeError("a dada_dbevent that has ended does not listen again")
        if not self._listening:
            self._listening = True
            self._listener.listen(_BACKLOG)
            thread = threading.Thread(
                target=self._serve, args=(self._listener,), name="dada_dbevent", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Stop and close everything; received requests can still be read."""
        self._closing.set()
        _shut_down(self._listener)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _serve(self, listener: socket.socket) -> None:
        with listener:
            while not self.crashed:
                try:
                    connection, _ = listener.accept()
                except OSError as error:
                    if error.errno == errno.EINVAL:  # it no longer listens
                        return
                    raise
                with connection, self._busy:
                    self._handle(connection)

    def _handle(self, connection: socket.socket) -> None:
        if self.close_at_once:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            return
        self._hold(lambda: self.never_read)
        data = self._read_to_end(connection)
        if self._closing.is_set():
            return
        received, end = self._take(data, self._clock())
        self._add(received)
        self._hold(lambda: self.real_time and self._clock() < end)

    def _hold(self, condition: Callable[[], bool]) -> None:
        while condition() and not self._closing.wait(_LOOK):
            pass

    def _read_to_end(self, connection: socket.socket) -> bytes:
        """Read to the end-of-file or an error, as C's fgets does."""
        connection.settimeout(_LOOK)
        chunks: list[bytes] = []
        while not self._closing.is_set():
            try:
                chunk = connection.recv(_CHUNK)
            except TimeoutError:
                continue
            except OSError:
                break
            if not chunk:
                break
            chunks.append(chunk)
        return b"".join(chunks)

    def _take(self, data: bytes, now: float) -> tuple[ReceivedRequest, float]:
        """Return the outcome of a request, and when its last data are available, Unix s."""
        text = data.decode("ascii", "backslashreplace")
        errors: list[str] = []
        try:
            start, asked = read_request(data, errors)
        except ValueError as error:
            return ReceivedRequest(text, now, errors=(*errors, str(error))), now
        except CrashError as error:
            self.crashed = True
            self._listening = False
            _shut_down(self._listener)
            return ReceivedRequest(text, now, errors=(*errors, f"crashed: {error}")), now
        events, kept = self._buffer.take(start, asked, now)
        end = start.timestamp() + kept[-1].end if kept else now
        return ReceivedRequest(text, now, tuple(events), tuple(kept), tuple(errors)), end


def _bound(port: int) -> socket.socket:
    """Return a socket bound to the port; until it listens, connections are refused."""
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound


def _shut_down(listener: socket.socket) -> None:
    """Wake the thread that waits in accept: it gets EINVAL."""
    with suppress(OSError):  # it is closed, or does not listen
        listener.shutdown(socket.SHUT_RDWR)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the requests that come to a port, until they are enough or the time is over."""
    parser = argparse.ArgumentParser(description="Listen as dada_dbevent does, and print requests.")
    parser.add_argument(
        "--port", type=whole(1, 65535), default=30001, help="dada_trigger.port_iquv"
    )
    parser.add_argument("--requests", type=whole(1, 10_000), default=1, help="how many to wait for")
    parser.add_argument("--within", type=number(0.001, LONGEST), default=600.0, help="s")
    args = parser.parse_args(arguments)
    end = time.monotonic() + args.within
    with DadaDbevent(port=args.port) as dbevent:
        for count in range(args.requests):
            try:
                request = dbevent.wait_for(count + 1, max(0.0, end - time.monotonic()))[count]
            except TimeoutError:
                parser.exit(
                    1, f"{count} of {args.requests} requests came within {args.within:g} s\n"
                )
            print(request.text, flush=True)


if __name__ == "__main__":
    main()
