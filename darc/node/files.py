"""Where things are: packaged files, the node's home, and the host's name."""

from __future__ import annotations

import contextlib
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


def write_whole(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Write a file so that whoever reads it finds it whole, or as it was before.

    What a process that is killed leaves behind is a hidden file `.NAME.….new`, which nobody reads.

    :param content: text is written as UTF-8, with the line ends that it has
    :param durable: once this returns, the file also outlives a loss of power
    :raises OSError: it could not be written; what was there is still there
    """
    data = content.encode() if isinstance(content, str) else content
    # A name that no other process has, on whichever host that shares the directory.
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.new")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):  # what it holds may be what the disk lacks
            temporary.unlink()
        raise
