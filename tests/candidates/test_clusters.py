"""From candidates to clusters: limits, and independence of the order and batches they come in."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beams import settings
from hypothesis import given
from hypothesis import strategies as st

from darc.candidates import cluster_table as books
from darc.candidates.cluster_boxes import ClusterBoxes
from darc.candidates.cluster_table import ClusterRow, ClusterTable
from darc.candidates.clusters import find_clusters, usable, write_clusters
from darc.config.settings import ProcessorClustering
from darc.model.candidate import CANDIDATE, Records
from darc.model.counters import Rejection
from darc.model.processing_outcome import ClusterOutcome, Detection, ListedCandidate
from darc.science.same_burst import Scales

#: s per pc cm-3 across the band of ARTS, from the formula.
DELAY = 4.148808e3 * (1219.70092**-2 - 1519.70092**-2)


def boxes(rules: ProcessorClustering, widest_narrow: float = 100.0) -> ClusterBoxes:
    return ClusterBoxes(rules.clustering_window, 10_000.0, widest_narrow, Scales(81.92e-6, DELAY))


BOXES = boxes(settings().clustering)


def candidates(*rows: tuple[Any, ...]) -> Records:
    """Of beam, downsampling, time, DM and S/N."""
    return np.array(list(rows), dtype=CANDIDATE)


def clusters(found: Records, n_beams: int | None = None, **keys: Any) -> Records:
    rules = settings(**keys).clustering
    kept, _ = usable(found, rules.snr_min_clustering, n_beams)
    return find_clusters(kept, rules, n_beams=n_beams, boxes=boxes(rules))[0]


def test_snr_is_asked_for_twice():
    found = candidates((0, 1, 1.0, 100, 7.9), (0, 1, 2.0, 100, 9.0), (0, 1, 3.0, 100, 10.0))
    assert clusters(found)["time"].tolist() == [3.0]
    assert usable(found, settings().clustering.snr_min_clustering, None)[1] == {Rejection.WEAK: 1}
    assert clusters(found, snr_min=8)["time"].tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    ("keys", "dms"),
    [
        ({}, [20.0, 300.0]),
        ({"dm_min": -1}, [5.0, 20.0, 300.0]),
        ({"dm_max": 299.9}, [20.0]),
        ({"dm_max": 300}, [20.0, 300.0]),
        ({"width_max": 10}, [300.0]),
        ({"width_max": -1}, [20.0, 300.0]),
    ],
)
def test_limits_and_none(keys, dms):
    found = candidates((0, 1, 1, 5, 20), (0, 11, 2, 20, 20), (0, 10, 3, 300, 20))
    assert sorted(clusters(found, **keys)["dm"].tolist()) == dms


def test_beams_that_do_not_exist_are_counted():
    found = candidates((70, 1, 1, 100, 20), (71, 1, 2, 100, 20))
    assert clusters(found, n_beams=71)["beam"].tolist() == [70]
    assert usable(found, settings().clustering.snr_min_clustering, 71)[1] == {Rejection.FOREIGN: 1}


def test_the_filter_on_synthesised_beams():
    once = candidates((3, 1, 1, 100, 20))
    with_period = candidates(*((beam, 1, 1, 100, 20) for beam in range(3, 71, 12)))
    assert len(clusters(once, 71)) == len(clusters(with_period, 71)) == 1
    assert len(clusters(once, 71, sb_filter=True)) == 0
    assert len(clusters(with_period, 71, sb_filter=True)) == 1
    assert len(clusters(once, None, sb_filter=True)) == 1  # searched in TABs


_ROW = st.tuples(
    st.integers(0, 3),
    st.sampled_from([1, 5, 250]),
    st.floats(0, 3, width=32),
    st.sampled_from([19.0, 25.0, 30.0, 700.0]),
    st.sampled_from([9.0, 10.0, 11.0, 12.0]),
)


@given(rows=st.lists(_ROW, max_size=30), parts=st.lists(st.integers(0, 30)), order=st.randoms())
def test_clusters_do_not_depend_on_how_candidates_come(rows, parts, order):
    """Which is why a late line, or a process that died, changes nothing in the end."""
    # What is beyond the limits hides what is weaker in its box, before it comes and after that.
    rules = settings(width_max=100).clustering

    def news(book: ClusterTable, some: list[tuple[Any, ...]]) -> dict[str, ClusterRow]:
        kept, _ = usable(candidates(*some), rules.snr_min_clustering, None)
        return book.changes(*find_clusters(kept, rules, n_beams=None, boxes=boxes(rules)))[0]

    whole = ClusterTable({}, 0, BOXES)
    whole.enter(news(whole, rows))
    shuffled = list(rows)
    order.shuffle(shuffled)
    in_parts, memory = ClusterTable({}, 0, BOXES), dict[str, Any]()
    edges = [0, *sorted(parts), 30]
    for first, end in itertools.pairwise(edges):
        rows_of_part = news(in_parts, shuffled[first:end])
        in_parts.enter(rows_of_part)
        memory |= ClusterTable.memory(rows_of_part)
    assert dict(in_parts.items()) == dict(whole.items())
    again = ClusterTable(memory, 0, BOXES)
    assert dict(again.items()) == dict(whole.items())
    assert (
        len(in_parts) == len(again) == in_parts.n_open == again.n_open == len(dict(whole.items()))
    )


def test_the_list_of_clusters(tmp_path: Path):
    path = tmp_path / "below" / "grouped_pulses.singlepulse"
    write_clusters(
        path, [Detection(3, 20, 12.34567, 56.789, 18.4666), Detection(0, 1, 1.0, 500.0, 10.0)]
    )
    assert path.read_text() == (
        "#snr dm time downsamp sb\n10.00 500.00 1.000 1 0\n18.47 56.79 12.346 20 3\n"
    )


# -- rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        ClusterRow(Detection(3, 20, 12.3, 56.7, 18.4)),
        ClusterRow(Detection(3, 20, 12.3, 56.7, 18.4), ClusterOutcome.NOT_IN_DATA),
        ClusterRow(
            Detection(3, 20, 12.3, 56.7, 18.4),
            ClusterOutcome.KEPT,
            "TOA.hdf5",
            ListedCandidate(7, 17.5, 56.7, 12.31, 25, 3, 0.75),
        ),
    ],
)
def test_rows_there_and_back(row):
    assert ClusterRow.from_plain(row.to_plain(), cb=7) == row


def test_a_book_is_made_again_of_what_is_remembered():
    book = ClusterTable({}, 0, BOXES)
    pulses = Detection(0, 1, 1.0, 500.0, 10.0), Detection(0, 250, 2.0, 5.0, 9.0)
    book.enter({"2.6.0": ClusterRow(pulses[0]), "4.0.0w": ClusterRow(pulses[1])})
    book.enter({"2.6.0": ClusterRow(pulses[0], ClusterOutcome.TOO_WEAK)})
    again = ClusterTable({"other": 1, **ClusterTable.memory(dict(book.items()))}, 0, BOXES)
    assert dict(again.items()) == dict(book.items())
    assert (
        (again.n_open, again.fates)
        == (book.n_open, book.fates)
        == (1, {ClusterOutcome.TOO_WEAK: 1})
    )
    assert set(again.forgotten()) == {"cluster 2.6.0", "cluster 4.0.0w"}


def test_a_better_one_takes_the_place_of_what_was_known():
    book = ClusterTable({}, 0, BOXES)
    first = clusters(candidates((0, 1, 1.0, 100, 12)))
    book.enter(book.changes(first)[0])
    (key,) = dict(book.items())
    book.enter({key: ClusterRow(book[key].pulse, ClusterOutcome.TOO_WEAK)})
    assert book.changes(first) == ({}, 0)
    assert book.changes(clusters(candidates((0, 1, 1.003, 100, 11)))) == ({}, 0)
    book.enter(book.changes(clusters(candidates((0, 1, 1.003, 100, 13))))[0])
    assert (book[key].pulse.snr, book[key].fate, book.n_open) == (13.0, None, 1)
    assert not +book.fates


def test_there_are_not_more_rows_than_can_be_remembered(monkeypatch):
    monkeypatch.setattr(books, "MAX_CLUSTERS", 3)
    found = clusters(candidates(*((0, 1, float(time), 100, 20) for time in range(5))))
    rows, n_too_many = ClusterTable({}, 0, BOXES).changes(found)
    assert (len(rows), n_too_many) == (3, 2)
    assert not math.isnan(sum(row.pulse.snr for row in rows.values()))


def test_what_is_beyond_the_limits_takes_no_room(monkeypatch):
    """Interference below dm_min, for hours."""
    monkeypatch.setattr(books, "MAX_CLUSTERS", 3)
    book = ClusterTable({}, 0, BOXES)
    found = clusters(candidates(*((0, 1, float(time), 100, 20) for time in range(4))))
    rows, n_too_many = book.changes(found[:0], clusters(candidates((0, 1, 50.0, 100, 20))))
    book.enter(rows)
    assert (len(book), n_too_many) == (0, 0)
    hidden = clusters(candidates(*((0, 1, 60.0 + time, 100, 20) for time in range(9))))
    rows, n_too_many = book.changes(found[:0], hidden)
    book.enter(rows)
    assert (len(rows), n_too_many) == (2, 0)
    rows, n_too_many = book.changes(found)
    assert (len(rows), n_too_many) == (3, 1)
