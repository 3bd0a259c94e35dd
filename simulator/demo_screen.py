"""Display of the demo: live on a terminal, else plain lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from darc.config.records import Struct
from simulator.demo_tables import Results, live_table

PLAIN_SECONDS = 2.0  # between two lines
COLOURS = {"running": "green", "starting": "yellow", "stopping": "yellow"}


class Snapshot(Struct, frozen=True):
    """State of the node at one moment.

    :param elapsed: s since the observation's start
    :param written: lines that AMBER's stand-in has written
    :param counts: of the observation, by service
    :param depths: entries by queue
    """

    elapsed: float
    phase: str
    states: Mapping[str, str]
    written: int
    counts: Mapping[str, Mapping[str, int]]
    depths: Mapping[str, int]
    results: Results

    def count(self, service: str, what: str) -> int:
        return self.counts.get(service, {}).get(what, 0)

    @property
    def flow(self) -> tuple[tuple[str, int], ...]:
        return (
            ("lines", self.written),
            ("read", self.count("amber_listener", "candidates")),
            ("strong", self.count("amber_clustering", "clustered")),
            ("clusters", self.count("amber_clustering", "clusters")),
            ("triggers", self.results.outcome.triggers),
        )


class Screen:
    """Display of a running observation.

    :param duration: duration of the observation, s
    """

    def __init__(self, console: Console, duration: float) -> None:
        self._console = console
        self._duration = duration
        self._next_line = 0.0
        self._announced: set[tuple[int, str]] = set()
        self._live = (
            Live(console=console, auto_refresh=False, transient=True)
            if console.is_terminal
            else None
        )
        self._last: Snapshot | None = None

    def __enter__(self) -> Screen:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()
        if self._last:
            self._print("In all: " + ", ".join(f"{what} {n}" for what, n in self._last.flow) + ".")

    def show(self, now: Snapshot) -> None:
        """Update the display."""
        self._last = now
        if self._live:
            self._live.update(self._picture(now), refresh=True)
        else:
            self._plain(now)

    # -- plain lines -------------------------------------------------------------------------------

    def _plain(self, now: Snapshot) -> None:
        for line in self._news(now.results):
            self._print(f"{now.elapsed:6.1f} s  {line}")
        if now.elapsed >= self._next_line:
            self._next_line = now.elapsed + PLAIN_SECONDS
            running = list(now.states.values()).count("running")
            flow = ", ".join(f"{what} {n}" for what, n in now.flow if what != "strong")
            queued = sum(now.depths.values())
            self._print(
                f"{now.elapsed:6.1f} s  {running}/{len(now.states)} up; {flow}, queued {queued}"
            )

    def _news(self, results: Results) -> Iterator[str]:
        """Yield a line for each burst that was found, and for each arrival."""
        outcome, deliveries = results.outcome, results.deliveries
        for number, truth in enumerate(results.truths, 1):
            found = outcome.found[number - 1]
            if found and self._is_new(number, "found"):
                at = truth.burst.time_s
                yield f"burst {number} at {at:.2f} s found: DM {found.dm:.1f}, S/N {found.snr:.1f}"
            for channel, one in deliveries.by_burst[number - 1].items():
                if one.arrivals and self._is_new(number, channel):
                    yield f"burst {number}: {channel} {one.arrivals[0].what}"

    def _is_new(self, number: int, what: str) -> bool:
        new = (number, what) not in self._announced
        self._announced.add((number, what))
        return new

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    # -- the live display --------------------------------------------------------------------------

    def _picture(self, now: Snapshot) -> RenderableType:
        left = max(0.0, self._duration - now.elapsed)
        progress = Table.grid(padding=(0, 2), expand=True)
        progress.add_column()
        progress.add_column(ratio=1)
        progress.add_column(justify="right")
        elapsed = min(max(now.elapsed, 0.0), self._duration)
        bar = ProgressBar(total=self._duration, completed=elapsed)
        progress.add_row(now.phase, bar, f"{left:.0f} s left")

        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim")
        rows.add_column()
        rows.add_row("services", _services(now.states))
        rows.add_row("AMBER", Text(" > ").join(_number(n, what) for what, n in now.flow[:3]))
        rows.add_row("results", Text(" > ").join(_number(n, what) for what, n in now.flow[3:]))
        queued = [_number(n, queue) for queue, n in now.depths.items()]
        rows.add_row("queues", Text(", ").join(queued) if queued else Text("all empty", "dim"))

        bursts = live_table(now.results, now.elapsed)
        title = "DARC demo: a node at work"
        return Panel(Group(progress, "", rows, bursts), title=title, border_style="blue")


def _services(states: Mapping[str, str]) -> Text:
    text = Text()
    for number, (name, state) in enumerate(states.items()):
        text.append("  " if number else "")
        # No break within a name and its state.
        shown = name if state == "running" else f"{name}:\u00a0{state}"
        text.append(shown, COLOURS.get(state, "red"))
    return text


def _number(number: int, what: str) -> Text:
    return Text.assemble((f"{number}", "bold"), f" {what}")
