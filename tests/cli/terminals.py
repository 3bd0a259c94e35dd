"""A terminal for a program: what it draws, and what is typed."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nodes import patience

PATIENCE = patience(40.0)
#: What a terminal is told at the beginning and the end of a screen of its own.
ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"


class Terminal:
    """A program on a terminal of its own."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], width: int, height: int
    ) -> None:
        self._ours, self._theirs = pty.openpty()
        self.said = b""
        self.resize(width, height)
        self.before = self.modes()
        self.process = subprocess.Popen(
            list(command),
            env={**environment, "TERM": "xterm-256color", "COLUMNS": "", "LINES": ""},
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            cwd="/",
            preexec_fn=self._take,  # noqa: PLW1509 - this process has no other threads
        )

    def _take(self) -> None:
        """So that Ctrl-C on the terminal is for the program."""
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def modes(self) -> list[Any]:
        return termios.tcgetattr(self._theirs)

    def resize(self, width: int, height: int) -> None:
        size = struct.pack("HHHH", height, width, 0, 0)
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, size)

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def read(self, seconds: float = 0.05) -> None:
        while select.select([self._ours], [], [], seconds)[0]:
            self.said += os.read(self._ours, 65536)

    def wait_for(self, condition: Callable[[], Any], what: str = "") -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"not seen: {what}: {self.said[-3000:]!r}"
            self.read()

    def wait_for_text(self, text: str) -> None:
        self.wait_for(lambda: text.encode() in self.said, text)

    def end(self) -> int:
        """Wait for the program's end: its exit status."""
        self.wait_for(lambda: self.process.poll() is not None, "the end")
        self.read()
        return int(self.process.returncode)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)
