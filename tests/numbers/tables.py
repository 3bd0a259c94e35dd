"""Tables in Markdown of what was measured."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, pairwise
from operator import attrgetter
from statistics import median

from bursts import Cell
from darc_side import CLEANINGS
from pieces import Piece
from searches import LIMITS, Found, Noise, Sampled, expected_per_hour

#: Above this S/N, none may be below the least part of the matched filter's.
BRIGHT, LEAST, NEAR = 10.0, 0.85, 0.05


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)]) + "\n"


def percentile(values: Sequence[float], part: float) -> float:
    """NaN counts as the worst."""
    ordered = sorted(-math.inf if math.isnan(value) else value for value in values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def of_bursts(cells: Sequence[Cell], by: Callable[[Cell], str], head: str) -> str:
    """A row for each value of `by`."""
    rows = []
    for name in dict.fromkeys(map(by, cells)):
        some = [cell for cell in cells if by(cell) == name]
        bright = [cell for cell in some if cell.matched > BRIGHT] or some
        ratios = [cell.ratio for cell in bright]
        there = [cell for cell in bright if not math.isnan(cell.snr)]
        worst = min(bright, key=lambda cell: cell.ratio if cell.ratio == cell.ratio else -1)
        kept = sum(cell.fate == "kept" for cell in bright)
        rows.append(
            (
                name,
                len(some),
                f"{percentile(ratios, 0.5):.3f}",
                f"{percentile(ratios, 0.05):.3f}",
                f"{sum(ratio >= LEAST for ratio in ratios)}/{len(ratios)}",
                f"{worst.ratio:.3f} ({worst.name}: {worst.fate})",
                f"{percentile([cell.listed for cell in bright], 0.5):.3f}",
                f"{median(abs(cell.dm_off) for cell in there):.2f}" if there else "",
                f"{percentile([abs(cell.late) for cell in there], 0.95):.2f}" if there else "",
                f"{median(cell.found_width / cell.true_width for cell in there):.2f}"
                if there
                else "",
                f"{kept}/{len(bright)}",
            )
        )
    return table(
        (
            *(head, "bursts", "S/N: median", "5 %", f"≥ {LEAST}", "worst", "listed"),
            *("DM off, median", "arrival off, 95 %", "width", "kept"),
        ),
        rows,
    )


def falls(cells: Sequence[Cell]) -> list[tuple[Cell, Cell]]:
    """Neighbours in a series of which the brighter is measured weaker.

    Where the file is saturated, the noise of both may differ by more than their S/N: by 2 % or 0.5.
    """
    found = []
    by_series = attrgetter("instrument", "kind", "width", "trigger")
    ordered = sorted(cells, key=lambda cell: (*by_series(cell), cell.asked))
    for _, some in groupby(ordered, key=by_series):
        series = list(some)
        for before, after in pairwise(series):
            least = min(0.98 * before.snr_best, before.snr_best - 0.5)
            if not after.snr_best >= least:
                found.append((before, after))
    return found


def of_pieces(pieces: Sequence[Piece]) -> str:
    """Kept, by kind and cleaning."""
    rows = []
    kinds = list(dict.fromkeys(piece.kind for piece in pieces))
    for kind in [*kinds, "all"]:
        row: list[object] = [kind]
        for cleaning in CLEANINGS:
            some = [
                piece
                for piece in pieces
                if kind in (piece.kind, "all") and piece.cleaning == cleaning
            ]
            fates = Counter(piece.fate for piece in some)
            if cleaning == CLEANINGS[0]:
                row.append(len(some))
            row.append(
                f"{fates['kept']} ({fates['too weak']}, {fates['stronger at DM 0']},"
                f" {fates['unlikely']})"
                + (f" {fates['failed'] + fates['not in data']}" if fates["failed"] else "")
            )
        rows.append(row)
    return table(("kind", "pieces", *CLEANINGS), rows)


def of_searches(found: Sequence[Found]) -> str:
    """A row for each burst."""
    return table(
        (
            *("file", "S/N in the file", "of the search", "listed", "ratio"),
            *("DM off", "start off, widths", "width", "clusters", "kept"),
        ),
        [
            (
                f"{one.instrument}, {one.kind}, {one.width}",
                *(f"{one.seen:.1f}", f"{one.snr_searched:.1f}", f"{one.snr:.1f}"),
                f"{one.snr / one.seen:.3f}",
                *(f"{one.dm_off:.2f}", f"{one.late_widths:.2f}"),
                f"{one.found_width} ({one.true_width})",
                *(one.clusters, one.kept),
            )
            for one in found
        ],
    )


def of_noise(noise: Sequence[Noise]) -> str:
    """Listed and kept per hour, above each limit of the search's S/N."""
    rows = []
    for name in dict.fromkeys(one.noise for one in noise):
        some = [one for one in noise if one.noise == name]
        hours = sum(one.seconds for one in some) / 3600
        for limit in LIMITS:
            listed, kept = (
                sum(snr >= limit for one in some for snr in getattr(one, which))
                for which in ("listed", "kept")
            )
            low, high = expected_per_hour(limit)
            rows.append(
                (
                    *(name.replace("_", " "), f"{hours * 60:.0f}", f"{limit:g}"),
                    *(f"{listed} ({listed / hours:.1f})", f"{kept} ({kept / hours:.1f})"),
                    f"{low:.2g} to {high:.2g}",
                )
            )
    return table(
        ("noise", "minutes", "S/N ≥", "listed (per hour)", "kept (per hour)", "Gaussian, per hour"),
        rows,
    )


def of_samples(samples: Sequence[Sampled]) -> str:
    """A row for each candidate of a real file; empty where there are none."""
    found = [one for one in samples if one.kept != "none"]
    if not found:
        return ""
    return table(
        ("file", "DM", "time (s)", "width", "kept", "S/N listed", "oracle", "oracle at DM 0"),
        [
            (
                *(one.file, one.dm, one.time, one.width, one.kept, one.snr),
                *(f"{one.oracle:.1f}", f"{one.oracle_dm0:.1f}"),
            )
            for one in found
        ],
    )
