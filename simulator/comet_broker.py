"""The VOEvent broker Comet in a local process, and a subscriber that stores its events.

For tests and the demo. Comet listens on all interfaces, so only this machine is allowed in.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import BinaryIO

from comet.protocol import messages  # type: ignore[import-untyped]
from comet.protocol.base import VOEVENT_ROLES  # type: ignore[import-untyped]

from darc.config.records import Struct
from darc.model import voevent_xml

LOCAL_IVO = "ivo://darc.example/comet"
SUBSCRIBER_IVO = "ivo://darc.example/subscriber"
START_SECONDS = 30.0
STOP_SECONDS = 5.0
MAX_MESSAGE_BYTES = 2**20

_THIS_MACHINE = "127.0.0.0/8"
_POLL_SECONDS = 0.02
#: Twisted's log messages.
_LISTENS = re.compile(r"VOEvent(Broadcaster|Receiver)Factory .*starting on (\d+)")

# Comet, which ends and removes its directory when its standard input does, that is with the
# process that started it, however that ends. A paused one is woken up for it by the kernel.
_COMET = """
import ctypes, os, shutil, signal, threading

def end_with_parent(directory=os.getcwd()):
    os.read(0, 1)
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(1)

PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGCONT)
threading.Thread(target=end_with_parent, daemon=True).start()
from twisted.scripts.twistd import run
run()
"""


class BrokerError(Exception):
    """The broker is not running; the message has the end of its log."""


class CometBroker:
    """Comet in a process of its own, from ``start()`` or ``with`` until ``close()``.

    A restart keeps its ports and its database of events.

    :param port: port for received events; 0: a free one
    :param broadcast_port: 0: a free one
    """

    def __init__(self, port: int = 0, broadcast_port: int = 0) -> None:
        self.port = port
        self.broadcast_port = broadcast_port
        self.directory = Path(tempfile.mkdtemp(prefix="darc-comet-"))
        self._log = self.directory / "comet.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> CometBroker:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """PID of the broker.

        :raises BrokerError: it is not running
        """
        if self._process is None:
            raise BrokerError("Comet is not running")
        return self._process.pid

    @property
    def log(self) -> str:
        """Log since the last start."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start or restart the broker, and wait until it listens on both ports.

        :raises BrokerError: it exited, or does not listen within ``START_SECONDS``
        """
        self.stop()
        options = {
            "local-ivo": LOCAL_IVO,
            "receive-port": self.port,
            "broadcast-port": self.broadcast_port,
            "broadcast-test-interval": 0,
            "author-whitelist": _THIS_MACHINE,
            "subscriber-whitelist": _THIS_MACHINE,
            "eventdb": self.directory / "events",
        }
        command = [sys.executable, "-c", _COMET, "--nodaemon", "--pidfile=", "comet"]
        command += ["--receive", "--broadcast"]
        command += [f"--{name}={value}" for name, value in options.items()]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.directory,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the caller, who stops it
            )
        try:
            self._wait_until_listening()
        except BaseException:
            self.stop()
            raise

    def _wait_until_listening(self) -> None:
        assert self._process
        deadline = time.monotonic() + START_SECONDS
        while len(ports := dict(_LISTENS.findall(self.log))) < 2:
            if self._process.poll() is not None:
                raise BrokerError(f"Comet has ended:\n{self.log[-2000:]}")
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"Comet does not listen after {START_SECONDS:g} s:\n{self.log[-2000:]}"
                )
            time.sleep(_POLL_SECONDS)
        self.port, self.broadcast_port = int(ports["Receiver"]), int(ports["Broadcaster"])

    def pause(self) -> None:
        """Suspend the broker: the kernel still accepts connections, but nothing replies."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Stop the process, by SIGKILL after ``STOP_SECONDS``."""
        process, self._process = self._process, None
        if process is None:
            return
        with process:
            process.terminate()
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    def close(self) -> None:
        """Stop it, and remove its directory."""
        self.stop()
        shutil.rmtree(self.directory)


class ReceivedEvent(Struct, frozen=True):
    """A received event, byte for byte, and its time, Unix s."""

    event: bytes
    time: float


class Subscriber:
    """Subscriber to a local broker, connected by ``with``; acknowledges events.

    :raises ConnectionError: from ``with``: the broker is unreachable or sends nothing
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._received: list[ReceivedEvent] = []
        self._greeted = False
        self._ended: str | None = None
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="subscriber", daemon=True)

    def __enter__(self) -> Subscriber:
        self._socket = socket.create_connection(("127.0.0.1", self._port), START_SECONDS)
        self._socket.settimeout(None)
        self._thread.start()
        # Before that, the broker may not know of the connection.
        with self._news:
            self._news.wait_for(lambda: self._greeted or self._ended, START_SECONDS)
        if not self._greeted:
            self.__exit__(None, None, None)
            raise ConnectionError(f"port {self._port}: no greeting by a broker: {self._ended}")
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):  # the broker has hung up
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    @property
    def received(self) -> tuple[ReceivedEvent, ...]:
        """Return all events so far, in order of arrival."""
        with self._news:
            return tuple(self._received)

    def wait_for(self, count: int, timeout: float) -> tuple[ReceivedEvent, ...]:
        """Wait until `count` events have arrived in total, and return all of them.

        :param timeout: s
        :raises TimeoutError: fewer came
        :raises ConnectionError: fewer came, and the connection has ended
        """
        with self._news:
            self._news.wait_for(lambda: len(self._received) >= count or self._ended, timeout)
            number = len(self._received)
            if number >= count:
                return tuple(self._received)
            if self._ended:
                raise ConnectionError(f"{number} of {count} events, then: {self._ended}")
            raise TimeoutError(f"{number} of {count} events within {timeout:g} s")

    # -- in its thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with self._socket.makefile("rb") as stream:
                while True:
                    self._take(_read_message(stream), time.time())
        except (OSError, EOFError, ValueError) as error:
            with self._news:
                self._ended = f"{type(error).__name__}: {error}"
                self._news.notify_all()

    def _take(self, data: bytes, now: float) -> None:
        """Acknowledge a message, and store it if it is an event."""
        message = voevent_xml.read(data)
        role, origin = message.get("role"), message.findtext("Origin")
        with self._news:
            if role == "authenticate":
                answer = messages.authenticateresponse(SUBSCRIBER_IVO, origin, [])
                self._greeted = True
            elif role == "iamalive":
                answer = messages.iamaliveresponse(SUBSCRIBER_IVO, origin)
            elif role in VOEVENT_ROLES:
                answer = messages.ack(SUBSCRIBER_IVO, message.get("ivorn"))
                self._received.append(ReceivedEvent(data, now))
            else:
                raise ValueError(f"a message of role {role!r}")
            self._news.notify_all()
        self._socket.sendall(struct.pack(">I", len(answer.raw_bytes)) + answer.raw_bytes)


def _read_message(stream: BinaryIO) -> bytes:
    """Read a message of the protocol: its length, four bytes, big-endian, and the XML."""
    (length,) = struct.unpack(">I", _read(stream, 4))
    if length > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {length} bytes")
    return _read(stream, length)


def _read(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError("the broker has closed the connection")
    return data
