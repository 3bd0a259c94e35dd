"""Interactive commands of ``darc`` on other nodes of the cluster, over ssh."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from darc.cli.interactive import TerminalError
from darc.cluster import ssh
from darc.config.config import Config, Role
from darc.config.host_names import same_host

#: Start of each line of a node's reply, to distinguish it from output of a login shell.
MARK = "darc-line: "
EVERYWHERE = "all"
HERE = ("localhost", "127.0.0.1", "::1")
_Answer = TypeVar("_Answer")


def chosen_hosts(config: Config, wanted: str) -> tuple[str, ...]:
    """Return the selected nodes, the master first.

    :param wanted: a name, all, or localhost
    :raises TerminalError: the name is not in the cluster
    """
    if wanted in HERE:
        return tuple(filter(config.is_here, config.nodes())) or (config.hostname,)
    if wanted == EVERYWHERE:
        return config.nodes()
    if known := [node for node in config.nodes() if same_host(node, wanted)]:
        return tuple(known)
    if config.role is Role.STANDALONE:
        raise TerminalError(f"{wanted}: this host, {config.hostname}, is not in a cluster")
    raise TerminalError(f"{wanted}: not in the cluster; there are: {', '.join(config.nodes())}")


def is_here(config: Config, host: str) -> bool:
    return host == config.hostname or config.is_here(host)


def to_line(plain: Mapping[str, Any]) -> str:
    """Return an object as a line of a node's reply."""
    return MARK + json.dumps(plain)


class RemoteCommand:
    """A command running on another node, which exits when its standard input is closed.

    :param on_object: called with each object of the reply, in a thread
    :param on_end: called once after that, with the reason if it failed
    """

    def __init__(
        self,
        config: Config,
        host: str,
        module: str,
        arguments: Sequence[str],
        on_object: Callable[[dict[str, Any]], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._on_object = on_object
        self._on_end = on_end
        self._process = ssh.popen(ssh.command(config, host, (f"darc.cli.{module}", *arguments)))
        self._errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._read_errors, name=f"errors {host}", daemon=True),
            threading.Thread(target=self._read, name=f"read {host}", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read_errors(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self._errors = [*self._errors[-20:], line.strip()]

    def _objects(self) -> Iterator[dict[str, Any]]:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith(MARK):
                plain = json.loads(line.removeprefix(MARK))
                if not isinstance(plain, dict):
                    raise ValueError("not a mapping")
                yield plain

    def _read(self) -> None:
        reason = ""
        try:
            for plain in self._objects():
                self._on_object(plain)
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            reason = f"its reply cannot be read: {error}"
            self._process.terminate()
        self._threads[0].join()
        status = self._process.wait()
        lines = [line for line in self._errors if line]
        if status and not reason:
            reason = lines[-1] if lines else f"status {status}"
        self._on_end(reason)

    def close(self) -> None:
        """End the command, on the other node too."""
        self._process.terminate()
        for thread in self._threads:
            thread.join(timeout=2.0)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream and not any(thread.is_alive() for thread in self._threads):
                stream.close()


def gather(
    config: Config,
    hosts: Sequence[str],
    module: str,
    arguments: Sequence[str],
    seconds: float,
    parse: Callable[[dict[str, Any]], _Answer],
) -> tuple[dict[str, _Answer], dict[str, str]]:
    """Return the single reply of each node but this one, and the reasons why others gave none.

    :param seconds: time for all nodes in parallel, once connected
    :param parse: returns what a reply says, or raises ValueError, KeyError or TypeError
    """
    hosts = [host for host in hosts if not is_here(config, host)]
    timeout = config.cluster.connect_timeout + seconds
    answers: dict[str, _Answer] = {}
    reasons: dict[str, str] = {}
    fars: list[RemoteCommand] = []
    over = threading.Condition()

    def ended(host: str, reason: str) -> None:
        with over:
            if host not in answers:
                reasons[host] = reason or "no answer"
            over.notify_all()

    def on_object(host: str, plain: dict[str, Any]) -> None:
        with over:
            answers[host] = parse(plain)
            over.notify_all()

    for host in hosts:
        try:
            ways = partial(on_object, host), partial(ended, host)
            fars.append(RemoteCommand(config, host, module, arguments, *ways))
        except OSError as error:
            reasons[host] = f"ssh: {error.strerror}"
    try:
        with over:
            over.wait_for(lambda: len({*answers, *reasons}) == len(hosts), timeout)
            came, failed = dict(answers), dict(reasons)
    finally:
        for far in fars:
            far.close()
    late = f"no answer within {timeout:g} s"
    return came, {host: failed.get(host, late) for host in hosts if host not in came}
