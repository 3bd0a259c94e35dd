"""Tasks that behave badly, which a pool's processes can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from msgspec import Struct


class Made(Struct, frozen=True):
    """Notes in a directory that it has begun, and does as told.

    :param what: "return", "raise", "die", "die once", "sleep", or "lie" on the way back
    """

    directory: Path
    what: str = "return"
    number: int = 0
    observation: str = "obs1"

    def run(self) -> int:
        times = self.times()
        (self.directory / f"{self.number}.{times}.{os.getpid()}").touch()
        if self.what == "raise":
            raise ArithmeticError("on purpose")
        if self.what == "die" or (self.what == "die once" and times == 0):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.what == "sleep" or (self.what == "sleep once" and times == 0):
            time.sleep(600)
        return self.number

    def to_plain(self, result: object) -> object:
        """What a Dask worker sends back."""
        return {"what": "not a number"} if self.what == "lie" else result

    def from_plain(self, plain: object) -> int:
        if not isinstance(plain, int):
            raise ValueError(f"{plain!r} is no number")
        return plain

    def times(self) -> int:
        """How often it has begun."""
        return len(list(self.directory.glob(f"{self.number}.*")))

    def pids(self) -> list[int]:
        """The processes in which it has begun."""
        return [int(path.name.split(".")[2]) for path in self.directory.glob(f"{self.number}.*")]
