"""A file system that can hang, as that of a server that is away."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from nodes import wait_for


class Share:
    """A directory that is served by a process which can be stopped; needs bindfs and root.

    :param served: what is in it
    :param path: where it is mounted
    """

    def __init__(self, served: Path, path: Path) -> None:
        if shutil.which("bindfs") is None or os.geteuid() != 0:
            pytest.skip("a share that hangs needs bindfs (Debian: bindfs) and root")
        for directory in (served, path):
            directory.mkdir(exist_ok=True)
        self.path = path
        command = ["bindfs", "-f", str(served), str(path)]
        self._server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_for(lambda: self._server.poll() is not None or os.path.ismount(path))
        if self._server.poll() is not None:
            pytest.skip("bindfs cannot mount here")

    def hang(self) -> None:
        self._server.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._server.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        self._server.kill()  # whoever waits for it gets an error
        self._server.wait()
        subprocess.run(["umount", "-l", str(self.path)], check=False)
