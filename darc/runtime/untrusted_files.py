"""Files that others wrote or named: regular ones alone, opened without waiting, of limited size.

A pipe or device in the place of a file would hold a reader for ever, and a symbolic link would show
what only this user may read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

#: Of a text that people write: a list of sources, a mask, a table of beams (bytes).
MAX_TEXT = 16 * 2**20

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
}


class NotRegularError(OSError):
    """What is there is no regular file, or not to be followed."""


def open_regular(path: Path, below: Path | None = None) -> BinaryIO:
    """Open a regular file for reading.

    :param below: a directory that holds it and that others write to: no symbolic link in it is
        followed, and no private file that has another name as well is opened
    :raises NotRegularError: it is a pipe, a device, a directory or such a link
    :raises OSError: it cannot be opened
    """
    with contextlib.ExitStack() as stack:
        place: int | None = None
        flags, parts = _FLAGS, [str(path)]
        if below is not None:
            flags, parts = _FLAGS | os.O_NOFOLLOW, [str(below), *path.relative_to(below).parts]
        for number, part in enumerate(parts):
            follows = below is None or number == 0
            what = os.stat(part, dir_fd=place, follow_symlinks=follows)
            is_last = number == len(parts) - 1
            # Looked at before it is opened, too: opening alone can do something to a device.
            if not (stat.S_ISREG if is_last else stat.S_ISDIR)(what.st_mode):
                raise _not_regular(path, what)
            way = _FLAGS if follows else flags
            try:
                opened = os.open(part, way | (0 if is_last else os.O_DIRECTORY), dir_fd=place)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from error
            if is_last:
                break
            place = opened
            stack.callback(os.close, place)
    what = os.fstat(opened)
    is_shown_elsewhere = what.st_nlink > 1 and not what.st_mode & stat.S_IROTH
    if not stat.S_ISREG(what.st_mode) or (below is not None and is_shown_elsewhere):
        os.close(opened)
        raise _not_regular(path, what)
    return os.fdopen(opened, "rb")


def read_regular(path: Path, limit: int, below: Path | None = None) -> bytes:
    """Read a regular file as a whole; see :func:`open_regular`.

    :param limit: bytes
    :raises NotRegularError: it is none
    :raises OSError: it cannot be read, or is larger
    """
    with open_regular(path, below) as file:
        data = file.read(limit + 1) or b""  # None: one in /proc that would have us wait
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit} bytes", str(path))
    return data


def _not_regular(path: Path, what: os.stat_result) -> NotRegularError:
    kind = _KINDS.get(stat.S_IFMT(what.st_mode), "a private file with another name elsewhere")
    return NotRegularError(errno.EINVAL, f"{kind}, not a regular file of its own", str(path))
