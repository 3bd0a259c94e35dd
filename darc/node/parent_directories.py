"""Check that other users cannot replace run_dir through a directory above it."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from darc.node.node_identity import NodeError

# Limit of the kernel.
_MAX_LINKS = 40
_EVERY_ID = 2**32 - 1


def check_above(run_dir: Path) -> None:
    """Check that nobody else can rename a directory above run_dir, and so replace the secret.

    Each existing directory must belong to root or the user, and be writable by nobody else, unless
    its sticky bit protects the entries, as in /tmp.

    :raises NodeError: a directory is unsafe; the message says what to do
    """
    for way in _ways(run_dir.absolute()):
        _check(way, run_dir, way.lstat())


def _ways(path: Path) -> Iterator[Path]:
    """Yield every existing directory and link through which the kernel resolves a path.

    :raises NodeError: the links form a loop
    """
    left = list(path.parts[1:])
    here = Path("/")
    n_links = 0
    while left:
        yield here
        name = left.pop(0)
        if name == "..":
            here = here.parent
            continue
        entry = here / name
        if entry.is_symlink():
            yield entry
            n_links += 1
            if n_links > _MAX_LINKS:
                raise NodeError(f"{path}: {entry} is a link that leads to itself")
            target = entry.readlink()
            if target.is_absolute():
                here = Path("/")
            left = [*(part for part in target.parts if part != "/"), *left]
        elif entry.is_dir():
            here = entry
        else:
            return  # a start creates it, or reports why it cannot


def _check(directory: Path, run_dir: Path, status: os.stat_result) -> None:
    other_place = "set darc_master.run_dir to a directory below those of root and your own only"
    if status.st_uid not in _trusted():
        raise NodeError(
            f"{run_dir}: {directory} above it belongs to {_user_name(status.st_uid)}, who could"
            f" replace the node's secret; {other_place}"
        )
    if stat.S_ISLNK(status.st_mode) or status.st_mode & stat.S_ISVTX:
        return
    group = status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid)
    if group or status.st_mode & stat.S_IWOTH:
        who = f"the group {_group_name(status.st_gid)}" if group else "everybody"
        own = status.st_uid == os.getuid()
        close = f"close it with: chmod go-w '{directory}'; or " if own else ""
        raise NodeError(
            f"{run_dir}: {directory} above it can be written by {who}, who could replace the"
            f" node's secret; {close}{other_place}"
        )


def _trusted() -> set[int]:
    trusted = {0, os.getuid()}
    if not _maps_every_user():
        # In a namespace that maps only some users, root's directories belong to nobody.
        trusted.add(int(Path("/proc/sys/kernel/overflowuid").read_text()))
    return trusted


def _maps_every_user() -> bool:
    counts = [int(line.split()[2]) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return sum(counts) >= _EVERY_ID


def _is_own_group(gid: int) -> bool:
    """Whether a group is root's, or has only the user as member, as on many systems."""
    if gid == 0:
        return True
    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
