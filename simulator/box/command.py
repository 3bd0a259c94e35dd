"""The command: a box for as long as a command, or a shell, runs on its master.

python -m simulator.box --nodes 5 [--shared-home] [--directory DIR] [-- COMMAND ...]
python -m simulator.box --clean
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from darc.runtime.program import INTERRUPTED, whole
from simulator.box import record
from simulator.box.box import Box
from simulator.box.namespaces import BoxError
from simulator.box.node import BoxNode

NOT_STARTED = 127
# For a command that was interrupted to end by itself.
PATIENCE_SECONDS = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Interrupt(BaseException):
    """A SIGINT or SIGTERM."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Signals:
    """Context in which SIGINT and SIGTERM raise _Interrupt; afterwards they are ignored."""

    def __init__(self) -> None:
        self._held = False
        self._pending: int | None = None

    def __enter__(self) -> _Signals:
        for number in _SIGNALS:
            signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *error: object) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold back signals; a pending one raises _Interrupt at the end."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._pending is not None:
            raise _Interrupt(self._pending)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self._held:
            raise _Interrupt(number)
        self._pending = number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator.box",
        description="A cluster in a box: nodes with names, addresses, homes and sshd of their own"
        " on this machine, for as long as a command (or a shell) runs on the master. Needs root.",
    )
    parser.add_argument(
        "--nodes", type=whole(1, 250), metavar="N", help="with the master; default: 3"
    )
    parser.add_argument("--master", default="master", metavar="NAME", help="default: master")
    parser.add_argument(
        "--workers",
        nargs="+",
        metavar="NAME",
        help="names or ranges, as in 'arts[001-040]', instead of --nodes; default: worker01 ...",
    )
    parser.add_argument("--shared-home", action="store_true", help="one DARC_HOME for all nodes")
    parser.add_argument(
        "--directory", type=Path, metavar="DIR", help="of the homes; it stays. Default: temporary"
    )
    parser.add_argument(
        "--clean", action="store_true", help="remove what is left of boxes that were killed"
    )
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="after --; default: a shell")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in a box, and return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.clean:
        return _clean()
    if options.nodes is not None and options.workers:
        parser.error("--nodes and --workers exclude each other")
    nodes = None if options.workers else 3 if options.nodes is None else options.nodes
    try:
        box = Box(
            nodes,
            master=options.master,
            workers=options.workers,
            shared_home=options.shared_home,
            directory=options.directory,
        )
    except ValueError as error:
        parser.error(str(error))
    return _run(box, options.command)


def _clean() -> int:
    if os.geteuid() != 0:
        print("a box can only be removed by root", file=sys.stderr)
        return 1
    return 0 if record.clean(print) else 1


def _run(box: Box, command: Sequence[str]) -> int:
    status = 1
    try:
        with _Signals() as signals:
            began = time.monotonic()
            box.start()
            _tell(box, time.monotonic() - began)
            status = _on_master(box.master, command, signals)
    except _Interrupt:
        status = INTERRUPTED
    except (BoxError, OSError) as error:
        print(error, file=sys.stderr)
        status = NOT_STARTED if isinstance(error, FileNotFoundError) else 1
    try:
        box.close()
    except BoxError as error:
        print(f"not taken down: {error}", file=sys.stderr)
        return status or 1
    return status


def _tell(box: Box, seconds: float) -> None:
    """Print a description of the box on standard error."""
    names = [node.name for node in box.nodes]
    shown = names if len(names) <= 6 else [*names[:3], "...", names[-1]]
    enter = f"nsenter --all --target {box.master.keeper}"
    lines = [
        f"{box.name}: {len(names)} nodes after {seconds:.1f} s: {' '.join(shown)}",
        f"  files        {box.directory}",
        f"  the master   {enter} env DARC_HOME={box.master.home} bash",
        "  from there   ssh NODE",
    ]
    print("\n".join(lines), file=sys.stderr, flush=True)


def _on_master(master: BoxNode, command: Sequence[str], signals: _Signals) -> int:
    """Run the command, or a shell; without a terminal for one, wait to be interrupted."""
    if not command and not sys.stdin.isatty():
        print("Ctrl-C, or SIGTERM, takes it down", file=sys.stderr, flush=True)
        while True:
            signal.pause()
    words = command or [os.environ.get("SHELL", "/bin/sh")]
    process: subprocess.Popen[str] | None = None
    while True:
        try:
            if process is None:
                with signals.held():
                    process = master.popen(*words, stdin=None, new_session=False)
            status = process.wait()
        except _Interrupt as interrupt:
            if process is None:
                raise
            # An interactive shell is where Ctrl-C is at home.
            if command or interrupt.number != signal.SIGINT:
                return _ended(process, interrupt)
            continue
        return status if status >= 0 else 128 - status


def _ended(process: subprocess.Popen[str], interrupt: _Interrupt) -> int:
    """Let a command exit by itself; otherwise it is killed with its node."""
    # Ctrl-C is told to both of us.
    if interrupt.number != signal.SIGINT or not sys.stdin.isatty():
        process.send_signal(interrupt.number)
    with contextlib.suppress(subprocess.TimeoutExpired, _Interrupt):
        process.wait(PATIENCE_SECONDS)
    return INTERRUPTED
