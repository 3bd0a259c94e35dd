"""What each fault does to a node."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from faults.alert_orders import AlertOrders
from faults.fault_plan import OTHER_NAME, POOL, SAME_NAME, Fault, Kind
from faults.machine import Machine
from faults.outside import Outside
from faults.processing import Processing
from faults.second_machine import run_there
from faults.trigger_files import TriggerFiles
from nodes import SCRIPTS

from darc.node.supervisor import SupervisorError

JOURNAL_BYTES = 2**30
OTHER_HOST = "othernode"
#: In a hang that lasts longer than this, the node has to answer before it is over (s).
HANGING_SECONDS = 2.0
ANSWER_SECONDS = 15.0
#: A slow broker answers after this part of the time for which it is slow.
SLOW = 0.7
#: A machine that has power again starts its node by systemd: again after so long (s) where a start
#: fails, as while its share does not answer; here at most so many times.
RESTART_SECONDS, STARTS_AGAIN = 2.0, 3


class Strikes:
    """Lets faults strike a node.

    :param points: directory of the points at which a process is to die
    """

    def __init__(
        self,
        machine: Machine,
        outside: Outside,
        processing: Processing,
        orders: AlertOrders,
        points: Path,
    ) -> None:
        self._machine, self._node = machine, machine.node
        self._outside, self._processing, self._points = outside, processing, points
        self._orders = orders
        self._operator = threading.Lock()  # who does one thing after the other
        self.files: TriggerFiles | None = None  # of the observation
        self.problems: list[str] = []

    def strike(self, faults: list[Fault], began: float) -> None:
        """Have faults strike when they are due, side by side.

        :param began: monotonic time that theirs count from
        """
        striking = [threading.Thread(target=self._wait_for, args=(one, began)) for one in faults]
        for thread in striking:
            thread.start()
        for thread in striking:
            thread.join()

    def _wait_for(self, fault: Fault, began: float) -> None:
        time.sleep(max(0.0, began + fault.time - time.monotonic()))
        self.note(self._actions(fault)[fault.kind])

    def note(self, act: Callable[[], object]) -> None:
        """Do something in a thread: what goes wrong is a problem of the run."""
        try:
            act()
        except Exception as error:
            self.problems.append(f"{type(error).__name__}: {error}")

    def _actions(self, fault: Fault) -> dict[Kind, Callable[[], object]]:
        assert self.files
        roads = self._outside.roads
        return {
            Kind.KILL: lambda: self.signal(fault.target, signal.SIGKILL),
            Kind.STOP: lambda: self._pause(self._pid(fault.target), fault.duration),
            Kind.DIE_AT: (self._points / fault.target).touch,
            Kind.KILL_SUPERVISORD: self._kill_supervisord,
            Kind.STOP_SUPERVISORD: lambda: self._pause(self._supervisord(), fault.duration),
            Kind.FULL_JOURNAL: lambda: self._fill_journal(fault.duration),
            Kind.REMOVE_LOGS: lambda: shutil.rmtree(self._machine.logs, ignore_errors=True),
            Kind.REMOVE_SOCKET: lambda: (self._node.run_dir / fault.target).unlink(missing_ok=True),
            Kind.RUBBISH_CONFIG: self._rubbish,
            Kind.FLOOD: self._flood,
            Kind.OUTSIDE_AWAY: lambda: self._outside.go_away(fault.duration),
            Kind.RESULTS_AWAY: lambda: self._processing.take_results_away(fault.duration),
            Kind.DATA_STOP: lambda: self._processing.stop_data(fault.duration),
            Kind.POWER_LOSS: self._lose_power,
            Kind.CLOCK_STEP: lambda: self._machine.step_clock(float(fault.target), fault.duration),
            Kind.SHARE_HANGS: lambda: self._hang_share(fault.duration),
            Kind.FILE_REPLACED: lambda: self._replace_file(fault.target),
            Kind.WILD_VALUES: self.files.write_wild_values,
            Kind.SECOND_MACHINE: lambda: self._command_elsewhere(fault.target),
            Kind.KAFKA_AWAY: lambda: roads.kafka.go_away(fault.duration),
            Kind.KAFKA_SLOW: lambda: roads.kafka.be_slow(fault.duration, SLOW * fault.duration),
            Kind.KAFKA_KILLED: lambda: roads.kafka.kill(fault.duration),
            Kind.SAID: lambda: self._orders.say(fault.target, f"{fault.time}"),
            Kind.TEST_NOTICE: self._orders.test,
            Kind.SWITCH: lambda: self._orders.switch(fault.target, fault.duration),
        }

    # -- processes -----------------------------------------------------------------------------

    def _pid(self, name: str) -> int | None:
        """Of a service, or of the process that works for the processor."""
        try:
            if name != POOL:
                return self._node.supervisor.processes()[name].pid or None
            processor = self._pid("processor")
            if processor is None:  # psutil would take it for this process
                return None
            children = psutil.Process(processor).children()
            return children[0].pid if children else None
        except (SupervisorError, OSError, psutil.NoSuchProcess):
            return None  # another fault was here before

    def _supervisord(self) -> int | None:
        try:
            return int((self._node.run_dir / "supervisord.pid").read_text())
        except (OSError, ValueError):
            return None

    def signal(self, service: str, number: signal.Signals) -> None:
        """Send a signal to a service, if it runs."""
        _send(self._pid(service), number)

    @staticmethod
    def _pause(pid: int | None, duration: float) -> None:
        _send(pid, signal.SIGSTOP)
        time.sleep(duration)
        _send(pid, signal.SIGCONT)

    def _kill_supervisord(self) -> None:
        with self._operator:
            _send(self._supervisord(), signal.SIGKILL)
            started = self._node.run("darc_start_master")
            if started.returncode != 0:  # an operator reads why, and tries again
                self.problems.append(f"darc_start_master: {started.stdout}{started.stderr}")
                self._node.run("darc_start_master")

    # -- what an operator types, and others ----------------------------------------------------

    def reload(self, **master: Any) -> None:
        """Have other settings of the master hold."""
        with self._operator:
            self._node.configure(darc_master=master)
            self._node.darc("reload")

    def _fill_journal(self, duration: float) -> None:
        """No page more than now, and a reader that does not take what is in the queue."""
        reader = self._pid("processor")
        _send(reader, signal.SIGSTOP)
        self.reload(journal_max_bytes=4096)
        time.sleep(duration)
        self.reload(journal_max_bytes=JOURNAL_BYTES)
        _send(reader, signal.SIGCONT)

    def _rubbish(self) -> None:
        with self._operator:
            path = self._node.home / "config.yaml"
            path.write_text("amber_clustering: {interval: soon\n\x00")
            self._node.darc("reload")
            time.sleep(0.3)
            self._node.configure()

    def _flood(self) -> None:
        sockets = []
        for number in range(300):
            try:
                connection = socket.create_connection(("127.0.0.1", self._node.port), timeout=0.5)
                connection.sendall(b"{" if number % 2 else os.urandom(512))
            except OSError:
                continue
            sockets.append(connection)
        time.sleep(0.3)
        for connection in sockets:
            connection.close()

    def _command_elsewhere(self, target: str) -> None:
        same = target.endswith(SAME_NAME)
        command = target.removesuffix(SAME_NAME).removesuffix(OTHER_NAME).strip()
        with self._operator:
            first, *words = command.split()
            hostname = self._node.hostname if same else OTHER_HOST
            run_there([str(SCRIPTS / first), *words], self._node.environment, hostname)

    # -- the machine ---------------------------------------------------------------------------

    def _lose_power(self) -> None:
        with self._operator:  # no command is under way that would go on with the other disk
            self._machine.lose_power()
            self._processing.bring_results_back()
            started = self._node.run("darc_start_master")
            for _ in range(STARTS_AGAIN):
                if not started.returncode:
                    break
                time.sleep(RESTART_SECONDS)
                started = self._node.run("darc_start_master")
        if started.returncode:
            said = started.stdout + started.stderr
            self.problems.append(f"not started after the loss of power: {said}")

    def _hang_share(self, duration: float) -> None:
        end = time.monotonic() + duration
        with self._machine.share_hangs():
            if duration > HANGING_SECONDS:
                try:
                    self._node.run("darc", "--service", "all", "status", timeout=ANSWER_SECONDS)
                except subprocess.TimeoutExpired:
                    self.problems.append("the node does not answer while the share hangs")
            time.sleep(max(0.0, end - time.monotonic()))

    def _replace_file(self, target: str) -> None:
        assert self.files
        number, how = target.split(" ", 1)
        self.files.replace(int(number), how)


def _send(pid: int | None, number: signal.Signals) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError):  # it was hit by another fault
            os.kill(pid, number)
