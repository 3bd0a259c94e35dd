"""What a start says beside that it has succeeded: a node comes up with less than it should have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from darc.config.config import Config, Role
from darc.runtime.paths import DAMAGED


def set_aside(run_dir: Path) -> set[Path]:
    """Journals that were damaged, and are kept for who wants to look."""
    return set(run_dir.glob(f"*{DAMAGED}*Z"))


def notes_of_start(config: Config, before: set[Path]) -> Iterator[str]:
    """What who starts a node has to know.

    :param before: what :func:`set_aside` gave before the start
    """
    run_dir = Path(config.master.run_dir)
    for path in sorted(set_aside(run_dir) - before):
        yield (
            f"the journal was damaged and is set aside as {path}: what waited in it is lost,"
            " and trigger files are read from their start again"
        )
    if room := _little_room(run_dir, config.master.reserve_bytes):
        yield room
    cluster = config.cluster
    if config.role is Role.STANDALONE and (cluster.master or cluster.workers):
        yield (
            f"{config.hostname} is neither master nor worker of the cluster that is configured"
            f" ({', '.join(config.cluster_hosts())}): it runs alone; DARC_HOSTNAME gives it another"
            " name"
        )


def _little_room(run_dir: Path, reserve: int) -> str:
    """Whether the queues will take nothing in for lack of room on the disk."""
    disk = os.statvfs(run_dir)
    free = disk.f_bavail * disk.f_frsize
    if (run_dir / "journal.reserve").exists():
        free += reserve
    if free >= 2 * reserve:
        return ""
    return (
        f"{run_dir}: {free / 2**20:.0f} MiB are free, of which {2 * reserve / 2**20:.0f} are needed"
        " for the queues (twice darc_master.reserve_bytes): nothing is taken in until there are;"
        " make room, or set darc_master.run_dir to another disk"
    )
