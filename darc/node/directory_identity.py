"""Identity of a directory, by which a file in it can detect that it was copied."""

from __future__ import annotations

import os
from pathlib import Path

from darc.runtime.paths import this_boot


def place_of(directory: Path) -> str:
    """Return machine, device, inode and path of a directory."""
    status = directory.stat()
    path = os.path.realpath(directory)
    return "/".join([this_boot(), str(status.st_dev), str(status.st_ino) + path])


def is_same_place(place: str, directory: Path) -> bool:
    """Whether `place` was returned by :func:`place_of` for the same directory.

    The directory may have been moved, or be seen from another machine or from a container.

    :raises ValueError: `place` is not a value of place_of
    """
    machine, device, inode, path = place.split("/", 3)
    here, device_here, inode_here, path_here = place_of(directory).split("/", 3)
    if machine != here:  # other machines number devices differently
        return inode == inode_here
    # Two of three: it may have been moved, or mounted again, or lack stable inode numbers.
    return (device == device_here) + (inode == inode_here) + (path == path_here) >= 2
