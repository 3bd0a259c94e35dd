"""Tables of the demo: its bursts, the triggers found, and the deliveries."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from darc.config.records import Struct
from simulator.demo_bursts import SEARCH, BurstOutcomes, FoundTrigger
from simulator.demo_deliveries import BurstDeliveries, Channel, Delivery
from simulator.generator import Truth

SHORT = {
    Channel.IQUV: "dump",
    Channel.LOFAR: "LOFAR",
    Channel.VOEVENT: "VOEvent",
    Channel.MAIL: "e-mail",
}
NONE = Text("—", "dim")


class Results(Struct, frozen=True):
    """Results of the injected bursts until now."""

    truths: Sequence[Truth]
    outcome: BurstOutcomes
    deliveries: BurstDeliveries

    @property
    def complete(self) -> bool:
        """Whether all bursts were found, and all expected deliveries arrived."""
        return self.outcome.complete and self.deliveries.complete


def live_table(results: Results, elapsed: float) -> Table:
    """Return a table of the present results, one row per burst.

    :param elapsed: s since the observation's start
    """
    table = _table("#", "time/s", "DM", "S/N")
    table.add_column("found", min_width=5, no_wrap=True)
    for channel in Channel:
        table.add_column(SHORT[channel], min_width=7, no_wrap=True)
    for number, truth in enumerate(results.truths, 1):
        found = results.outcome.found[number - 1]
        row = results.deliveries.by_burst[number - 1]
        pending = Text("later", "dim") if elapsed < truth.burst.time_s else Text("...", "yellow")
        table.add_row(
            *_burst(number, truth)[:4],
            Text("yes", "bold green") if found else pending,
            *(_live_cell(row.get(channel)) for channel in Channel),
        )
    return table


def found_table(results: Results) -> Table:
    """Return a table of the injected bursts, and the triggers found."""
    table = _table("#", "time/s", "DM", "S/N", "ms wide", "beam")
    table.add_column("found", min_width=5, no_wrap=True)
    for name in ("DM", "S/N"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("trigger", no_wrap=True, style="dim")
    for number, (truth, found) in enumerate(
        zip(results.truths, results.outcome.found, strict=True), 1
    ):
        table.add_row(*_burst(number, truth), *_found(found))
    return table


def delivery_table(results: Results) -> Table:
    """Return a table of the deliveries of each burst, with latencies."""
    table = _table("#")
    for channel in Channel:
        table.add_column(channel, no_wrap=True)
    for number, row in enumerate(results.deliveries.by_burst, 1):
        lofar = row[Channel.LOFAR]
        cells = [_cell(row[one]) if one in row else _no_server(lofar) for one in Channel]
        table.add_row(str(number), *cells)
    return table


def _table(*numbers: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _burst(number: int, truth: Truth) -> tuple[str, ...]:
    burst = truth.burst
    return (
        str(number),
        f"{burst.time_s:.2f}",
        f"{burst.dm:.1f}",
        f"{burst.snr:.1f}",
        f"{burst.width_samples * SEARCH.tsamp * 1e3:.2f}",
        str(burst.beam),
    )


def _found(found: FoundTrigger | None) -> tuple[str | Text, ...]:
    if found is None:
        return (Text("NO", "bold red"),)
    return Text("yes", "bold green"), f"{found.dm:.1f}", f"{found.snr:.1f}", found.identity


def _live_cell(delivery: Delivery | None) -> Text:
    if delivery is None or not (delivery.wanted or delivery.arrivals):
        return NONE
    if delivery.good:
        return Text(f"{delivery.latency:.2f} s", "green")
    return Text("WRONG", "bold red") if delivery.arrivals else Text("")


def _cell(delivery: Delivery) -> Text:
    """Return the cell of a delivery."""
    if not delivery.arrivals:
        return Text("NO", "bold red") if delivery.wanted else NONE
    first = delivery.arrivals[0]
    times = f"{delivery.latency:.2f} ({delivery.own_latency * 1e3:.0f})"
    if delivery.good:
        return Text.assemble((first.what, "green"), f" {times}")
    often = f"{len(delivery.arrivals)} times " if len(delivery.arrivals) > 1 else ""
    wrong = "" if delivery.wanted else "UNWANTED "
    return Text(f"{wrong}{often}{first.what} {times}", "bold red")


def _no_server(lofar: Delivery) -> Text:
    return Text("no mail server", "yellow") if lofar.wanted else NONE
