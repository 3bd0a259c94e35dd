"""Common parts of the logs of one node and of several: selecting, waiting, printing."""

from __future__ import annotations

import select
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from darc.cli.interactive import TerminalError
from darc.cli.log_records import LogRecord
from darc.cli.log_sources import LogFilter, NodeLogs, log_paths
from darc.cli.remote_commands import EVERYWHERE
from darc.cli.terminal_text import did_you_mean, shown
from darc.config.config import Config

#: Interval of polling besides inotify, as network file systems do not notify.
LOOK_SECONDS = 1.0
#: Time for another node to read its logs, once connected.
READ_SECONDS = 60.0
#: In a node's answer: why it has none of the services that were asked for.
NO_SERVICE = "no_service"
#: A node, and an entry of its logs.
Line = tuple[str, LogRecord]


class NoSuchServiceError(TerminalError):
    """A node has none of the services that were asked for."""


def chosen_logs(config: Config, wanted: Sequence[str], *, some: bool = False) -> NodeLogs:
    """Return the logs of services.

    :param some: one of several nodes need not have all of them
    :raises NoSuchServiceError: a service does not exist
    """
    paths = log_paths(config)
    unknown = [name for name in wanted if name not in paths and name != EVERYWHERE]
    if some and len(unknown) < len(wanted):
        unknown = []
    if unknown:
        near = " ".join(filter(None, (did_you_mean(name, paths) for name in unknown)))
        raise NoSuchServiceError(
            f"no service {', '.join(map(shown, unknown))} on {config.hostname};"
            f" there are: {', '.join(paths)}, and all{'; ' + near if near else ''}"
        )
    if EVERYWHERE in wanted:
        return NodeLogs(paths)
    return NodeLogs({name: paths[name] for name in wanted if name in paths})


def make_poll(logs: NodeLogs | None, wake: int | None) -> select.poll:
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # only reports that it was closed
    for descriptor in (logs.fileno() if logs else None, wake):
        if descriptor is not None:
            poll.register(descriptor, select.POLLIN)
    return poll


def wait_for_change(poll: select.poll, seconds: float) -> bool:
    """Wait for new entries; False if the output was closed."""
    out = sys.stdout.fileno()
    ended = select.POLLERR | select.POLLHUP
    return not any(fd == out and event & ended for fd, event in poll.poll(seconds * 1e3))


def print_lines(lines: Iterable[Line], width: int) -> None:
    """Print lines of logs.

    :param width: width of the host name, characters; 0: not shown
    """
    for host, record in lines:
        text = record.text
        if width:
            text = text.replace("\n", "\n" + " " * (width + 2))
            text = f"{host:<{width}}  {text}"
        sys.stdout.write(text + "\n")
    sys.stdout.flush()


def from_plain(plain: Any) -> LogRecord:
    """Return an entry that another node has sent.

    :raises TypeError: not an entry
    """
    moment, service, text = plain["time"], plain["service"], plain["text"]
    if not (isinstance(moment, float | None) and isinstance(service, str)):
        raise TypeError("an entry of the wrong type")
    # Text of another node is not trusted: control characters are escaped.
    return LogRecord(moment, service, "\n".join(map(shown, str(text).split("\n"))))


def arguments_for(
    services: Sequence[str], selection: LogFilter, follow: bool, some: bool
) -> list[str]:
    words = ["--for-another", f"--lines={'all' if selection.last is None else selection.last}"]
    if selection.since is not None:
        # The same time for all nodes, whenever they are connected.
        words.append(f"--since={datetime.fromtimestamp(selection.since, UTC).isoformat()}")
    if selection.text:
        words.append(f"--grep={selection.text}")
    words += ["--follow"] * follow + ["--some"] * some
    return [*words, "--", *services]


def width_of(hosts: Sequence[str]) -> int:
    return max(map(len, hosts)) if len(hosts) > 1 else 0
