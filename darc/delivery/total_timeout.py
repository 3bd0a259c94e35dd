"""A limit on how long a delivery takes as a whole, however slowly the other side answers."""

from __future__ import annotations

import http.client
import smtplib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def cut_after(
    seconds: float, connection: http.client.HTTPConnection | smtplib.SMTP
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
