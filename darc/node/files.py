"""Where things are: packaged files, the node's home, and the host's name."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def packaged(name: str) -> Path:
    """Find a file or directory that comes with DARC.

    :param name: such as `conf/default.yaml` or `supervisor`
    :raises FileNotFoundError: there is none of that name
    """
    # Beside the modules in a wheel; beside the package in a checkout or editable install.
    places = (_PACKAGE / name, _PACKAGE.parent / name)
    for place in places:
        if place.exists():
            return place
    looked = " and ".join(str(place) for place in places)
    raise FileNotFoundError(f"{name} does not come with this DARC; looked for {looked}")


def darc_home() -> Path:
    """The node's home: $DARC_HOME, by default `darc` in the user's."""
    return Path(os.environ.get("DARC_HOME") or Path.home() / "darc").absolute()


def hostname() -> str:
    """The host's name without its domain, or what $DARC_HOSTNAME says."""
    return os.environ.get("DARC_HOSTNAME") or socket.gethostname().split(".")[0]
