"""A limit on how long a delivery takes as a whole, however slowly the other side answers."""

from __future__ import annotations

import http.client
import smtplib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class HeldConnection:
    """A connection whose socket is remembered once :meth:`hold` was called.

    http.client forgets it where an answer ends with the connection, before that was read.
    """

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self._held: socket.socket | None = None

    def hold(self) -> None:
        self._held = self._connection.sock

    @property
    def sock(self) -> socket.socket | None:
        return self._held or self._connection.sock


@contextmanager
def cut_after(
    seconds: float, connection: http.client.HTTPConnection | smtplib.SMTP | HeldConnection
) -> Iterator[threading.Event]:
    """Shut a connection down that takes too long: its own timeout is for each packet.

    :return: set when it was shut down
    """
    done, was_cut = threading.Event(), threading.Event()

    def watch() -> None:
        while not done.wait(seconds):
            if sock := connection.sock:
                was_cut.set()
                with suppress(OSError):  # it has just been closed
                    sock.shutdown(socket.SHUT_RDWR)

    thread = threading.Thread(target=watch, name="delivery timeout", daemon=True)
    thread.start()
    try:
        yield was_cut
    finally:
        done.set()
        thread.join()
