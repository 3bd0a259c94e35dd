"""A disk of a node's own, whose power can be cut.

The node's file system (ext4 with its defaults) is on a loop device, whose file is the disk: what
the kernel has written to it is on the disk, and what still waits in its cache is not. The file lies
on another file system, the shelf. Freezing that holds up every write to the disk between two
requests, whoever makes it, and flushes nothing of the node's: so a copy that is taken meanwhile is
what the disk held at one moment. An fsync that had returned is in it, and one that had not is
held up until the node's processes have been killed: nobody acts on it. The disk has no cache of its
own that could lose what it has acknowledged.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

SIZE = 2**30
SHELF_SIZE = 2**31
TOOLS = ("mkfs.ext4", "mount", "umount", "fsfreeze", "losetup")


def missing() -> str:
    """Why there can be no such disk on this machine; empty: there can."""
    if os.geteuid() != 0:
        return "a disk whose power can be cut needs root"
    if absent := [tool for tool in TOOLS if shutil.which(tool, path=_PATH) is None]:
        return f"not installed: {', '.join(absent)}"
    if not Path("/dev/loop-control").exists():
        return "there are no loop devices"
    return ""


class Disk:
    """An ext4 file system, mounted over an empty directory from the start until `close`."""

    def __init__(self, mount_point: Path) -> None:
        self._mount_point = mount_point
        # In memory, where there is room: a flush of the disk is none of this machine's.
        memory = Path("/dev/shm")
        roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2 * SHELF_SIZE
        self._directory = Path(tempfile.mkdtemp(prefix="darc-disk-", dir=memory if roomy else None))
        self._shelf = self._directory / "shelf"
        self._image = self._shelf / "disk"
        self._copy = self._directory / "copy"
        try:
            self._shelf.mkdir()
            _make(self._directory / "shelf.ext4", SHELF_SIZE)
            _mount(self._directory / "shelf.ext4", self._shelf)
            _make(self._image, SIZE)
            _mount(self._image, self._mount_point)
        except BaseException:
            self.close()
            raise

    def flush(self) -> None:
        """Have all on the disk that there is, as after a quiet minute."""
        descriptor = os.open(self._mount_point, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            _run("sync", "--file-system", str(self._mount_point))
        finally:
            os.close(descriptor)

    def cut(self, kill: Callable[[], object]) -> None:
        """Keep what is on the disk at this moment, and no more, while all goes on.

        :param kill: sends SIGKILL to all who use it
        """
        _run("fsfreeze", "--freeze", str(self._shelf))
        try:
            _run("cp", "--sparse=always", str(self._image), str(self._copy))
            kill()
        finally:
            _run("fsfreeze", "--unfreeze", str(self._shelf))

    def power_up(self) -> None:
        """Mount what was kept: ext4 replays its journal. Nobody may use the old one any more."""
        _run("umount", "--lazy", str(self._mount_point))
        self._image.unlink()  # the last one to close it frees it
        _run("cp", "--sparse=always", str(self._copy), str(self._image))
        self._copy.unlink()
        _mount(self._image, self._mount_point)

    def close(self) -> None:
        """Take everything down; what is on the disk is gone."""
        for mounted in (self._mount_point, self._shelf):
            if os.path.ismount(mounted):
                _run("umount", "--lazy", str(mounted))
        shutil.rmtree(self._directory)


#: Some users' does not have these.
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _run(*command: str) -> None:
    program = shutil.which(command[0], path=_PATH)
    assert program, command
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr or done.stdout}")


def _make(image: Path, size: int) -> None:
    with image.open("xb") as file:
        file.truncate(size)
    _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))


def _mount(image: Path, directory: Path) -> None:
    """On a loop device, which is freed with the mount."""
    _run("mount", "-o", "loop,discard", str(image), str(directory))
