"""Tables of what a classifier keeps of the test instruments, by instrument and by kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct
from training.calibration import PRIOR, brier_score, calibration_error, reliability
from training.drawn_bursts import BURSTS
from training.examples import INTERFERENCE
from training.feature_tables import FeatureTable
from training.population import InstrumentClass

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: Default thresholds of the configuration.
THRESHOLD_FREQ_TIME, THRESHOLD_DM_TIME = 0.5, 0.0

BEGIN, END = "<!-- begin tables -->", "<!-- end tables -->"

_THRESHOLDS = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9)


class Scored(Struct, frozen=True, eq=False):
    """Examples, one of each piece of data, and their probabilities.

    :param freq_time: from both arrays, shape (n,)
    :param dm_time: from the DM-time array, shape (n,)
    """

    table: FeatureTable
    freq_time: Doubles
    dm_time: Doubles

    @property
    def kept(self) -> Mask:
        """Whether it is kept at the default thresholds, shape (n,)."""
        return (self.freq_time > THRESHOLD_FREQ_TIME) & (self.dm_time > THRESHOLD_DM_TIME)

    def __getitem__(self, some: Mask) -> Scored:
        return Scored(self.table[some], self.freq_time[some], self.dm_time[some])


def share(kept: Mask) -> str:
    """Format how many of some are kept: per cent, its binomial uncertainty, and counts.

    The uncertainty is the standard deviation of the posterior of a flat prior, which is above 0
    where none or all are kept.

    :param kept: shape (n,)
    """
    n, k = len(kept), int(np.count_nonzero(kept))
    if not n:
        return "none"
    error = np.sqrt((k + 1) * (n - k + 1) / (n + 2) ** 2 / (n + 3))
    return f"{100 * k / n:.1f} ± {100 * error:.1f} % ({k}/{n})"


def report(
    tested: Mapping[str, Scored],
    shipped: Scored,
    crossed: Scored,
    classes: Mapping[int, InstrumentClass],
) -> str:
    """Return all tables as Markdown.

    :param tested: what classifiers make of examples they were not trained on, by name
    :param shipped: the test instruments, by the classifier that is shipped
    :param crossed: all instruments, each by a classifier that has not seen it
    :param classes: of the instruments, by number
    """
    return "\n\n".join(
        [
            f"{len(classes)} drawn instruments. Each number: kept of how many, with the binomial "
            "standard deviation.",
            _table(
                _by_threshold(tested),
                "classifier, instruments",
                "threshold",
                "ARTS: bursts",
                "S/N ≥ 10",
                "interference",
                "drawn: bursts",
                "S/N ≥ 10",
                "interference",
            ),
            "All instruments, each by a classifier that has been neither trained nor calibrated "
            f"with it, at the threshold of {THRESHOLD_FREQ_TIME:g}:",
            _table(
                _by_class(crossed, classes),
                "instruments",
                "number",
                "bursts",
                "bursts of S/N ≥ 10",
                "interference",
            ),
            _table(_by_kind(crossed), "kind", "ARTS", "drawn", "drawn, S/N ≥ 10"),
            _table(_by_number(crossed), "bursts", "ARTS", "drawn"),
            f"Calibration, where one candidate in {1 / PRIOR:g} is a burst:",
            _table(
                _by_probability(crossed),
                "probability",
                "bursts",
                "interference",
                "mean probability",
                "are bursts",
            ),
            f"Brier score (of the constant {PRIOR:.2f}: {PRIOR * (1 - PRIOR):.2f}) and expected "
            "calibration error:",
            _table(
                _calibration({"shipped, test instruments": shipped, "all instruments": crossed}),
                "examples",
                "instruments",
                "probability",
                "Brier",
                "ECE",
            ),
        ]
    )


def write_report(page: Path, text: str) -> None:
    """Replace the tables of a page.

    :raises ValueError: the page has no place for them
    """
    old = page.read_text(encoding="utf-8")
    if old.count(BEGIN) != 1 or old.count(END) != 1:
        raise ValueError(f"{page}: no place for tables; wanted: one line {BEGIN}, and one {END}")
    before, rest = old.split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def _table(rows: Iterable[tuple[str, ...]], *titles: str) -> str:
    lines = [titles, ("---",) * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _by_threshold(tested: Mapping[str, Scored]) -> Iterator[tuple[str, ...]]:
    for name, one in tested.items():
        for threshold in _THRESHOLDS:
            kept = one.freq_time > threshold
            row = [name, f"{threshold:g}"]
            for arts in (True, False):
                some = one.table.arts == arts
                bursts = some & one.table.is_burst
                strong = bursts & (one.table.snr >= 10)
                row += [share(kept[part]) for part in (bursts, strong, some & ~one.table.is_burst)]
            yield tuple(row)


def _by_class(scored: Scored, classes: Mapping[int, InstrumentClass]) -> Iterator[tuple[str, ...]]:
    table, kept = scored.table, scored.kept

    def row(name: str, number: str, some: Mask) -> tuple[str, ...]:
        bursts = some & table.is_burst
        return (
            name,
            number,
            share(kept[bursts]),
            share(kept[bursts & (table.snr >= 10)]),
            share(kept[some & ~table.is_burst]),
        )

    yield row("ARTS", "1", table.arts)
    yield row("drawn, all", str(len(classes)), ~table.arts)
    for name in InstrumentClass.__struct_fields__:
        of = {number: str(getattr(one, name)) for number, one in classes.items()}
        for value in sorted(set(of.values()), key=_first_number):
            numbers = [number for number, one in of.items() if one == value]
            some = ~table.arts & np.isin(table.instrument, numbers)
            yield row(value, str(len(numbers)), some)


def _first_number(text: str) -> float:
    return float(text.split(maxsplit=1)[0])


def _by_kind(scored: Scored) -> Iterator[tuple[str, ...]]:
    table, kept = scored.table, scored.kept
    for kind in (*BURSTS, *INTERFERENCE):
        some = table.kind == kind
        drawn = some & ~table.arts
        yield (
            kind.replace("_", " ") + (" (burst)" if kind in BURSTS else ""),
            share(kept[some & table.arts]),
            share(kept[drawn]),
            share(kept[drawn & (table.snr >= 10)]),
        )


def _by_number(scored: Scored) -> Iterator[tuple[str, ...]]:
    """By S/N, and by the delay across the band."""
    table, kept = scored.table, scored.kept
    ranges: tuple[tuple[str, Doubles, tuple[float, ...]], ...] = (
        ("S/N", table.true_snr, (7, 10, 15, 30, 100, 1000)),
        ("delay across the band, widths", table.delay, (0, 1, 2, 5, 20, np.inf)),
    )
    for name, values, edges in ranges:
        for low, high in pairwise(edges):
            some = table.is_burst & (values >= low) & (values < high)
            upper = f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} and more"
            yield f"{name} {upper}", share(kept[some & table.arts]), share(kept[some & ~table.arts])


def _by_probability(scored: Scored) -> Iterator[tuple[str, ...]]:
    for one in reliability(scored.freq_time, scored.table.is_burst):
        yield (
            f"{one.low:g} to {one.high:g}",
            str(one.n_bursts),
            str(one.n_interference),
            f"{one.predicted:.3f}",
            f"{one.observed:.3f} ± {one.error:.3f}",
        )


def _calibration(parts: Mapping[str, Scored]) -> Iterator[tuple[str, ...]]:
    for part, scored in parts.items():
        for whose, arts in (("ARTS", True), ("drawn", False)):
            some = scored[scored.table.arts == arts]
            truth = some.table.is_burst
            for name, values in (("both arrays", some.freq_time), ("DM-time", some.dm_time)):
                error = calibration_error(reliability(values, truth))
                yield part, whose, name, f"{brier_score(values, truth):.4f}", f"{error:.4f}"
