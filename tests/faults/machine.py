"""The machine that a node under faults is on: its disk, its clock, and the share that it uses."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import clocks
import psutil
import shares
from faults import disk, second_machine
from faults.fault_plan import Kind
from nodes import Node, wait_for

DEAD_SECONDS = 20.0
LOG_FILES = (
    *("darc_master", "status_website", "amber_listener", "amber_clustering", "dada_trigger"),
    *("lofar_trigger", "voevent_generator", "processor", "processor_master"),
    "offline_processing",
)


def unavailable() -> dict[Kind, str]:
    """What cannot be done to a node on this machine, and why."""
    reasons = {
        Kind.POWER_LOSS: disk.missing(),
        Kind.CLOCK_STEP: clocks.missing(),
        Kind.SHARE_HANGS: shares.missing(),
        Kind.SECOND_MACHINE: second_machine.missing(),
    }
    return {kind: reason for kind, reason in reasons.items() if reason}


class Machine:
    """A node's: until `close`, which ends the node.

    `telescope` is a directory on another machine, which no fault concerns. The node's home and
    run_dir are on the disk; parsets, logs and results on the share, which is on it, too.
    """

    def __init__(self, run: str) -> None:
        self.node = Node(run)
        self._opened = ExitStack()
        self.telescope = Path(tempfile.mkdtemp(prefix="darc-telescope-"))
        self._opened.callback(shutil.rmtree, self.telescope)
        self._opened.callback(shutil.rmtree, self.node.home, ignore_errors=True)
        self._disk: disk.Disk | None = None
        self._share: shares.Share | None = None
        self._clock: clocks.SetClock | None = None
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        home = self.node.home
        if not disk.missing():
            self._disk = disk.Disk(home)
            self._opened.callback(self._disk.close)
            home.chmod(0o700)
        self._opened.callback(self.node.remove)
        self.share_directory.mkdir()
        if not shares.missing():
            served = home / "served"
            served.mkdir()
            self._share = shares.Share(served, self.share_directory)
            self._opened.callback(self._share.stop)
        if not clocks.missing():
            directory = Path(tempfile.mkdtemp(prefix="darc-clock-"))
            self._opened.callback(shutil.rmtree, directory)
            self._clock = clocks.SetClock(directory)
            self.node.environment.update(self._clock.environment)
        logs = {
            name: {"log_file": str(self.log(name))} for name in LOG_FILES if name != "darc_master"
        }
        master = {
            "parset_dir": str(self.parsets),
            "log_dir": str(self.logs),
            "log_file": str(self.log("darc_master")),
        }
        self.node.configure(darc_master=master, **logs)

    def close(self) -> None:
        self._opened.close()

    # -- places --------------------------------------------------------------------------------

    @property
    def share_directory(self) -> Path:
        return self.node.home / "share"

    @property
    def parsets(self) -> Path:
        return self.share_directory / "parsets"

    @property
    def logs(self) -> Path:
        return self.share_directory / "log"

    def log(self, service: str) -> Path:
        return self.logs / f"{service}.{self.node.hostname}.log"

    # -- what happens to it --------------------------------------------------------------------

    def flush(self) -> None:
        """Have all that was written on the disk."""
        if self._disk:
            self._disk.flush()

    def lose_power(self) -> None:
        """The node's processes are gone, and its disk is as it was at that moment."""
        assert self._disk
        node_id = self.node.node_id
        self._disk.cut(self._kill)
        wait_for(self._is_dead, DEAD_SECONDS, f"the processes of {node_id} are dead")
        if self._share:
            self._share.stop()
        self._disk.power_up()
        if self._share:
            self._share.start()

    def _kill(self) -> list[psutil.Process]:
        found = self.node.processes()
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return found

    def _is_dead(self) -> bool:
        return not self._kill()

    @contextmanager
    def share_hangs(self) -> Iterator[None]:
        """The share does not answer meanwhile."""
        assert self._share
        self._share.hang()
        try:
            yield
        finally:
            self._share.answer()

    def step_clock(self, seconds: float, duration: float) -> None:
        """The node's clock is set, and set right after a while (s)."""
        assert self._clock
        self._clock.set(seconds)
        time.sleep(duration)
        self._clock.set(0.0)
