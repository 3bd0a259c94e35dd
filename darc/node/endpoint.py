"""The small file by which a running node is found; read by every command, so no YAML.

It always lies at ``$DARC_HOME/run/<hostname>/endpoint.json``, wherever run_dir is.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from darc.node.files import darc_home, hostname

DEFAULT_PORT = 51000


class EndpointError(ValueError):
    """The file is damaged; the text names it."""


# Not a dataclass: importing that alone would cost every command a tenth of its time.
class Endpoint(NamedTuple):
    """Where a node is reached."""

    host: str
    port: int
    run_dir: str
    node_id: str

    @property
    def secret(self) -> str:
        """Path of the secret's file."""
        return f"{self.run_dir}/secret"

    @property
    def queues(self) -> str:
        """Path of the queues' socket."""
        return f"{self.run_dir}/queues.sock"


def endpoint_file() -> Path:
    return darc_home() / "run" / hostname() / "endpoint.json"


def read_endpoint() -> Endpoint | None:
    """Where this host's node is reached; None when none was started.

    :raises EndpointError: the file is damaged
    """
    path = endpoint_file()
    try:
        endpoint = Endpoint(**json.loads(path.read_text()))
        texts = (endpoint.host, endpoint.run_dir, endpoint.node_id)
        if not (isinstance(endpoint.port, int) and all(isinstance(text, str) for text in texts)):
            raise ValueError("a value of the wrong type")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError) as error:
        raise EndpointError(
            f"{path}: not an endpoint file: {error}; darc_start_master makes it anew"
        ) from error
    return endpoint


def write_endpoint(endpoint: Endpoint) -> None:
    """Leave the file, whole or not at all."""
    path = endpoint_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(endpoint._asdict()) + "\n")
    temporary.replace(path)


def reached_at(bind_address: str) -> str:
    """Where this host reaches what listens on an address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind_address, bind_address)


def remove_endpoint() -> None:
    endpoint_file().unlink(missing_ok=True)
