"""Following the logs of several nodes."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import sys
import time
from collections.abc import Sequence
from typing import Any

from darc.cli.log_lines import (
    LOOK_SECONDS,
    NO_SERVICE,
    READ_SECONDS,
    Line,
    NoSuchServiceError,
    arguments_for,
    chosen_logs,
    from_plain,
    make_poll,
    print_lines,
    wait_for_change,
    width_of,
)
from darc.cli.log_records import LogRecord
from darc.cli.log_sources import LogFilter, NodeLogs
from darc.cli.remote_commands import RemoteCommand, is_here
from darc.cli.terminal_text import shown
from darc.config.config import Config

#: Records of a node, that it has none, or why it sends no more.
_News = list[LogRecord] | NoSuchServiceError | str


class FollowedNodes:
    """Merged logs of several nodes, as they grow."""

    def __init__(
        self, config: Config, hosts: Sequence[str], services: Sequence[str], selection: LogFilter
    ) -> None:
        self._config = config
        self._hosts = hosts
        self._services = services
        self._selection = selection
        self._replies: queue.SimpleQueue[tuple[str, _News]] = queue.SimpleQueue()
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        self._silent = set(hosts)  # nodes whose history has not arrived
        self._reasons: dict[str, str] = {}
        self._without: set[str] = set()  # none of the services is there
        self._waiting: list[Line] = []
        self._own = ""
        self._was_shown = False

    def run(self) -> int:
        """Show old and new entries until the output is closed, or all connections have ended."""
        logs: NodeLogs | None = None
        fars: list[RemoteCommand] = []
        try:
            for host in self._hosts:
                if is_here(self._config, host):
                    logs = self._start_here(host)
                else:
                    fars.append(self._start(host))
            return self._follow(logs)
        finally:
            for far in fars:
                far.close()
            if logs:
                logs.close()

    def _start_here(self, host: str) -> NodeLogs | None:
        try:
            logs = chosen_logs(self._config, self._services, some=True)
        except NoSuchServiceError as error:
            self._put(host, error)
            return None
        self._own = host
        self._put(host, list(logs.history(self._selection, True)))
        return logs

    def _start(self, host: str) -> RemoteCommand:
        def on_object(plain: dict[str, Any]) -> None:
            if NO_SERVICE in plain:
                self._put(host, NoSuchServiceError(plain[NO_SERVICE]))
            else:
                self._put(host, [from_plain(one) for one in plain["records"]])

        return RemoteCommand(
            self._config,
            host,
            "logs",
            arguments_for(self._services, self._selection, True, len(self._hosts) > 1),
            on_object,
            lambda reason: self._put(host, reason or "the connection has ended"),
        )

    def _put(self, host: str, what: _News) -> None:
        self._replies.put((host, what))
        with contextlib.suppress(BlockingIOError):  # a wake-up is pending already
            os.write(self._wake_in, b".")

    def _follow(self, logs: NodeLogs | None) -> int:
        poll = make_poll(logs, self._wake_out)
        timeout = self._config.cluster.connect_timeout + READ_SECONDS
        until = time.monotonic() + timeout
        while wait_for_change(poll, LOOK_SECONDS):
            self._take()
            if logs:
                self._waiting += [
                    (self._own, record) for record in logs.new_records(self._selection)
                ]
            if self._silent and time.monotonic() > until:
                for host in self._silent:
                    print(f"{host}: no answer within {timeout:g} s", file=sys.stderr)
                self._silent.clear()
            if not self._silent:
                self._show()
            if len(self._reasons) == len(self._hosts):
                return 1
        return 0

    def _take(self) -> None:
        if select.select([self._wake_out], [], [], 0)[0]:
            os.read(self._wake_out, 65536)
        while True:
            try:
                host, what = self._replies.get_nowait()
            except queue.Empty:
                return
            if isinstance(what, NoSuchServiceError):
                self._without.add(host)
            if isinstance(what, list):
                self._waiting += [(host, record) for record in what]
            elif host not in self._reasons:  # else it has ended after it said so
                self._reasons[host] = str(what)
                if host not in self._without or len(self._reasons) == len(self._hosts):
                    print(f"{host}: {shown(str(what).removeprefix('darc: '))}", file=sys.stderr)
            self._silent.discard(host)

    def _show(self) -> None:
        """Yield entries in order of time, as far as known."""
        self._waiting.sort(key=lambda line: line[1].key)
        if self._selection.last is not None and not self._was_shown:
            self._waiting = self._waiting[max(0, len(self._waiting) - self._selection.last) :]
        self._was_shown = True
        print_lines(self._waiting, width_of(self._hosts))
        self._waiting.clear()
