"""A Kafka broker that goes away, is slow, and is killed, and a consumer that records all of it.

librdkafka's mock broker runs in a process of its own, on a port that is another one after each
start, and has its log in memory. A relay has the address that a node is told: answers that name the
broker's own port are made to name the relay's, so that all a node sends passes it. Who is killed is
cut off first, and read to its end: as with a broker whose log is on a disk, nothing that it has
acknowledged is lost with it. The consumer reads past the relay.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from simulator.kafka_broker import ConsumedMessage, TopicReader

HOST = "127.0.0.1"
START_SECONDS = 60.0
#: What was on its way when connections were cut has been taken by then (s).
DRAIN_SECONDS = 0.2
_POLL_SECONDS = 0.05
_MOST_BYTES = 2**26
_PROGRAM = Path(__file__).with_name("kafka_process.py")


class KafkaRoad:
    """The broker, until `close`.

    :param topics: that are recorded, each from its beginning, over all brokers there were
    """

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = topics
        self._received: list[ConsumedMessage] = []
        self._reading = threading.Lock()
        self._closing = threading.Event()
        self._relay = _Relay()
        self._start()
        self._thread = threading.Thread(target=self._consume)
        self._thread.start()

    @property
    def address(self) -> str:
        """host:port, the same for every broker."""
        return f"{HOST}:{self._relay.port}"

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._reader.close()
        self._relay.close()
        self._end()

    def received(self) -> list[ConsumedMessage]:
        """All that was consumed, once that is all there is."""
        with self._reading:
            self._read_to_end()
            return [*self._received, *self._reader.received]

    # -- what happens to it --------------------------------------------------------------------

    def go_away(self, duration: float) -> None:
        """Cut connections, and take none for a while (s); the log stays."""
        self._relay.cut()
        time.sleep(duration)
        self._relay.lead_to(self._port)

    def be_slow(self, duration: float, delay: float) -> None:
        """Have each answer come so late (s), for a while (s)."""
        self._relay.delay = delay
        time.sleep(duration)
        self._relay.delay = 0.0

    def kill(self, duration: float) -> None:
        """SIGKILL, and another broker after a while (s)."""
        self._relay.cut()
        time.sleep(DRAIN_SECONDS)
        with self._reading:
            self._read_to_end()
            self._process.send_signal(signal.SIGKILL)
            self._received += self._reader.received
            self._reader.close()
            self._end()
            time.sleep(duration)
            self._start()

    # -- the process, and the record -----------------------------------------------------------

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(_PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout
        address = self._process.stdout.readline().decode().strip()
        self._port = int(address.rpartition(":")[2])
        self._reader = TopicReader(address, self._topics)
        self._relay.lead_to(self._port)

    def _end(self) -> None:
        self._process.kill()
        self._process.wait(START_SECONDS)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream
            stream.close()

    def _consume(self) -> None:
        while not self._closing.wait(_POLL_SECONDS):
            with self._reading:
                self._reader.look(0.0)

    def _read_to_end(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self._reader.look() is not None and not self._reader.is_at_end():
            assert time.monotonic() < deadline, "the log of the Kafka broker cannot be read"


class _Relay:
    """A port that leads to another one, or nowhere."""

    def __init__(self) -> None:
        self.delay = 0.0  # s
        self._target: int | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def lead_to(self, port: int) -> None:
        with self._lock:
            self._target = port

    def cut(self) -> None:
        """Close all connections, and every other at once."""
        with self._lock:
            self._target = None
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                target = self._target
                broker = None
                if target is not None:
                    with contextlib.suppress(OSError):
                        broker = socket.create_connection((HOST, target), 5.0)
                if broker is None or target is None:
                    client.close()
                    continue
                broker.settimeout(None)
                self._open |= {client, broker}
            for serve in (
                lambda one=client, two=broker: self._forward(one, two),
                lambda one=broker, two=client, port=target: self._answer(one, two, port),
            ):
                threading.Thread(target=serve, daemon=True).start()

    def _forward(self, client: socket.socket, broker: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                broker.sendall(data)
        self._over(client, broker)

    def _answer(self, broker: socket.socket, client: socket.socket, port: int) -> None:
        """Pass answers on, each as a whole, with the relay's address in the place of the broker's.

        A broker is named by a text and a number of four bytes, so that no length changes.
        """
        named, instead = (HOST.encode() + struct.pack(">i", one) for one in (port, self.port))
        with contextlib.suppress(OSError):
            while head := _exactly(broker, 4):
                (length,) = struct.unpack(">i", head)
                if not 0 <= length < _MOST_BYTES or not (data := _exactly(broker, length)):
                    break
                time.sleep(self.delay)
                client.sendall(head + data.replace(named, instead))
        self._over(client, broker)

    def _over(self, *sockets: socket.socket) -> None:
        with self._lock:
            for one in sockets:
                if one in self._open:
                    self._open.discard(one)
                    with contextlib.suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)
                    one.close()


def _exactly(source: socket.socket, count: int) -> bytes:
    """Return so many bytes; none where it was closed before."""
    found = b""
    while len(found) < count:
        data = source.recv(count - len(found))
        if not data:
            return b""
        found += data
    return found
