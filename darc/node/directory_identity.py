"""Where a directory is, so that a file in it can say whether it was copied along with it."""

from __future__ import annotations

import os
from pathlib import Path


def this_machine() -> str:
    """Boot id of the kernel; another one is another machine, or this one before it was rebooted."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def place_of(directory: Path) -> str:
    """Machine, device, inode and path of a directory."""
    status = directory.stat()
    path = os.path.realpath(directory)
    return "/".join([this_machine(), str(status.st_dev), str(status.st_ino) + path])


def is_same_place(place: str, directory: Path) -> bool:
    """Whether a directory is the one that :func:`place_of` was asked about.

    It may have been moved, or be seen from another machine or from a container.

    :raises ValueError: not what place_of returns
    """
    machine, device, inode, path = place.split("/", 3)
    here, device_here, inode_here, path_here = place_of(directory).split("/", 3)
    if machine != here:  # where devices have other numbers
        return inode == inode_here
    # Two of three: it may have been moved; a file system may be mounted anew, or give a directory
    # another inode each time.
    return (device == device_here) + (inode == inode_here) + (path == path_here) >= 2
