"""Numbers that DARC gives, beside those of an oracle that is not its own.

    python tests/numbers/run_numbers.py [--size 1] [--parts bursts interference …] [--jobs 2]
        [--output DIR] [--page docs/accuracy.md] [--again]

For each part DIR gets a file of lines of JSON, one per burst or piece, and its tables; they go into
the page, too, where one is named. docs/accuracy.md says what they mean.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import tables
from bursts import TRIGGERS, Cell, measured_series
from cells import KINDS, Series, all_series
from interference import KINDS as INTERFERENCE
from pieces import Piece, measured_piece
from searches import (
    NOISES,
    SEARCHED,
    Found,
    Noise,
    Sampled,
    searched_file,
    searched_noise,
    searched_sample,
)


def _cells(series: Series) -> list[Cell]:
    triggers = TRIGGERS if KINDS[series.kind].clean else ("off",)
    return list(measured_series(series, triggers=triggers))


def _pieces(which: tuple[str, int]) -> list[Piece]:
    return list(measured_piece(*which))


class Run:
    """What was asked for."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.size: float = options.size
        self.jobs: int = options.jobs
        self.output: Path = options.output
        self.page: Path | None = options.page
        self.again: bool = options.again

    def each(
        self, kind: type[Any], do: Callable[[Any], list[Any]], what: Iterable[Any], name: str
    ) -> list[Any]:
        """Do something with each, side by side, and keep what came of it."""
        todo, found, began = list(what), [], time.monotonic()
        path = self.output / f"{name}.jsonl"
        if self.again:
            return [kind(**json.loads(line)) for line in path.read_text().splitlines()]
        with path.open("w") as file:
            for number, results in enumerate(self._map(do, todo), 1):
                found += results
                file.writelines(json.dumps(one.plain()) + "\n" for one in results)
                file.flush()
                if sys.stderr.isatty():
                    print(f"\r{name}: {number} of {len(todo)}", end="", file=sys.stderr)
        print(f"{name}: {len(found)} results in {time.monotonic() - began:.0f} s", file=sys.stderr)
        return found

    def _map(self, do: Callable[[Any], list[Any]], todo: list[Any]) -> Iterator[list[Any]]:
        if self.jobs == 1:
            yield from map(do, todo)
            return
        with multiprocessing.get_context("spawn").Pool(self.jobs) as pool:
            yield from pool.imap(do, todo)

    def tell(self, name: str, text: str) -> None:
        """Print a part's tables, and write them to a file of their own and into the page."""
        text = f"Size {self.size:g}, {date.today():%Y-%m-%d}.\n\n{text}"
        print(text, flush=True)
        (self.output / f"{name}.md").write_text(text)
        if self.page is not None:
            begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
            before, rest = self.page.read_text().split(begin)
            self.page.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}")


def _text(cells: list[Cell]) -> str:
    clean = [cell for cell in cells if KINDS[cell.kind].clean]
    right, off = ([cell for cell in clean if cell.trigger == name] for name in TRIGGERS)
    all_off = [cell for cell in cells if cell.trigger == "off"]
    down = tables.falls(clean)
    worst = max(down, key=lambda pair: pair[0].snr_best - pair[1].snr_best, default=None)
    said = f"Brighter than the one before, but measured weaker: {len(down)} of {len(clean)}."
    if worst:
        said += f" The worst: {worst[0].name}: {worst[0].snr_best:.1f}; {worst[1].asked:g}:"
        said += f" {worst[1].snr_best:.1f}."
    return "\n".join(
        [
            "By instrument, no interference, the trigger right:\n",
            tables.of_bursts(right, lambda cell: cell.instrument, "instrument"),
            "The trigger as far off as a search's may be:\n",
            tables.of_bursts(off, lambda cell: cell.instrument, "instrument"),
            "By kind, the trigger off:\n",
            tables.of_bursts(all_off, lambda cell: cell.kind, "kind"),
            "By S/N asked for, no interference, the trigger off:\n",
            tables.of_bursts(off, lambda cell: f"{cell.asked:g}", "S/N"),
            said,
        ]
    )


def bursts(run: Run) -> str:
    return _text(run.each(Cell, _cells, all_series(run.size), "bursts"))


def interference(run: Run) -> str:
    count = max(1, math.ceil(run.size * 1000 / len(INTERFERENCE)))
    which = [(kind, seed) for kind in INTERFERENCE for seed in range(count)]
    return tables.of_pieces(run.each(Piece, _pieces, which, "interference"))


def search(run: Run) -> str:
    return tables.of_searches(run.each(Found, searched_file, SEARCHED, "search"))


def noise(run: Run) -> str:
    minutes = max(1, round(run.size * 5))
    which = [(name, seed) for name in NOISES for seed in range(minutes)]
    return tables.of_noise(run.each(Noise, searched_noise, which, "noise"))


def samples(run: Run) -> str:
    """Real files, beside the checkout where there are."""
    directory = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "filterbank"
    files = sorted(directory.glob("*.fil"))
    found = run.each(Sampled, searched_sample, files, "samples")
    said = dict.fromkeys(f"{one.file}: {one.said}" for one in found)
    return "\n\n".join([*said, tables.of_samples(found)])


PARTS = {one.__name__: one for one in (bursts, interference, search, noise, samples)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size", type=float, default=1.0, help="1: about a quarter of an hour of two cores"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path(".make/numbers"))
    parser.add_argument("--page", type=Path, help="into which tables go: docs/accuracy.md")
    parser.add_argument("--again", action="store_true", help="tables of what DIR has already")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    run = Run(options)
    for part in options.parts:
        run.tell(part, PARTS[part](run))


if __name__ == "__main__":
    main()
