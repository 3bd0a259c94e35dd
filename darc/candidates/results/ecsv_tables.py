"""Lists with units, time references and metadata, in addition to those of a fixed format.

ECSV, Enhanced Character-Separated Values (astropy's APE 6), is a text table with a YAML header,
which `astropy.table.Table.read` reads completely, and other readers as a plain table with comments.
Arrival times are as in the corresponding list, and also as UTC and MJD; widths are also in ms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from darc.config.records import Struct, asdict
from darc.config.yaml_tree import yaml_text
from darc.model.arrival import ArrivalReference
from darc.model.processing_outcome import Detection, ListedCandidate
from darc.runtime.paths import write_whole

SUFFIX = ".ecsv"


class _Column(Struct, frozen=True):
    """A column as the header describes it; empty texts are left out there."""

    name: str
    unit: str
    datatype: str
    description: str = ""


def _columns(arrival: ArrivalReference) -> tuple[_Column, ...]:
    at = f"at {arrival.frequency:.6f} MHz, {arrival.frame}"
    return (
        _Column("snr", "", "float64", "signal to noise"),
        _Column("dm", "pc / cm3", "float64", "of the search"),
        _Column("time", "s", "float64", f"of arrival {at}; since the first sample"),
        _Column("utc", "", "string", f"of arrival {at}; empty: not known"),
        _Column("mjd", "d", "float64", f"of arrival {at}, {arrival.scale}; empty: not known"),
        _Column("downsamp", "", "int64", "width, samples of sampling_time_s"),
        _Column("width", "ms", "float64"),
        _Column("sb", "", "int64", "synthesised or tied-array beam"),
    )


def write_candidate_table(
    path: Path,
    rows: Iterable[ListedCandidate],
    arrival: ArrivalReference,
    dms_galaxy: Mapping[str, float] | None = None,
) -> None:
    """Write a table of candidates, in the given order.

    :param dms_galaxy: maximum DM of the Milky Way in the beam's direction by each model, pc cm-3

    :raises OSError: the file cannot be written
    """
    columns = (
        _Column("cb", "", "int64", "compound beam"),
        *_columns(arrival),
        _Column("p", "", "float64", "probability of a burst, by frequency and time"),
    )
    lines = [[str(row.cb), *_words(row, arrival), _number(row.probability, 4)] for row in rows]
    galaxy = {f"galactic_dm_{model}": round(dm, 2) for model, dm in (dms_galaxy or {}).items()}
    _write(path, columns, lines, arrival, galaxy)


def write_cluster_table(path: Path, pulses: Iterable[Detection], arrival: ArrivalReference) -> None:
    """Write a table of clusters, sorted by time.

    :raises OSError: the file cannot be written
    """
    in_order = sorted(pulses, key=lambda pulse: (pulse.time, pulse.dm))
    lines = [_words(pulse, arrival) for pulse in in_order]
    _write(path, _columns(arrival), lines, arrival)


def _words(row: ListedCandidate | Detection, arrival: ArrivalReference) -> list[str]:
    mjd = arrival.mjd(row.time)
    return [
        _number(row.snr, 3),
        _number(row.dm, 4),
        _number(row.time, 6),
        arrival.utc(row.time) or '""',
        '""' if mjd is None else _number(mjd, 11),
        str(row.downsampling),
        f"{arrival.width_ms(row.downsampling):.6g}",
        str(row.beam),
    ]


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "nan"


def _write(
    path: Path,
    columns: Sequence[_Column],
    lines: Iterable[Sequence[str]],
    arrival: ArrivalReference,
    more: Mapping[str, float] | None = None,
) -> None:
    about = [{key: text for key, text in asdict(one).items() if text} for one in columns]
    known = {name: value for name, value in arrival.to_plain().items() if value is not None}
    header = {"datatype": about, "meta": known | dict(more or {}), "schema": "astropy-2.0"}
    # One line per value: comments must not be wrapped.
    text = yaml_text(header, width=10_000)
    remarks = ["%ECSV 1.0", "---", *text.splitlines()]
    rows = [" ".join(one.name for one in columns), *map(" ".join, lines)]
    write_whole(path, "\n".join([*(f"# {remark}" for remark in remarks), *rows]) + "\n")
