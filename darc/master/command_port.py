"""The command port: one request and one reply per connection, in two dialects.

In the current dialect, a request is one line of JSON; a request that changes something is answered
by a challenge, which the client signs. Legacy clients send a Python dict literal without a newline
and read the reply with one ``recv(1024)``.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence

from darc.config.records import Struct, replace
from darc.model.message import MAX_MESSAGE_BYTES, Reply, Request
from darc.node.secret import SecretError, make_challenge, signature_holds
from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)

# Start of a message in the current dialect; such a message ends with a newline.
OURS = b'{"protocol"'
LEGACY_REPLY_BYTES = 1024
# A literal is parsed again after each part that may complete it. Legacy clients send it in one
# part; the limits on length and attempts bound the work that a client can cause.
LEGACY_MESSAGE_BYTES = 8192
MAX_ATTEMPTS = 20
# After so many parts, the master pauses after each further one, so that a client that sends single
# bytes costs no more than others.
PROMPT_PIECES = 8
PIECE_SECONDS = 0.05
SIGNATURE_SECONDS = 5.0
MAX_ORIGIN = 100  # characters
# Connections not accepted yet; a client beyond that is delayed by about a second.
BACKLOG = 1024
# Time for a client that is still sending to read why it was refused.
LINGER_SECONDS = 1.0
LINGER_BYTES = 16 * 2**20


class PortError(Exception):
    """Message that can only be answered with an error; the text is that error."""


class PortMessage(Struct, frozen=True):
    """A complete message, and whether it is in the legacy dialect."""

    request: Request
    line: bytes
    legacy: bool


def parse_message(data: bytes) -> PortMessage | None:
    """Parse a message from the bytes received so far; None while it is incomplete.

    :raises PortError: the message is invalid, whatever follows
    """
    text = data.strip()
    if text and not text.startswith(b"{"):
        raise PortError("Cannot parse message")
    if data.endswith(b"\n"):
        plain = _json(text)
        if plain is not None:
            return PortMessage(_request(plain), data, legacy=False)
        if text.startswith(OURS) or len(text) > LEGACY_MESSAGE_BYTES:
            raise PortError("Cannot parse message")
        # A literal may contain newlines, too.
    if text.startswith(OURS) or not text.endswith(b"}") or len(text) > LEGACY_MESSAGE_BYTES:
        return None
    from darc.runtime import python_literals  # noqa: PLC0415 - for old clients alone

    try:
        expression = python_literals.parse_expression(text.decode())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    try:
        request = _request(python_literals.literal_value(expression))
        if request.content:
            raise PortError("Cannot parse message: content is for our own dialect")
        return PortMessage(request, data, legacy=True)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        if _json(text) is not None:
            return None  # its newline has not arrived yet
        raise PortError("Cannot parse message") from None


def _may_be_whole(data: bytearray) -> bool:
    """Whether these bytes may be a complete message, so that parsing them is worthwhile.

    Only the ends of a long message are examined: the time for all its parts is linear in its
    length.
    """
    if data.endswith(b"\n") or not data.startswith(b"{"):
        return True
    return len(data) <= LEGACY_MESSAGE_BYTES and data.rstrip().endswith(b"}")


def _json(text: bytes) -> object:
    """Decode JSON; None where the text is invalid."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _request(plain: object) -> Request:
    if not isinstance(plain, dict):
        raise PortError("Cannot parse message")
    try:
        return Request.from_plain(plain)
    except ValueError as error:
        raise PortError(f"Cannot parse message: {error}"[:150]) from error


