"""A stand-in for LOFAR's transient buffer boards, which a datagram freezes (docs/triggers.md)."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum

from darc.config.records import Struct
from darc.services.lofar_trigger.lofar_packet import FreezePacket, parse
from simulator.receiver import HOST, Receiver

BUFFER_LENGTH = 5.0  # s

_MAX_DATAGRAM = 2**16
_MS = 1000  # in a second


class FreezeOutcome(StrEnum):
    """Outcome of a datagram."""

    FROZEN = "frozen"
    IGNORED = "ignored: frozen already"
    TOO_LATE = "too late: the pulse has left the buffer"
    TEST = "test"
    RUBBISH = "rubbish"


class ReceivedPacket(Struct, frozen=True):
    """A received datagram.

    :param freeze: None if invalid
    :param time: time of arrival, Unix s
    """

    freeze: FreezePacket | None
    datagram: bytes
    time: float
    outcome: FreezeOutcome


class Lofar(Receiver[ReceivedPacket]):
    """Receiver of datagrams on a local UDP port, with buffers that can be frozen once.

    They stay frozen until `unfreeze`, or for `frozen_for` from the requested time, and ignore other
    commands once one was accepted. The pulse should be in the middle of the buffer: a command that
    comes later than half a buffer after its time has no effect.

    :param port: 0: a free one
    :param buffer_length: s
    :param frozen_for: s; None: until `unfreeze`
    :param clock: gives Unix s
    """

    def __init__(
        self,
        port: int = 0,
        *,
        buffer_length: float = BUFFER_LENGTH,
        frozen_for: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self.buffer_length = buffer_length
        self.frozen_for = frozen_for
        self._clock = clock
        self._frozen: float | None = None  # requested time of freezing, Unix s
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((HOST, port))
        except OSError:
            self._socket.close()
            raise
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, name="LOFAR", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> Counter[FreezeOutcome]:
        """Return the number of datagrams by outcome."""
        return Counter(received.outcome for received in self.received)

    @property
    def frozen(self) -> bool:
        """Whether the buffers are frozen now."""
        with self._lock:
            return self._is_frozen(self._clock())

    def unfreeze(self) -> None:
        """Unfreeze the buffers, as LOFAR's operators do after reading the data."""
        with self._lock:
            self._frozen = None

    def close(self) -> None:
        """Stop listening; received packets can still be read."""
        if self._closing.is_set():
            return
        self._closing.set()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", (HOST, self.port))  # its thread waits in recv
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            datagram = self._socket.recv(_MAX_DATAGRAM)
            if self._closing.is_set():
                return
            self._add(self._take(datagram, self._clock()))

    def _take(self, datagram: bytes, now: float) -> ReceivedPacket:
        try:
            freeze = parse(datagram)
        except ValueError:
            return ReceivedPacket(None, datagram, now, FreezeOutcome.RUBBISH)
        return ReceivedPacket(freeze, datagram, now, self._apply(freeze, now))

    def _apply(self, freeze: FreezePacket, now: float) -> FreezeOutcome:
        if freeze.test:
            return FreezeOutcome.TEST
        at = freeze.time_ms / _MS
        with self._lock:
            if self._is_frozen(now):
                return FreezeOutcome.IGNORED
            if now - at > self.buffer_length / 2:
                return FreezeOutcome.TOO_LATE
            self._frozen = at
        return FreezeOutcome.FROZEN

    def _is_frozen(self, now: float) -> bool:
        if self._frozen is None:
            return False
        return self.frozen_for is None or now < self._frozen + self.frozen_for
