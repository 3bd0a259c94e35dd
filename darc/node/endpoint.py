"""The endpoint file, by which commands find a running node; JSON, as it is fast to read.

Its path is always ``$DARC_HOME/run/<hostname>/endpoint.json``, wherever run_dir is.
"""

from __future__ import annotations

import json
from collections import namedtuple
from pathlib import Path

from darc.node.directory_identity import is_same_place, place_of
from darc.runtime.paths import PlaceError, darc_home, hostname, write_whole

DEFAULT_PORT = 51000


class EndpointError(ValueError):
    """The endpoint file is damaged, copied or impossible; the message says which."""


class CopiedError(EndpointError):
    """The endpoint file was copied with a home, and describes the node of the other home."""


# Neither a Struct nor a NamedTuple, whose imports cost every command a tenth of its time.
class Endpoint(namedtuple("Endpoint", "host port run_dir node_id place", defaults=("",))):
    """Address of a node.

    :param place: identity of the file's directory; empty from earlier versions
    """

    __slots__ = ()
    host: str
    port: int
    run_dir: str
    node_id: str
    place: str

    @property
    def secret(self) -> str:
        """Path of the secret's file."""
        return f"{self.run_dir}/secret"

    @property
    def queues(self) -> str:
        """Path of the queues' socket."""
        return f"{self.run_dir}/queues.sock"


def endpoint_file() -> Path:
    """Return the path of the endpoint file.

    :raises EndpointError: home or host name is invalid
    """
    try:
        return darc_home() / "run" / hostname() / "endpoint.json"
    except PlaceError as error:
        raise EndpointError(str(error)) from error


def read_endpoint() -> Endpoint | None:
    """Return the address of this host's node; None if none was started.

    :raises CopiedError: the file was copied from another home
    :raises EndpointError: the file is damaged
    """
    path = endpoint_file()
    try:
        endpoint = Endpoint(**json.loads(path.read_text()))
        texts = (endpoint.host, endpoint.run_dir, endpoint.node_id, endpoint.place)
        if not (isinstance(endpoint.port, int) and all(isinstance(text, str) for text in texts)):
            raise ValueError("a value of the wrong type")
        copied = endpoint.place and not is_same_place(endpoint.place, path.parent)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError) as error:
        raise EndpointError(
            f"{path}: not an endpoint file: {error}; darc_start_master writes it again"
        ) from error
    if copied:
        raise CopiedError(
            f"{path}: copied from another home, and describes its node {endpoint.node_id};"
            " none was started in this one: darc_start_master starts it"
        )
    return endpoint


def write_endpoint(endpoint: Endpoint) -> None:
    """Write the endpoint file, atomically, unless it is up to date.

    :raises OSError: it cannot be written
    """
    path = endpoint_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(endpoint._replace(place=place_of(path.parent))._asdict()) + "\n"
    if not _has_content(path, text):
        write_whole(path, text)


def _has_content(path: Path, text: str) -> bool:
    try:
        return path.read_text() == text
    except (OSError, UnicodeDecodeError):
        return False


def reached_at(bind_address: str) -> str:
    """Return the address by which this host reaches a listener on `bind_address`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind_address, bind_address)


def remove_endpoint(node_id: str) -> None:
    """Remove the endpoint file of a stopped node, but not that of another node."""
    try:
        endpoint = read_endpoint()
    except EndpointError:  # a damaged file is removed, too
        endpoint = None
    if endpoint is None or endpoint.node_id == node_id:
        endpoint_file().unlink(missing_ok=True)
