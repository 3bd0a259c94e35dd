"""Warnings about a node that has started, but not with everything it should have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from darc.config.config import Config, Role
from darc.runtime.paths import DAMAGED


def set_aside(run_dir: Path) -> set[Path]:
    """Return the damaged journals that were kept for inspection."""
    return set(run_dir.glob(f"*{DAMAGED}*Z"))


def warnings_after_start(config: Config, before: set[Path]) -> Iterator[str]:
    """Yield warnings for the operator who has started a node.

    :param before: result of :func:`set_aside` before the start
    """
    run_dir = Path(config.master.run_dir)
    for path in sorted(set_aside(run_dir) - before):
        yield (
            f"the journal was damaged and was renamed to {path}: its queue entries are lost,"
            " and trigger files are read from their start again"
        )
    if room := _little_room(run_dir, config.master.reserve_bytes):
        yield room
    cluster = config.cluster
    if config.role is Role.STANDALONE and (cluster.master or cluster.workers):
        yield (
            f"{config.hostname} is neither master nor worker of the configured cluster"
            f" ({', '.join(config.cluster_hosts())}): it runs standalone; set DARC_HOSTNAME to give"
            " it another name"
        )


def _little_room(run_dir: Path, reserve: int) -> str:
    """Return a warning if the queues will refuse entries for lack of disk space; else empty."""
    disk = os.statvfs(run_dir)
    free = disk.f_bavail * disk.f_frsize
    if (run_dir / "journal.reserve").exists():
        free += reserve
    if free >= 2 * reserve:
        return ""
    return (
        f"{run_dir}: {free / 2**20:.0f} MiB are free, but the queues need {2 * reserve / 2**20:.0f}"
        " (twice darc_master.reserve_bytes) and refuse new entries until there are;"
        " free disk space, or set darc_master.run_dir to another disk"
    )
