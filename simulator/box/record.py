"""Records of boxes, by which the remains of killed ones can be removed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from darc.config.records import Struct, to_builtins
from darc.runtime.paths import this_boot
from simulator.box.namespaces import BoxError

#: Here is one file per box, named after it; systems have it in memory.
RECORDS = Path("/run")
_END_SECONDS = 10.0
_LOOK_SECONDS = 0.01


class Process(Struct, frozen=True):
    """A process, identified even if its PID is reused.

    :param started: in clock ticks since the kernel's start
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """Return the process with a PID.

        :raises BoxError: there is none
        """
        started = _started(pid)
        if started is None:
            raise BoxError(f"process {pid} has ended")
        return cls(pid, started)

    def lives(self) -> bool:
        return _started(self.pid) == self.started


class Record(Struct, frozen=True):
    """Record of a box.

    :param name: starts with `box-`
    :param machine: boot id of the kernel
    :param program: process that created it, and removes it
    :param keepers: keepers of its namespaces
    :param remove: files and directories to remove with it
    """

    name: str
    machine: str
    program: Process
    keepers: tuple[Process, ...]
    remove: tuple[str, ...]

    def write(self) -> None:
        """Write the record atomically."""
        temporary = RECORDS / f".darc-{self.name}.new"
        temporary.write_text(json.dumps(to_builtins(self)) + "\n")
        temporary.replace(self.path)

    @property
    def path(self) -> Path:
        return RECORDS / f"darc-{self.name}.json"

    def forget(self) -> None:
        """Remove the files of the box, and the record."""
        for path in self.remove:
            shutil.rmtree(path, ignore_errors=True)
        left = [path for path in self.remove if Path(path).exists()]
        if left:
            raise BoxError(f"cannot be removed: {', '.join(left)}")
        self.path.unlink(missing_ok=True)


def read_record(path: Path) -> Record:
    """Read a record.

    :raises BoxError: it is damaged
    """
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        data["program"] = Process(**data["program"])
        data["keepers"] = tuple(Process(**keeper) for keeper in data["keepers"])
        data["remove"] = tuple(map(str, data["remove"]))
        return Record(**data)
    except (ValueError, TypeError, KeyError) as error:
        raise BoxError(f"{path}: not the record of a box: {error}") from error


def clean(say: Callable[[str], None]) -> bool:
    """Remove the remains of boxes whose program has exited; return whether all were removed."""
    whole = True
    for path in sorted(RECORDS.glob("darc-box-*.json")):
        try:
            record = read_record(path)
            here = record.machine == this_boot()
            if here and record.program.lives():
                say(f"{record.name}: in use by process {record.program.pid}; left alone")
                continue
            if here:
                _end(record.keepers)
            record.forget()
            say(f"{record.name}: removed")
        except FileNotFoundError:
            continue  # another one was quicker
        except BoxError as error:
            say(str(error))
            whole = False
    return whole


def _end(keepers: tuple[Process, ...]) -> None:
    """Kill keepers, and with them every process in their namespaces."""
    for keeper in keepers:
        if keeper.lives():
            os.kill(keeper.pid, signal.SIGKILL)
    deadline = time.monotonic() + _END_SECONDS
    while any(keeper.lives() for keeper in keepers):
        if time.monotonic() > deadline:
            left = [keeper.pid for keeper in keepers if keeper.lives()]
            raise BoxError(f"not ended {_END_SECONDS:.0f} s after SIGKILL: processes {left}")
        time.sleep(_LOOK_SECONDS)


def _started(pid: int) -> int | None:
    """Return the start time of a process; None if it has exited."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name before it may have anything in it.
    state, *fields = text.rpartition(")")[2].split()
    return None if state in {"Z", "X"} else int(fields[18])
