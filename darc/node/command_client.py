"""Client of the command port: sends a command to a master and returns the reply.

This module imports little and reads no YAML: operators run commands many times a night.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from darc.model.vocabulary import VALUES
from darc.node.endpoint import DEFAULT_PORT, CopiedError, Endpoint, endpoint_file, read_endpoint
from darc.runtime.tcp_client import connect_tcp

# Not typing's, which would cost every command a tenth of its time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ParamSpec

    P = ParamSpec("P")

#: Largest reply, bytes; the overview of a node is far smaller.
MAX_REPLY = 16 * 2**20
LOCAL = ("localhost", "127.0.0.1", "::1")


class Unreached(enum.Enum):
    """Why there is no reply of a master."""

    REFUSED = enum.auto()  # its host is up, and nothing listens there
    UNKNOWN_HOST = enum.auto()
    NO_ANSWER = enum.auto()
    NO_MASTER = enum.auto()  # what answers is none, or there is no secret to sign with


class MasterUnreachedError(Exception):
    """There is no reply of a master.

    :param cause: for programs
    :param why: for people, without what was tried
    :param text: likewise, with it
    """

    def __init__(self, cause: Unreached, why: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause
        self.why = why


def exchange_messages(
    host: str, port: int, request: dict[str, str], timeout: float, secret: Path | None
) -> dict[str, Any]:
    """Send a request and return the reply.

    :param timeout: s for the whole exchange
    :param secret: file of the secret, in case the master requires a signature
    :raises OSError: no connection, or no reply in time
    :raises ValueError: not the reply of a DARC master, or there is no secret to sign with
    """
    deadline = time.monotonic() + timeout
    # The master recognises the dialect by the first key, however the line is split.
    line = json.dumps({"protocol": 1, **request}).encode() + b"\n"
    # Text would be encoded by idna, an import that most commands need not have.
    name: Any = host.encode() if host.isascii() else host
    with connect_tcp((name, port), timeout) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(line)  # the master may refuse it half-way, and reply why
        answer = _read_line(connection, deadline)
        challenge = answer.get("challenge")
        if challenge is not None:
            if secret is None:
                raise ValueError("no secret to sign the command with")
            connection.sendall(_signature(secret, challenge, line))
            answer = _read_line(connection, deadline)
    return answer


def _signature(secret: Path, challenge: str, line: bytes) -> bytes:
    # Only changes are signed; other commands do not need this import.
    from darc.node.secret import SecretError, read_secret, sign  # noqa: PLC0415

    try:
        signature = sign(read_secret(secret), challenge, line)
    except SecretError as error:
        raise ValueError(f"the command has to be signed, and cannot be: {error}") from error
    return json.dumps({"signature": signature}).encode() + b"\n"


def _read_line(connection: socket.socket, deadline: float) -> dict[str, Any]:
    data = b""
    while not data.endswith(b"\n"):
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        part = connection.recv(65536)
        if not part:
            break
        data += part
        if len(data) > MAX_REPLY:
            raise ValueError(f"an answer of more than {MAX_REPLY} bytes")
    if not data:
        raise ConnectionError("it closed the connection without an answer")
    try:
        answer = _parse_old_reply(data) if data.startswith(b"{'") else json.loads(data)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"not the answer of a DARC master: {data[:80]!r}") from error
    if not isinstance(answer, dict):
        raise ValueError(f"not the answer of a DARC master: {data[:80]!r}")
    return answer


def _parse_old_reply(data: bytes) -> object:
    """Parse the reply of an old master, which is always a Python literal."""
    from darc.runtime.python_literals import literal_value  # noqa: PLC0415 - for those alone

    return literal_value(data.decode())


def request_reply(
    timeout: float,
    service: str | None,
    command: str,
    payload: str | None = None,
    host: str = "localhost",
    port: int | None = None,
    content: str | None = None,
    *,
    values: bool = False,
) -> dict[str, Any]:
    """Send a command, and return the reply.

    :param timeout: s for the whole exchange
    :param port: None: of the node on this host
    :param content: the text of an observation's configuration; payload is its file name then
    :param values: for programs: attributes as values, and codes of errors
    :raises MasterUnreachedError: there is no reply of a master
    """
    optional = {"service": service, "payload": payload, "content": content}
    optional["form"] = VALUES if values else None
    request = {"command": command, "from": f"{os.environ.get('USER', '?')}@{socket.gethostname()}"}
    request |= {name: text for name, text in optional.items() if text}
    try:
        endpoint = _endpoint(elsewhere=host not in LOCAL or port is not None)
        # Path of a stopped node with the default run_dir.
        secret = Path(endpoint.secret) if endpoint else endpoint_file().with_name("secret")
        if endpoint and host in LOCAL and port is None:
            host = endpoint.host
        port = port or (endpoint.port if endpoint else DEFAULT_PORT)
        reply = exchange_messages(host, port, request, timeout, secret)
    except TimeoutError as error:
        why = f"no answer within {timeout:g} s"
        text = f"Failed to connect to DARC master: {why}"
        raise MasterUnreachedError(Unreached.NO_ANSWER, why, text) from error
    except OSError as error:
        text = f"Failed to connect to DARC master: {error}"
        raise MasterUnreachedError(_cause(error), error.strerror or str(error), text) from error
    except ValueError as error:
        text = f"Failed to talk to DARC master: {error}"
        raise MasterUnreachedError(Unreached.NO_MASTER, text, text) from error
    if set(reply) != {"status", "message"}:
        text = f"Failed to talk to DARC master: not a reply: {reply!r}"[:300]
        raise MasterUnreachedError(Unreached.NO_MASTER, text, text)
    return reply


def _or_reason(
    request: Callable[P, dict[str, Any]],
) -> Callable[P, tuple[dict[str, Any] | None, str]]:
    def ask(*args: P.args, **kwargs: P.kwargs) -> tuple[dict[str, Any] | None, str]:
        try:
            return request(*args, **kwargs), ""
        except MasterUnreachedError as error:
            return None, str(error)

    return ask


#: As `request_reply`, but with the reason beside None where there is no reply.
ask = _or_reason(request_reply)


def _cause(error: OSError) -> Unreached:
    if isinstance(error, ConnectionRefusedError):
        return Unreached.REFUSED
    return Unreached.UNKNOWN_HOST if isinstance(error, socket.gaierror) else Unreached.NO_ANSWER


def master_value(message: object) -> object | None:
    """Return the value in a master's reply to ``get_attr`` without a service; None: there is none.

    A node of a version before values answers in text, whatever is asked for.
    """
    if isinstance(message, dict):
        return message.get("value")
    name, equals, value = str(message).partition(" = ")
    return value if equals and name.startswith("DARCMaster.") else None


def ask_attribute(
    timeout: float, service: str, attribute: str, host: str = "localhost", port: int | None = None
) -> tuple[Any, str]:
    """Ask a service for an attribute: its value, or None and the reason."""
    reply, reason = ask(timeout, service, f"get_attr {attribute}", None, host, port, values=True)
    if reply is None:
        return None, reason
    message = reply["message"]
    answer = message.get(service, message) if isinstance(message, dict) else message
    if isinstance(answer, str):
        return _of_older_node(answer)
    if isinstance(answer, dict) and "value" in answer:
        return answer["value"], ""
    return None, str(answer.get("text", answer) if isinstance(answer, dict) else answer)[:200]


def _of_older_node(text: str) -> tuple[Any, str]:
    """A node of before typed values answers in text: ``{'CLASS.NAME': VALUE}``."""
    from darc.runtime.python_literals import literal_value  # noqa: PLC0415 - for those alone

    try:
        answer = literal_value(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None, text[:200]
    if not isinstance(answer, dict) or len(answer) != 1:
        return None, text[:200]
    return next(iter(answer.values())), ""


def _endpoint(elsewhere: bool) -> Endpoint | None:
    """Return the endpoint of this host's node; a copied file is ignored if `elsewhere`."""
    try:
        return read_endpoint()
    except CopiedError:
        if elsewhere:
            return None
        raise
