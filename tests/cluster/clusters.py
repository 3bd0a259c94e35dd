"""What tests of a cluster share: light services, what a command says, and what it has touched."""

from __future__ import annotations

import contextlib
import json
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import psutil
from msgspec import Struct
from nodes import logs_are_written, patience, wait_for

from simulator.box import Box, BoxNode

MakeCluster = Callable[..., Box]

#: One service of each role, so that a start is quick.
LIGHT = {"services_master_mix": ["lofar_trigger"], "services_worker_mix": ["dada_trigger"]}
SERVICE_OF = {"master": "lofar_trigger"}
_LINE = re.compile(r"(\w+) +(done|failed|not reached) +([\d.]+) s  (.*)")
TIMEOUT = 90.0


def config_of(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of every node; who is silent costs little time."""
    light: dict[str, dict[str, Any]] = {"darc_master": LIGHT, "cluster": {"connect_timeout": 2}}
    names = [*light, *(name for name in sections if name not in light)]
    return {name: {**light.get(name, {}), **sections.get(name, {})} for name in names}


class Said(Struct, frozen=True):
    """What a command said that works on many nodes.

    :param nodes: in the order of their ends, what became of each, and the rest of its line
    :param rest: the lines behind that
    """

    status: int
    nodes: dict[str, tuple[str, str]]
    rest: str
    err: str

    @classmethod
    def of(cls, result: CompletedProcess[str]) -> Said:
        lines = result.stdout.splitlines()
        found = [match for line in lines if (match := _LINE.fullmatch(line))]
        nodes = {match[1]: (match[2], match[4]) for match in found}
        return cls(result.returncode, nodes, "\n".join(lines[len(found) :]), result.stderr)

    @property
    def phases(self) -> dict[str, str]:
        return {host: phase for host, (phase, _) in self.nodes.items()}


def on_all(node: BoxNode, *command: str) -> Said:
    """Run a command that works on many nodes."""
    return Said.of(node.run(*command, timeout=patience(TIMEOUT)))


def start(node: BoxNode, *options: str, status: int = 0) -> Said:
    said = on_all(node, "start_full_pipeline", *options)
    assert said.status == status, said
    return said


def stop(node: BoxNode, *options: str, status: int = 0) -> Said:
    said = on_all(node, "stop_full_pipeline", *options)
    assert said.status == status, said
    return said


def run_dir(node: BoxNode) -> Path:
    return node.home / "run" / node.name


def secret_file(node: BoxNode) -> Path:
    return run_dir(node) / "secret"


def secrets_of(nodes: Iterable[BoxNode]) -> set[tuple[str, int]]:
    """The secrets there are, each with the mode of its file."""
    files = [secret_file(node) for node in nodes]
    return {(file.read_text(), stat.S_IMODE(file.stat().st_mode)) for file in files}


def processes(node: BoxNode) -> dict[str, int]:
    """The processes of DARC by their modules, with their pids."""
    words: dict[int, list[str]] = {}
    for process in node.processes():
        with contextlib.suppress(psutil.NoSuchProcess):  # just gone
            words[process.pid] = process.cmdline()
    return {line[line.index("-m") + 1]: pid for pid, line in words.items() if "-m" in line}


def touched(nodes: Iterable[BoxNode]) -> dict[str, Any]:
    """What a command must not change: by node, its processes, and its secret as a file."""
    found: dict[str, Any] = {}
    for node in nodes:
        status = secret_file(node).stat()
        found[node.name] = (processes(node), status.st_ino, status.st_mtime_ns)
    return found


def log(node: BoxNode, service: str) -> list[str]:
    logs_are_written(run_dir(node))
    return (node.home / "log" / f"{service}.{node.name}.log").read_text().splitlines()


def logged_at(node: BoxNode, service: str, text: str) -> str:
    """The time of the last line with this text."""
    return [line[:23] for line in log(node, service) if text in line][-1]


def ask(asking: BoxNode, of: BoxNode, *words: str) -> Any:
    """The message of a reply, whatever its status."""
    result = asking.run("darc", "--host", of.name, "--json", *words)
    reply = json.loads(result.stdout)
    return reply.get("message", reply)


def restart(asking: BoxNode, of: BoxNode) -> Any:
    """A command that has to be signed."""
    return ask(asking, of, "--service", SERVICE_OF.get(of.name, "dada_trigger"), "restart")


def restarted(of: BoxNode) -> Any:
    """The answer to it."""
    outcome = {"stop": "stopped", "start": "started"}
    return {SERVICE_OF.get(of.name, "dada_trigger"): outcome}


def page(master: BoxNode) -> dict[str, Any]:
    """What the status page of a master node says, as status.json."""
    status: dict[str, Any] = json.loads((master.home / "status" / "status.json").read_text())
    return status


def page_says(master: BoxNode, *titles: str, grave: bool = True) -> None:
    """Wait until these problems are on the page, each with a command to type."""

    def there() -> bool:
        problems = {one["title"]: one for one in page(master)["problems"]}
        return all(
            title in problems and problems[title]["command"] and problems[title]["grave"] == grave
            for title in titles
        )

    wait_for(there, 30.0, f"{titles} on the page")


def page_is_rid_of(master: BoxNode, *titles: str) -> None:
    """Wait until these problems are not on the page any more."""
    wait_for(
        lambda: not set(titles) & {one["title"] for one in page(master)["problems"]},
        30.0,
        f"{titles} away from the page",
    )


def configure(node: BoxNode, before: str, after: str) -> None:
    """Change the text of a node's configuration."""
    path = node.home / "config.yaml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
