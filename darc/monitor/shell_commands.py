"""Shell commands for operators, with host names in a short form."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from itertools import groupby

from darc.config.records import Struct

_NUMBERED = re.compile(r"(.*?)([0-9]+)([^0-9]*)", re.DOTALL)


class _Group(Struct, frozen=True):
    """Hosts that differ by a number; `digits` 0: one host without a number."""

    before: str
    after: str
    digits: int
    runs: tuple[tuple[int, int], ...]

    def number(self, number: int) -> str:
        return f"{number:0{self.digits}d}"


def ranges(hosts: Iterable[str]) -> str:
    """Return hosts in the notation of the configuration: ``arts041, arts[001-003,007]``."""
    words = []
    for group in _groups(hosts):
        numbers = ",".join(
            group.number(low) if low == high else f"{group.number(low)}-{group.number(high)}"
            for low, high in group.runs
        )
        if not group.digits:
            numbers = ""
        elif not numbers.isdecimal():
            numbers = f"[{numbers}]"
        words.append(f"{group.before}{numbers}{group.after}")
    return ", ".join(words)


def braces(hosts: Iterable[str]) -> str:
    """Return hosts in the notation of bash: ``arts041 arts{001..003} arts007``."""
    words = []
    for group in _groups(hosts):
        before, after = (part and shlex.quote(part) for part in (group.before, group.after))
        for low, high in group.runs:
            number = group.number(low) if group.digits else ""
            if low != high:
                number = f"{{{number}..{group.number(high)}}}"
            words.append(f"{before}{number}{after}")
    return " ".join(words)


def _groups(hosts: Iterable[str]) -> list[_Group]:
    split: list[tuple[tuple[str, str, int], int]] = []
    for host in dict.fromkeys(hosts):
        match = _NUMBERED.fullmatch(host)
        if match:
            split.append(((match[1], match[3], len(match[2])), int(match[2])))
        else:
            split.append(((host, "", 0), 0))
    return [
        _Group(before, after, digits, _runs([number for _, number in group]))
        for (before, after, digits), group in groupby(sorted(split), key=lambda one: one[0])
    ]


def _runs(numbers: Sequence[int]) -> tuple[tuple[int, int], ...]:
    # In a run, a number's distance from its place is the same.
    runs = groupby(enumerate(numbers), key=lambda one: one[1] - one[0])
    return tuple((run[0][1], run[-1][1]) for run in (list(group) for _, group in runs))


class ShellCommands(Struct, frozen=True):
    """Builder of commands that an operator enters on the master node.

    :param alone: there is no other node
    """

    alone: bool

    def darc(self, hosts: Sequence[str], *words: str) -> str:
        """Return ``darc --host H WORDS``, for each of the hosts."""
        command = shlex.join(words)
        if self.alone:
            return f"darc {command}"
        if len(hosts) == 1:
            return f"darc --host {shlex.quote(hosts[0])} {command}"
        return f"for host in {braces(hosts)}; do darc --host $host {command}; done"

    def service(self, hosts: Sequence[str], service: str, action: str) -> str:
        """Return ``darc --host H --service S ACTION``, for each of the hosts."""
        return self.darc(hosts, "--service", service, action)

    def on(self, host: str, *words: str) -> str:
        """Return a command that runs on a host."""
        return shlex.join(words) if self.alone else f"ssh {shlex.quote(host)} {shlex.join(words)}"

    def start(self, hosts: Sequence[str]) -> str:
        """Return the command that starts nodes; running ones are not affected."""
        if self.alone:
            return "darc_start_all_services"
        return f"start_full_pipeline --nodes {_nodes(hosts)}"

    def restart(self, hosts: Sequence[str]) -> str:
        """Return the command that stops nodes and starts them again."""
        if self.alone:
            return "darc_stop_master && darc_start_all_services"
        nodes = _nodes(hosts)
        return f"stop_full_pipeline --nodes {nodes} && start_full_pipeline --nodes {nodes}"


def _nodes(hosts: Sequence[str]) -> str:
    return " ".join(map(shlex.quote, ranges(hosts).split(", ")))
