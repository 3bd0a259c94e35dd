"""Paths and names: packaged files, the node's home, host and boot; and atomic writing of files."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from pathlib import Path

#: Part of the name of a damaged file that is kept for inspection.
DAMAGED = ".damaged-"
_PACKAGE = Path(__file__).resolve().parent.parent
_MAX_HOSTNAME = 64  # characters


class PlaceError(ValueError):
    """Home or host name cannot be used; the message says why."""


def packaged(name: str) -> Path:
    """Return the path of a packaged file or directory.

    :param name: such as `conf/default.yaml` or `supervisor`
    :raises FileNotFoundError: there is none of this name
    """
    # Beside the modules in a wheel; beside the package in a checkout or editable install.
    places = (_PACKAGE / name, _PACKAGE.parent / name)
    for place in places:
        if place.exists():
            return place
    looked = " and ".join(str(place) for place in places)
    raise FileNotFoundError(f"{name} is not part of this DARC installation; looked for {looked}")


def configured_file(name: str | Path) -> Path:
    """Return the path of a file that the configuration names; a relative one is packaged in conf.

    :raises FileNotFoundError: there is none of this name in conf
    """
    path = Path(name)
    return path if path.is_absolute() else packaged(f"conf/{path}")


def darc_home() -> Path:
    """Return the node's home: $DARC_HOME, by default `darc` in the user's home.

    A `~` that no shell has expanded (in quotes, in a crontab) is the user's home.

    :raises PlaceError: it is unknown, or contains control characters or invalid text
    """
    given = os.environ.get("DARC_HOME")
    if given and given.startswith("~"):
        try:
            given = str(Path(given).expanduser())
        except RuntimeError as error:
            raise PlaceError(f"DARC_HOME {given!r}: {error}; set it to an absolute path") from error
    users = None if given else users_home()
    if not given and users is None:
        raise PlaceError(
            f"HOME is not set and user {os.getuid()} has no home directory: set DARC_HOME"
        )
    home = Path(given or f"{users}/darc").absolute()
    if not str(home).isprintable():
        raise PlaceError(
            f"DARC_HOME {str(home)!r} contains a line break or another character that cannot be"
            " printed; set it to another path"
        )
    return home


def broken_link(path: Path) -> str | None:
    """Return a message about a dangling link in a path (to an unmounted disk, say), or None."""
    for place in (path, *path.parents):
        if place.is_symlink() and not place.exists():
            return f"{place} is a link to {place.readlink()}, which does not exist"
    return None


def users_home() -> str | None:
    """Return the user's home directory; None if unknown, as in some containers."""
    try:
        return str(Path.home())
    except RuntimeError:
        return None


def hostname() -> str:
    """Return $DARC_HOSTNAME, or the host name without its domain.

    :raises PlaceError: not a valid host name
    """
    given = os.environ.get("DARC_HOSTNAME")
    name = given or socket.gethostname().split(".")[0]
    # It becomes part of paths, of supervisord's configuration and of addresses.
    valid = all(character.isalnum() or character in "_-." for character in name)
    if not valid or name[:1] in ("", "-", ".") or len(name) > _MAX_HOSTNAME:
        raise PlaceError(
            f"{'DARC_HOSTNAME' if given else 'host name'} {name!r} is invalid: only letters,"
            " digits, '_', '-' and '.' are allowed, 64 at most, and no '-' or '.' at the beginning;"
            " set DARC_HOSTNAME to such a name"
        )
    return name


@functools.cache
def this_boot() -> str:
    """Return the kernel's boot id, which differs between machines and after each boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def write_whole(
    path: Path, content: str | bytes, *, durable: bool = True, mode: int = 0o666
) -> None:
    """Write a file atomically: readers see the old content or the new one.

    A killed process may leave a hidden file `.NAME.….new`, which nobody reads.

    :param content: text is written as UTF-8, with its line ends unchanged
    :param durable: on return, the file is safe against a loss of power; not needed if it can be
        created again
    :param mode: permissions of the file, reduced by the umask
    :raises OSError: it could not be written; names the file, whose old content is unchanged
    """
    _write(path, content, mode, durable, exclusive=False)


def write_new(path: Path, content: str | bytes, *, mode: int = 0o666) -> bool:
    """Write a file atomically and durably unless it exists; return whether it was written.

    :raises OSError: it could not be written; names the file
    """
    try:
        _write(path, content, mode, durable=True, exclusive=True)
    except FileExistsError:
        return False
    return True


def _write(path: Path, content: str | bytes, mode: int, durable: bool, *, exclusive: bool) -> None:
    data = content.encode() if isinstance(content, str) else content
    # A name that is unique among all processes, on all hosts that share the directory.
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
        with contextlib.suppress(OSError):  # free its space, as the disk may be full
            temporary.unlink()
        raise type(error)(error.errno, error.strerror, str(path)) from error


def link_whole(source: Path, path: Path, inode: tuple[int, int]) -> bool:
    """Make a hard link in place of a file, atomically; return False if it would be another file.

    :param inode: device and inode that the source is to have
    :raises OSError: it could not be linked, as on another file system
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.new")
    try:
        os.link(source, temporary, follow_symlinks=False)
        made = temporary.lstat()
        is_wanted = (made.st_dev, made.st_ino) == inode
        if is_wanted:
            temporary.replace(path)
    finally:
        # also where both were the same file already, which a rename leaves as they are
        temporary.unlink(missing_ok=True)
    return is_wanted


def sync_directory(directory: Path) -> None:
    """Sync a directory, so that a new name in it is safe against a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
