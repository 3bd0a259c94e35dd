"""The command port: one message in, one reply out, in two dialects.

Our own dialect is one line of JSON; a change is answered by a challenge, which the client signs.
Older clients send a Python dict literal without a newline and read with one ``recv(1024)``.
"""

from __future__ import annotations

import ast
import ipaddress
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from darc.model.message import MAX_MESSAGE_BYTES, Reply, Request
from darc.node.secret import make_challenge, signature_holds

log = logging.getLogger(__name__)

LEGACY_REPLY_BYTES = 1024
# A literal is parsed anew after each part of it: keep that cheap.
LEGACY_MESSAGE_BYTES = 65536
SIGNATURE_SECONDS = 5.0


class PortError(Exception):
    """A message that cannot be answered but with an error; the text is the error's."""


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message, and the dialect it came in."""

    request: Request
    line: bytes
    legacy: bool


def parse_message(data: bytes) -> Message | None:
    """Read a message from the bytes that came so far; None when it is not whole yet.

    :raises PortError: it can never become one
    """
    text = data.strip()
    if text and not text.startswith(b"{"):
        raise PortError("Cannot parse message")
    if data.endswith(b"\n"):
        try:
            return Message(_request(json.loads(text)), data, legacy=False)
        except (ValueError, RecursionError):
            pass  # a literal may have line ends, too
    if not text.endswith(b"}"):
        return None
    if len(text) > LEGACY_MESSAGE_BYTES:
        return None
    try:
        return Message(_request(ast.literal_eval(text.decode())), data, legacy=True)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _request(plain: object) -> Request:
    if not isinstance(plain, dict):
        raise PortError("Cannot parse message")
    try:
        return Request.from_plain(plain)
    except ValueError as error:
        raise PortError(f"Cannot parse message: {error}") from error


class CommandPort:
    """Listens for commands and answers each in a thread of its own.

    :param answer: does a request
    :param changes: tells whether a request changes something, and so needs a proof
    :param allow_unsigned_from: addresses or networks that need none
    :raises OSError: the address cannot be listened on
    """

    def __init__(
        self,
        address: tuple[str, int],
        secret: bytes,
        answer: Callable[[Request], Reply],
        changes: Callable[[Request], bool],
        allow_unsigned_from: Sequence[str],
        socket_timeout: float,
        max_connections: int,
    ) -> None:
        self._secret = secret
        self._answer = answer
        self._changes = changes
        self.allow_unsigned_from = tuple(allow_unsigned_from)
        self._socket_timeout = socket_timeout
        self._places = threading.BoundedSemaphore(max_connections)
        self._max_connections = max_connections
        self.refused = 0
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._listener = socket.create_server(address, family=family, backlog=128)
        threading.Thread(target=self._accept, name="command port", daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError as error:
                if self._listener.fileno() < 0:
                    return
                log.error("command connection not accepted: %s", error)
                time.sleep(0.1)  # out of descriptors: give others time to close theirs
                continue
            if not self._places.acquire(blocking=False):
                self.refused += 1
                log.warning("command refused: %d connections are open", self._max_connections)
                connection.close()
                continue
            threading.Thread(
                target=self._serve, args=(connection, str(peer[0])), daemon=True
            ).start()

    def _serve(self, connection: socket.socket, peer: str) -> None:
        try:
            with connection:
                connection.settimeout(self._socket_timeout)
                self._converse(connection, peer)
        except OSError as error:
            log.info("%s went before its answer: %s", peer, error)
        finally:
            self._places.release()

    def _converse(self, connection: socket.socket, peer: str) -> None:
        try:
            message = self._receive(connection)
        except PortError as error:
            log.warning("%s: %s", peer, error)
            _send(connection, Reply.error(str(error)), legacy=True)
            return
        if message is None:
            return
        refusal = self._refusal(connection, message, peer)
        reply = refusal or self._answer(message.request)
        _send(connection, reply, message.legacy)

    def _receive(self, connection: socket.socket) -> Message | None:
        """Read one message; None when the client closed without one.

        :raises PortError: it sent something else, or not all of it in time
        """
        deadline = time.monotonic() + self._socket_timeout
        data = b""
        while True:
            try:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                part = connection.recv(65536)
            except TimeoutError:
                raise PortError("Cannot parse message") from None
            data += part
            if len(data) > MAX_MESSAGE_BYTES:
                raise PortError(f"Cannot parse message: longer than {MAX_MESSAGE_BYTES} bytes")
            message = parse_message(data) if data else None
            if message or not part:
                if data and message is None:
                    raise PortError("Cannot parse message")
                return message

    def _refusal(self, connection: socket.socket, message: Message, peer: str) -> Reply | None:
        """Why a change is not done; None when the request needs no proof or has brought it."""
        if not self._changes(message.request) or self._is_allowed(peer):
            return None
        command = message.request.command
        if message.legacy:
            self.refused += 1
            log.warning("unsigned %s from %s refused", command, peer)
            return Reply.error(
                f"{command} has to be signed; control.allow_unsigned_from lists the addresses"
                f" of old clients that need not, and {peer} is not among them"
            )
        challenge = make_challenge()
        connection.settimeout(SIGNATURE_SECONDS)
        connection.sendall(json.dumps({"challenge": challenge}).encode() + b"\n")
        data = b""
        while not data.endswith(b"\n") and len(data) < 1024:
            part = connection.recv(1024)
            if not part:
                break
            data += part
        try:
            signature = str(json.loads(data)["signature"])
        except (ValueError, KeyError, TypeError):
            signature = ""
        if signature_holds(self._secret, challenge, message.line, signature):
            return None
        self.refused += 1
        log.warning("wrongly signed %s from %s refused", command, peer)
        return Reply.error(f"{command} refused: the signature does not hold")

    def _is_allowed(self, peer: str) -> bool:
        address = ipaddress.ip_address(peer.partition("%")[0])
        return any(
            address in ipaddress.ip_network(network, strict=False)
            for network in self.allow_unsigned_from
        )


def _send(connection: socket.socket, reply: Reply, legacy: bool) -> None:
    if not legacy:
        connection.sendall(json.dumps(reply.to_plain(), default=str).encode() + b"\n")
        return
    data = repr(reply.to_plain()).encode()
    if len(data) > LEGACY_REPLY_BYTES:
        short = Reply.error("the answer is too long for this client; use the darc command")
        data = repr(short.to_plain()).encode()
    connection.sendall(data)
