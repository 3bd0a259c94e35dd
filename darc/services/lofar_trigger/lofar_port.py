"""Sender of datagrams to LOFAR."""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
from typing import Any

from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)

RESOLVE_SECONDS = 60.0
FIRST_LOOK_SECONDS = 2.0
# Wait for an ICMP error where nothing listens at the port, which few hosts send (s).
REFUSAL_SECONDS = 0.02


class LofarPort:
    """UDP sender. The host's name is resolved in a thread, as that may take long.

    :param host: name or address
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._addresses: list[tuple[int, Any]] = []
        self._error = "not looked up yet"
        self._first_look = threading.Event()
        self._closed = threading.Event()
        vital("LOFAR's address", self._keep_resolved, or_exit=True, stoppable=True)
        self._first_look.wait(FIRST_LOOK_SECONDS)

    def __str__(self) -> str:
        return f"{self._host}:{self._port}"

    def close(self) -> None:
        """Stop resolving the name."""
        self._closed.set()

    def send(self, datagram: bytes) -> float:
        """Send a datagram; to the host's next address where one refuses it.

        :return: when it was sent (Unix s); its arrival is not acknowledged
        :raises OSError: it could not be sent, or nothing listens at the port
        """
        failure = OSError(f"{self._host}: {self._error}")
        for family, address in self._addresses:
            try:
                return _send(datagram, family, address)
            except OSError as error:
                failure = error
        raise failure

    def _keep_resolved(self) -> None:
        while not self._closed.is_set():
            self._resolve()
            self._first_look.set()
            self._closed.wait(RESOLVE_SECONDS if self._addresses else FIRST_LOOK_SECONDS)

    def _resolve(self) -> None:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
        # A text that is not a valid name raises UnicodeError.
        except (OSError, UnicodeError) as error:
            if str(error) != self._error:
                log.error("LOFAR's host name %s cannot be resolved: %s", self._host, error)
            self._error = str(error)
            return
        addresses = [(int(family), address) for family, _, _, _, address in found]
        if addresses != self._addresses:
            names = ", ".join(str(address[0]) for _, address in addresses)
            log.info("LOFAR is %s at %s", self._host, names)
        self._addresses = addresses
        self._error = ""


def _send(datagram: bytes, family: int, address: Any) -> float:
    # A socket for each datagram, so that the error of an earlier one does not affect it.
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.connect(address)
        sender.send(datagram)
        left_at = time.time()
        poll = select.poll()
        poll.register(sender, 0)  # errors only
        if poll.poll(1e3 * REFUSAL_SECONDS):
            number = sender.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                raise OSError(number, f"{address[0]}:{address[1]}: {os.strerror(number)}")
    return left_at
