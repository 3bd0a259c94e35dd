"""The small file by which a running node is found; read by every command, so no YAML.

It always lies at ``$DARC_HOME/run/<hostname>/endpoint.json``, wherever run_dir is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from darc.node.directory_identity import is_same_place, place_of
from darc.runtime.paths import PlaceError, darc_home, hostname, write_whole

DEFAULT_PORT = 51000


class EndpointError(ValueError):
    """The file is damaged, copied, or cannot be there; the text says which."""


class CopiedError(EndpointError):
    """The file was copied, with all of a home: it tells of another home's node."""


# Not a dataclass: importing that alone would cost every command a tenth of its time.
class Endpoint(NamedTuple):
    """Where a node is reached.

    :param place: of the file's directory; earlier versions made no note of it
    """

    host: str
    port: int
    run_dir: str
    node_id: str
    place: str = ""

    @property
    def secret(self) -> str:
        """Path of the secret's file."""
        return f"{self.run_dir}/secret"

    @property
    def queues(self) -> str:
        """Path of the queues' socket."""
        return f"{self.run_dir}/queues.sock"


def endpoint_file() -> Path:
    """Path of the file.

    :raises EndpointError: home or host name cannot be one
    """
    try:
        return darc_home() / "run" / hostname() / "endpoint.json"
    except PlaceError as error:
        raise EndpointError(str(error)) from error


def read_endpoint() -> Endpoint | None:
    """Where this host's node is reached; None when none was started.

    :raises CopiedError: the file is another home's, of which this one is a copy
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
            f"{path}: not an endpoint file: {error}; darc_start_master makes it anew"
        ) from error
    if copied:
        raise CopiedError(
            f"{path}: copied from another home, whose node {endpoint.node_id} it tells of;"
            " none was started in this one: darc_start_master starts it"
        )
    return endpoint


def write_endpoint(endpoint: Endpoint) -> None:
    """Leave the file, whole or not at all; one that says so already is left alone.

    :raises OSError: it cannot be written
    """
    path = endpoint_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(endpoint._replace(place=place_of(path.parent))._asdict()) + "\n"
    if not _says(path, text):
        write_whole(path, text)


def _says(path: Path, text: str) -> bool:
    try:
        return path.read_text() == text
    except (OSError, UnicodeDecodeError):
        return False


def reached_at(bind_address: str) -> str:
    """Where this host reaches what listens on an address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind_address, bind_address)


def remove_endpoint(node_id: str) -> None:
    """Remove the file of a node that has ended, but not that of another one."""
    try:
        endpoint = read_endpoint()
    except EndpointError:  # of no use to anybody
        endpoint = None
    if endpoint is None or endpoint.node_id == node_id:
        endpoint_file().unlink(missing_ok=True)
