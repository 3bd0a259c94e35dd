"""What listens in a node, in a process of its own: its memory, threads and descriptors are seen.

A command port, the queues behind a Unix socket, and an intake for triggers behind a TCP port.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nodes import TEST_RUN, free_port

from darc.master.command_port import CommandPort
from darc.master.commands import CommandVocabulary
from darc.model.message import Reply, Request
from darc.node.secret import make_secret, read_secret
from darc.queues.exchange import EXPOSED, Exchange
from darc.queues.journal import Journal
from darc.queues.named_queues import NamedQueues
from darc.queues.queue_server import QueueServer
from darc.runtime.log import LineFormatter, NonBlockingHandler
from darc.services.base import intake

SERVICE = "lofar_trigger"
#: For a client to say something.
SILENCE_SECONDS = 3.0
MAX_COMMANDS = 64


class Targets:
    """The process, as a test sees it.

    :param directory: where its files are: secret, journal, log
    :param run: of the tests
    """

    def __init__(self, directory: Path, run: str) -> None:
        self.directory = directory
        self.socket = directory / "queues.sock"
        self.log_file = directory / "log"
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, TEST_RUN: run},
        )
        self.command_port: int
        self.intake_port: int
        self.command_port, self.intake_port = self._read()
        self.process = psutil.Process(self._process.pid)
        self.secret_file = directory / "secret"
        self.secret = read_secret(self.secret_file)

    def _read(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def address(self, name: str) -> Path | tuple[str, int]:
        """Of one of the two queue servers."""
        return self.socket if name == "queues" else ("127.0.0.1", self.intake_port)

    def report(self) -> dict[str, Any]:
        """What it has done: `changes`, `refused` by server, `deaths` of threads."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return cast("dict[str, Any]", self._read())

    def refused(self, server: str) -> int:
        return int(self.report()["refused"][server])

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def targets(directory: Path, run: str) -> Iterator[Targets]:
    made = Targets(directory, run)
    try:
        yield made
    finally:
        made.close()


def _serve(directory: Path) -> None:
    """What the process does."""
    deaths: list[str] = []
    threading.excepthook = lambda arguments: deaths.append(repr(arguments.exc_value))
    log = os.open(directory / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    handler = NonBlockingHandler(log)
    handler.setFormatter(LineFormatter("targets"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    make_secret(directory / "secret")

    def secret() -> bytes:
        return read_secret(directory / "secret")

    exchange = Exchange(Journal(directory / "journal.sqlite"), lambda _: None, lambda *_: None)
    by_name = NamedQueues(exchange, lambda: (SERVICE,))
    queues = QueueServer(str(directory / "queues.sock"), secret, exchange, EXPOSED, by_name)
    queues.start()
    hand_in = intake.Intake(directory, SERVICE)
    place = "127.0.0.1", free_port()
    taken_in = QueueServer(
        place, secret, hand_in, intake.EXPOSED, intake.NamedIntake(hand_in, SERVICE)
    )
    taken_in.start()
    vocabulary = CommandVocabulary(cast(Any, None))  # what is a change does not depend on the node
    changes: list[str] = []

    def answer(request: Request) -> Reply:
        if vocabulary.changes(request):
            changes.append(f"{request.command} {request.service}")
        return Reply.success([request.command, request.service, request.attribute])

    place = "127.0.0.1", free_port()
    port = CommandPort(place, secret, answer, vocabulary.changes, (), SILENCE_SECONDS, MAX_COMMANDS)
    print(json.dumps([place[1], taken_in.address[1]]), flush=True)
    for _ in sys.stdin:
        refused = {"commands": port.refused, "queues": queues.refused, "intake": taken_in.refused}
        print(json.dumps({"changes": changes, "refused": refused, "deaths": deaths}), flush=True)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