class CommandPort:
    """Listener for commands; each connection is answered in a thread of its own.

    :param address: host and port to listen on
    :param secret: returns the secret; called for each signed request, as the secret may be replaced
    :param answer: executes a request and returns the reply
    :param changes: whether a request changes something, and so has to be signed
    :param allow_unsigned_from: addresses or networks whose requests need no signature
    :param socket_timeout: for a request to arrive and for a reply to be read (s)
    :param max_connections: connections open at a time; further ones are refused
    :raises OSError: the address is not available
    """

    def __init__(
        self,
        address: tuple[str, int],
        secret: Callable[[], bytes],
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
        self._counting = threading.Lock()
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._listener = socket.create_server(address, family=family, backlog=BACKLOG)
        vital("command port", self._accept, or_exit=True, stoppable=True)

    def close(self) -> None:
        """Accept no further connections."""
        self._listener.close()

    def _count_refusal(self) -> None:
        with self._counting:
            self.refused += 1

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError as error:
                if self._listener.fileno() < 0:
                    return
                log.error("command connection not accepted: %s", error)
                time.sleep(0.1)  # out of file descriptors: wait until others are closed
                continue
            if not self._places.acquire(blocking=False):
                log.warning("command refused: %d connections are open", self._max_connections)
                self._turn_away(connection)
                continue
            try:
                threading.Thread(
                    target=self._serve, args=(connection, str(peer[0])), daemon=True
                ).start()
            except RuntimeError as error:  # the limit on threads is reached
                self._places.release()
                log.error("command refused: %s", error)
                self._turn_away(connection)

    def _turn_away(self, connection: socket.socket) -> None:
        self._count_refusal()
        with connection, contextlib.suppress(OSError):
            connection.setblocking(False)
            _send_to_either(connection, "too many connections are open; try again")

    def _serve(self, connection: socket.socket, peer: str) -> None:
        try:
            with connection:
                connection.settimeout(self._socket_timeout)
                self._converse(connection, peer)
        except OSError as error:
            log.info("%s closed the connection before its answer: %s", peer, error)
        finally:
            self._places.release()

    def _converse(self, connection: socket.socket, peer: str) -> None:
        try:
            message = self._receive(connection)
        except PortError as error:
            self._count_refusal()
            log.warning("%s: %s", peer, error)
            connection.settimeout(LINGER_SECONDS)
            _send_to_either(connection, str(error))
            _drain(connection)
            return
        if message is None:
            return
        refusal = self._refusal(connection, message, peer)
        reply = refusal or self._answer(_with_origin(message.request, peer))
        connection.settimeout(self._socket_timeout)
        _send(connection, reply, message.legacy)

    def _receive(self, connection: socket.socket) -> PortMessage | None:
        """Receive one message; None when the client closed the connection without sending one.

        :raises PortError: the message is invalid, or incomplete at the timeout
        """
        deadline = time.monotonic() + self._socket_timeout
        data = bytearray()
        attempts = pieces = 0
        while True:
            try:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                part = connection.recv(65536)
            except TimeoutError:
                raise PortError("Cannot parse message") from None
            data += part
            if len(data) > MAX_MESSAGE_BYTES:
                raise PortError(f"Cannot parse message: longer than {MAX_MESSAGE_BYTES} bytes")
            may_be_whole = _may_be_whole(data)
            message = parse_message(bytes(data)) if may_be_whole else None
            if message or not part:
                if data and message is None:
                    raise PortError("Cannot parse message")
                return message
            attempts += may_be_whole and not data.startswith(OURS)
            if attempts >= MAX_ATTEMPTS:
                raise PortError("Cannot parse message")
            pieces += 1
            if pieces > PROMPT_PIECES:
                time.sleep(PIECE_SECONDS)

    def _refusal(self, connection: socket.socket, message: PortMessage, peer: str) -> Reply | None:
        """Return the refusal of a request that lacks a valid signature; None if it is accepted."""
        if not self._changes(message.request) or self._is_allowed(peer):
            return None
        command = message.request.command
        if message.legacy:
            self._count_refusal()
            log.warning("unsigned %.100r from %s refused", command, peer)
            return Reply.error(
                f"{command} has to be signed; control.allow_unsigned_from lists the addresses"
                f" of old clients that need not, and {peer} is not among them"
            )
        challenge = make_challenge()
        connection.settimeout(SIGNATURE_SECONDS)
        connection.sendall(json.dumps({"challenge": challenge}).encode() + b"\n")
        signature = _receive_signature(connection)
        try:
            secret = self._secret()
        except SecretError as error:
            self._count_refusal()
            log.error("%.100r from %s refused: %s", command, peer, error)
            return Reply.error(f"{command} refused: {error}")
        if signature_holds(secret, challenge, message.line, signature):
            return None
        self._count_refusal()
        log.warning("wrongly signed %.100r from %s refused", command, peer)
        return Reply.error(f"{command} refused: the signature does not hold")

    def _is_allowed(self, peer: str) -> bool:
        address = ipaddress.ip_address(peer.partition("%")[0])
        return any(
            address in ipaddress.ip_network(network, strict=False)
            for network in self.allow_unsigned_from
        )


def _with_origin(request: Request, peer: str) -> Request:
    """Add the origin: the peer's address and, sanitised, what the client says about itself."""
    said = "".join(letter for letter in request.origin[:MAX_ORIGIN] if letter.isprintable())
    return replace(request, origin=f"{peer} ({said})" if said else peer)


def _receive_signature(connection: socket.socket) -> str:
    """Receive the signature of a challenge; empty when none arrives in time."""
    deadline = time.monotonic() + SIGNATURE_SECONDS
    data = b""
    try:
        while not data.endswith(b"\n") and len(data) < 1024:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            part = connection.recv(1024)
            if not part:
                break
            data += part
        signature: str = json.loads(data)["signature"].encode("ascii").decode()
    except (TimeoutError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return signature


def _send_to_either(connection: socket.socket, text: str) -> None:
    """Send an error in either dialect: JSON that holds only strings is a Python literal, too."""
    connection.sendall(json.dumps(Reply.error(text).to_plain()).encode() + b"\n")


def _drain(connection: socket.socket) -> None:
    """Read the rest of a request: closing with unread data would discard the reply."""
    connection.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + LINGER_SECONDS
    for _ in range(LINGER_BYTES // 65536):
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        if not connection.recv(65536):
            return


def _send(connection: socket.socket, reply: Reply, legacy: bool) -> None:
    if not legacy:
        connection.sendall(json.dumps(reply.to_plain(), default=str).encode() + b"\n")
        return
    data = repr(reply.to_plain()).encode()
    if len(data) > LEGACY_REPLY_BYTES:
        short = Reply.error("the answer is too long for this client; use the darc command")
        data = repr(short.to_plain()).encode()
    connection.sendall(data)
