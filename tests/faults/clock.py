"""A node's time of day, which can be set without anybody else's."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_SOURCE = Path(__file__).with_name("stepped_clock.c")


def missing() -> str:
    """Why no clock can be set on this machine; empty: one can."""
    if not sys.platform.startswith("linux"):
        return "a node's clock is only set on Linux"
    return "" if shutil.which("cc") else "no C compiler (cc), which a node's clock needs"


class Clock:
    """For processes that have `environment` in theirs."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="darc-clock-"))
        self._file = self._directory / "step"
        self.step(0.0)
        library = self._directory / "stepped_clock.so"
        command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, _SOURCE]
        subprocess.run(command, check=True)
        self.environment = {"LD_PRELOAD": str(library), "STEPPED_CLOCK": str(self._file)}

    def step(self, seconds: float) -> None:
        """Set it so many seconds ahead of this machine's, or behind it."""
        data = round(seconds * 1e9).to_bytes(8, sys.byteorder, signed=True)
        # In place, as it is mapped; eight bytes at once.
        with self._file.open("r+b" if self._file.exists() else "wb", buffering=0) as file:
            file.write(data)

    def close(self) -> None:
        shutil.rmtree(self._directory)
