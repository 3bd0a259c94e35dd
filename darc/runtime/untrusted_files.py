"""Reading of files written or named by others: only regular files, without blocking, size-limited.

A pipe or device in place of a file would block a reader for ever, and a symbolic link would expose
files that only this user may read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

#: Largest size of a text written by hand: a source list, a mask, a beam table (bytes).
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
    """Not a regular file, or a link that must not be followed."""


def open_regular(path: Path, below: Path | None = None) -> BinaryIO:
    """Open a regular file for reading.

    :param below: directory above it that others can write to: below it, symbolic links are not
        followed, and private files with a second (hard) link are not opened
    :raises NotRegularError: a pipe, a device, a directory or such a link
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
            # Checked before it is opened, too: opening a device can have side effects.
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
    """Read a whole regular file; see :func:`open_regular`.

    :param limit: largest size, bytes
    :raises NotRegularError: not a regular file
    :raises OSError: it cannot be read, or is larger
    """
    with open_regular(path, below) as file:
        data = file.read(limit + 1) or b""  # None: a file in /proc that would block
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit} bytes", str(path))
    return data


def _not_regular(path: Path, what: os.stat_result) -> NotRegularError:
    kind = _KINDS.get(stat.S_IFMT(what.st_mode), "a private file with another name elsewhere")
    return NotRegularError(errno.EINVAL, f"{kind}, not a regular file of its own", str(path))
