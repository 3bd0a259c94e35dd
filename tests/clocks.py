"""A time of day of their own for the processes of a node: a preloaded library adds an offset.

Elapsed times are those of the kernel, as on a machine whose clock is set. (libfaketime does the
same, but Python cannot sleep with the version that distributions have.)
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_name("stepped_clock.c")


def missing() -> str:
    """Why no clock can be set on this machine; empty: one can."""
    return "" if shutil.which("cc") else "no C compiler (cc), which a node's clock needs"


class SetClock:
    """The clock of all processes that have its environment.

    :param directory: for its files
    """

    def __init__(self, directory: Path) -> None:
        if missing():
            pytest.skip(missing())
        self._path = directory / "clock"
        self.set(0.0)
        library = directory / "stepped_clock.so"
        command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, _SOURCE]
        subprocess.run(command, check=True, timeout=60)
        self.environment = {"LD_PRELOAD": str(library), "STEPPED_CLOCK": str(self._path)}

    def set(self, ahead: float) -> None:
        """Have it so many seconds ahead of the machine's."""
        data = round(ahead * 1e9).to_bytes(8, sys.byteorder, signed=True)
        # In place, as it is mapped; eight bytes at once.
        with self._path.open("r+b" if self._path.exists() else "wb", buffering=0) as file:
            file.write(data)
