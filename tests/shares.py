"""A file system that can hang, as a file server's share: a directory shown at another place."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

READY_SECONDS = 10.0
#: So that a hang concerns all that touches a file.
_WITHOUT_CACHE = "direct_io,attr_timeout=0,entry_timeout=0,negative_timeout=0"


def missing() -> str:
    """Why there can be no share on this machine; empty: there can."""
    if shutil.which("bindfs") is None or os.geteuid() != 0:
        return "a share that hangs needs bindfs (Debian: bindfs) and root"
    return "" if Path("/dev/fuse").exists() else "there is no /dev/fuse"


class Share:
    """A directory shown at a mount point, from the start until `stop`.

    Its server is bindfs; stopped with SIGSTOP, it does not answer: whoever touches a file waits.

    :param served: what is in it
    :param path: where it is mounted
    """

    def __init__(self, served: Path, path: Path) -> None:
        for directory in (served, path):
            directory.mkdir(exist_ok=True)
        self.path = path
        self._command = ["bindfs", "-f", "-o", _WITHOUT_CACHE, str(served), str(path)]
        self._server: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Mount it, and wait until it answers."""
        self._server = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + READY_SECONDS
        while not os.path.ismount(self.path):
            assert self._server.poll() is None, "the share's server has ended"
            assert time.monotonic() < deadline, "the share is not there"
            time.sleep(0.01)

    def hang(self) -> None:
        """Answer nobody any more."""
        if self._server:
            self._server.send_signal(signal.SIGSTOP)

    def answer(self) -> None:
        """Answer again, also who has asked meanwhile."""
        if self._server:
            self._server.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Take it down; who waits for it gets an error."""
        server, self._server = self._server, None
        if server is None:
            return
        subprocess.run(["umount", "--lazy", str(self.path)], check=False)
        server.kill()
        server.wait()
