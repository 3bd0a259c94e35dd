"""Lists and tables of candidates, read as astronomers do: astropy, numpy, TOPCAT's rules."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from astropy.table import Table

from darc.candidates.clusters import write_clusters
from darc.candidates.results.ecsv_tables import write_candidate_table
from darc.candidates.results.trigger_lists import write_triggers
from darc.model.arrival import ArrivalReference
from darc.model.processing_outcome import Detection, ListedCandidate

ROWS = [
    ListedCandidate(
        snr=23.4, dm=560.0, time=123.4567, downsampling=41, beam=35, probability=0.97, cb=12
    ),
    ListedCandidate(snr=11.0, dm=57.0, time=1.5, downsampling=2, beam=0, probability=0.51, cb=12),
]
PULSES = [
    Detection(beam=one.beam, downsampling=one.downsampling, time=one.time, dm=one.dm, snr=one.snr)
    for one in ROWS
]


def test_the_list_of_candidates_is_text_with_a_header(tmp_path: Path) -> None:
    path = tmp_path / "CB12_triggers.txt"
    write_triggers(path, ROWS)
    table = Table.read(path, format="ascii.commented_header")
    assert table.colnames == ["cb", "snr", "dm", "time", "downsamp", "sb", "p"]
    assert sorted(table["dm"]) == [57.0, 560.0]
    assert np.loadtxt(path).shape == (2, 7)


def test_the_list_of_clusters_is_text_with_a_header(tmp_path: Path) -> None:
    path = tmp_path / "grouped_pulses.singlepulse"
    write_clusters(path, PULSES)
    table = Table.read(path, format="ascii.commented_header")
    assert table.colnames == ["snr", "dm", "time", "downsamp", "sb"]
    assert sorted(table["downsamp"]) == [2, 41]
    assert np.loadtxt(path).shape == (2, 5)


def test_the_table_is_ecsv_and_csv(tmp_path: Path) -> None:
    path = tmp_path / "CB12_triggers.ecsv"
    arrival = ArrivalReference(frequency=1500.0, start=1.5e9, tsamp=1e-4, telescope="WSRT")
    write_candidate_table(path, ROWS, arrival, {"YMW16": 43.214, "NE2025": 50.0})
    table = Table.read(path)
    assert str(table["time"].unit) == "s"
    assert sorted(table["dm"]) == [57.0, 560.0]
    assert table.meta["galactic_dm_YMW16"] == 43.21
    assert table.meta["galactic_dm_NE2025"] == 50.0
    # TOPCAT takes ECSV by its first line; a reader of CSV needs no more than to skip comments.
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# %ECSV ")
    delimiter = " " if "delimiter" not in path.read_text() else ","
    rows = list(
        csv.DictReader((line for line in lines if not line.startswith("#")), delimiter=delimiter)
    )
    assert sorted(float(row["dm"]) for row in rows) == [57.0, 560.0]
