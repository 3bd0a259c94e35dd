"""Table of nodes during and after a command."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from darc.cluster.node_orders import NodePhase, NodeProgress

#: Signs and colours; the text says the same without colours.
_SIGNS = {
    NodePhase.WAITING: ("·", "dim"),
    NodePhase.AT_WORK: ("…", "yellow"),
    NodePhase.DONE: ("✓", "green"),
    NodePhase.FAILED: ("✗", "bold red"),
    NodePhase.UNREACHED: ("?", "bold red"),
}
REFRESH_PER_SECOND = 4


class ProgressTable:
    """Progress of nodes: a live table on a terminal, else a line for each finished node.

    :param nodes: nodes in display order
    """

    def __init__(self, nodes: Sequence[NodeProgress], title: str) -> None:
        self._nodes = {progress.host: progress for progress in nodes}
        self._title = title
        self._lock = threading.Lock()
        self._is_live = sys.stdout.isatty()
        self._console = Console(width=None if self._is_live else 100)
        self._live = Live(
            console=self._console,
            refresh_per_second=REFRESH_PER_SECOND,
            get_renderable=self._render,
        )
        self._is_over = False
        self._width = max((len(host) for host in self._nodes), default=0)

    def __enter__(self) -> ProgressTable:
        if self._is_live:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._is_over = True
        if self._is_live:
            self._live.stop()

    def update(self, progress: NodeProgress) -> None:
        """Update the progress of a node, from any thread."""
        with self._lock:
            if self._is_over:  # interrupted
                return
            self._nodes[progress.host] = progress
            if not self._is_live and progress.ended:
                print(self._line(progress), flush=True)

    def _line(self, progress: NodeProgress) -> str:
        host = f"{progress.host:<{self._width}}"
        return f"{host}  {progress.phase:<11}  {progress.seconds:6.1f} s  {progress.summary}"

    def _render(self) -> Table:
        with self._lock:
            nodes = list(self._nodes.values())
        ended = sum(progress.ended for progress in nodes)
        title = f"{self._title}: {ended} of {len(nodes)} nodes"
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, expand=True)
        for name in ("node", "role", "", "time"):
            table.add_column(name, justify="right" if name == "time" else "left", no_wrap=True)
        # Only the last column is shortened if there is no room.
        table.add_column("", no_wrap=True, ratio=1)
        for progress in nodes:
            took = f"{progress.seconds:.1f} s" if progress.ended else ""
            style = "" if progress.is_good or not progress.ended else "yellow"
            sign, colour = _SIGNS[progress.phase]
            phase = Text(f"{sign} {progress.phase}", colour)
            text = Text(progress.summary, style, overflow="ellipsis")
            table.add_row(progress.host, progress.role, phase, took, text)
        return table


def summary(nodes: Sequence[NodeProgress], done: str) -> str:
    """Return a line with the overall result, and lines for nodes with remarks or errors.

    :param done: description of a success, such as "are stopped"
    """
    good = sum(node.phase is NodePhase.DONE for node in nodes)
    lines = [f"{good} of {len(nodes)} nodes {done}."]
    for phase in (NodePhase.FAILED, NodePhase.UNREACHED):
        those = [node for node in nodes if node.phase is phase]
        if those:
            lines.append(f"{phase}: {' '.join(node.host for node in those)}")
        lines += [f"  {node.host}: {node.detail}".replace("\n", "\n    ") for node in those]
    lines += [f"{node.host}: {what}" for node in nodes for what in (*node.remarks, *node.notes)]
    return "\n".join(lines)
