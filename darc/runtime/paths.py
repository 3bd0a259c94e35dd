"""Where things are: packaged files, the node's home, and the host's name."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from pathlib import Path

#: In the name of a file that was damaged and is kept for who wants to look.
DAMAGED = ".damaged-"
_PACKAGE = Path(__file__).resolve().parent.parent
# It becomes part of paths, of supervisord's configuration and of addresses.
_HOSTNAME = re.compile(r"\w[\w.-]{0,63}")


class PlaceError(ValueError):
    """Where the node is to be cannot be used as a path or name; the text says why."""


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
    """The node's home: $DARC_HOME, by default `darc` in the user's.

    A `~` is the user's home where no shell has made it that: in quotes, in a crontab.

    :raises PlaceError: nobody knows it; or there are control characters in it, or bytes that are no
        text
    """
    given = os.environ.get("DARC_HOME")
    if given and given.startswith("~"):
        try:
            given = str(Path(given).expanduser())
        except RuntimeError as error:
            raise PlaceError(f"DARC_HOME {given!r}: {error}; set it to a whole path") from error
    users = None if given else users_home()
    if not given and users is None:
        raise PlaceError(
            f"HOME is not set and user {os.getuid()} has no home directory: set DARC_HOME"
        )
    home = Path(given or f"{users}/darc").absolute()
    if not str(home).isprintable():
        raise PlaceError(
            f"DARC_HOME {str(home)!r} holds a line break or another character that cannot be"
            " printed; set it to another path"
        )
    return home


def broken_link(path: Path) -> str | None:
    """Which link on the way to a path leads nowhere, as to a disk that is not mounted."""
    for place in (path, *path.parents):
        if place.is_symlink() and not place.exists():
            return f"{place} is a link to {place.readlink()}, which is not there"
    return None


def users_home() -> str | None:
    """The user's home directory; None: nobody knows it, as in a container."""
    try:
        return str(Path.home())
    except RuntimeError:
        return None


def hostname() -> str:
    """The host's name without its domain, or what $DARC_HOSTNAME says.

    :raises PlaceError: it is no name of a host
    """
    given = os.environ.get("DARC_HOSTNAME")
    name = given or socket.gethostname().split(".")[0]
    if not _HOSTNAME.fullmatch(name):
        raise PlaceError(
            f"{'DARC_HOSTNAME' if given else 'host name'} {name!r} is invalid: only letters,"
            " digits, '_', '-' and '.' are allowed, 64 at most, and no '-' or '.' at the beginning;"
            " set DARC_HOSTNAME to such a name"
        )
    return name


def write_whole(
    path: Path, content: str | bytes, *, durable: bool = True, mode: int = 0o666
) -> None:
    """Write a file so that whoever reads it finds it whole, or as it was before.

    What a process that is killed leaves behind is a hidden file `.NAME.….new`, which nobody reads.

    :param content: text is written as UTF-8, with the line ends that it has
    :param durable: once this returns, the file also outlives a loss of power; not needed where it
        can be made again
    :param mode: of the file, less what the umask takes away
    :raises OSError: it could not be written, and names the file; what was there is still there
    """
    _write(path, content, mode, durable, exclusive=False)


def write_new(path: Path, content: str | bytes, *, mode: int = 0o666) -> bool:
    """Write a file, whole and durable, unless there is one; whether it was written.

    :raises OSError: it could not be written, and names the file
    """
    try:
        _write(path, content, mode, durable=True, exclusive=True)
    except FileExistsError:
        return False
    return True


def _write(path: Path, content: str | bytes, mode: int, durable: bool, *, exclusive: bool) -> None:
    data = content.encode() if isinstance(content, str) else content
    # A name that no other process has, on whichever host that shares the directory.
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if exclusive:
            os.link(temporary, path)
            temporary.unlink()
        else:
            temporary.replace(path)
        if durable:
            sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):  # what it holds may be what the disk lacks
            temporary.unlink()
        raise type(error)(error.errno, error.strerror, str(path)) from error


def sync_directory(directory: Path) -> None:
    """Without it, a loss of power may take the new name away."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
