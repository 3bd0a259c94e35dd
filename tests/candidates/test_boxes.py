"""Boxes know width, moments and edges: what is listed of pulses, lines, and the Crab's own."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beams import settings
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from darc.candidates.cluster_boxes import ClusterBoxes, boxes_of
from darc.candidates.cluster_table import ClusterRow, ClusterTable
from darc.candidates.clusters import find_clusters, listed_clusters, usable
from darc.config.config import Config
from darc.model.candidate import CANDIDATE, Records
from darc.model.processing_outcome import ClusterOutcome, Detection
from darc.node.node_config import load_config
from darc.node.read_observation import read_observation
from darc.science.same_burst import Scales
from simulator.write_parsets import write_observation

TSAMP = 81.92e-6  # s
#: s per pc cm-3 across the band of ARTS, from the formula.
DELAY = 4.148808e3 * (1219.70092**-2 - 1519.70092**-2)
BOXES = ClusterBoxes(0.5, 10_000.0, 100.0, Scales(TSAMP, DELAY))
RULES = settings(width_max=100).clustering
NO_LIMIT = settings(width_max=-1).clustering

Line = tuple[int, int, float, float, float]  # beam, width, time, DM, S/N


def records(lines: list[Line]) -> Records:
    return np.array(lines, dtype=CANDIDATE)


def news(book: ClusterTable, lines: list[Line], rules: Any = RULES) -> dict[str, ClusterRow]:
    kept, _ = usable(records(lines), rules.snr_min_clustering, None)
    return book.changes(*find_clusters(kept, rules, n_beams=None, boxes=BOXES))[0]


def in_book(lines: list[Line], rules: Any = RULES) -> set[Line]:
    """What is listed while an observation runs."""
    book = ClusterTable({}, 0, BOXES)
    book.enter(news(book, lines, rules))
    return {line_of(row.pulse) for _, row in book.items()}


def of_file(lines: list[Line], rules: Any = RULES) -> set[Line]:
    """What is listed of a whole file."""
    kept, _ = usable(records(lines), rules.snr_min_clustering, None)
    found = listed_clusters(kept, rules, n_beams=None, boxes=BOXES)
    return {line_of(Detection(*one.item()[:5])) for one in found}


def line_of(pulse: Detection) -> Line:
    return pulse.beam, pulse.downsampling, pulse.time, pulse.dm, pulse.snr


# -- pulses and lines ----------------------------------------------------------------------------


@pytest.mark.parametrize("find", [in_book, of_file])
@pytest.mark.parametrize("begin", [13.17, 13.201])
def test_a_narrow_pulse_beside_a_wide_line(find: Any, begin: float) -> None:
    pulse, line = (0, 5, 13.203, 300.0, 12.0), (0, 1000, begin, 310.0, 25.0)
    assert find([pulse, line]) == {pulse}
    assert find([pulse, line], NO_LIMIT) == {pulse, line}


@pytest.mark.parametrize("find", [in_book, of_file])
def test_pieces_of_a_line_are_no_pulses(find: Any) -> None:
    """S/N go with the root of the width; a bit more where it is not flat."""
    line = (0, 1000, 13.20, 300.0, 80.0)
    pieces = [(0, 50, 13.23, 300.0, 18.0 + 10), (0, 100, 13.27, 300.0, 25.0)]
    assert find([line, *pieces]) == set()
    assert find([line, *pieces], NO_LIMIT) == {line}
    later = (0, 50, 13.31, 300.0, 28.0)
    assert find([line, *pieces, later]) == {later}


@pytest.mark.parametrize("find", [in_book, of_file])
def test_two_pulses_of_a_window(find: Any) -> None:
    pulses = {(0, 1, 24.10, 56.8, 32.5), (0, 1, 24.1334, 56.8, 11.0), (0, 1, 24.40, 56.8, 12.0)}
    assert find(sorted(pulses)) == pulses


@pytest.mark.parametrize("find", [in_book, of_file])
def test_one_burst_at_an_edge_of_windows_and_of_dm_bins(find: Any) -> None:
    first = (3, 10, 11.9994, 300.1, 21.0)
    assert find([first, (3, 10, 12.0003, 294.8, 18.0)]) == {first}
    # 389 is an edge of bins.
    second = (3, 10, 20.2, 390.0, 21.0)
    assert find([second, (3, 10, 20.2008, 388.0, 18.0)]) == {second}


def test_a_brighter_one_that_is_beyond_the_limits_stands_for_its_burst() -> None:
    rules = settings(dm_min=20, width_max=100).clustering
    assert in_book([(0, 10, 5.0, 18.0, 30.0), (0, 10, 5.001, 21.0, 15.0)], rules) == set()
    far = (0, 10, 5.1, 21.0, 15.0)
    assert in_book([(0, 10, 5.0, 18.0, 30.0), far], rules) == {far}


# -- however they come ---------------------------------------------------------------------------

_lines = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from([1, 10, 60, 250, 1000]),
        st.floats(0.875, 2.125, width=32),
        st.sampled_from([19.0, 300.0, 305.0, 388.0, 390.0, 700.0]),
        st.sampled_from([9.0, 10.0, 11.0, 20.0, 80.0]),
    ),
    max_size=25,
)


@given(_lines, st.lists(st.integers(0, 25), max_size=4), st.randoms(use_true_random=False))
@given_settings(deadline=None, max_examples=150)
def test_the_same_are_listed_however_they_come_and_whoever_dies(
    lines: list[Line], parts: list[int], chance: random.Random
) -> None:
    whole = ClusterTable({}, 0, BOXES)
    whole.enter(news(whole, lines))
    shuffled = list(lines)
    chance.shuffle(shuffled)
    book, memory = ClusterTable({}, 0, BOXES), dict[str, Any]()
    for first, end in itertools.pairwise([0, *sorted(parts), 25]):
        found = news(book, shuffled[first:end])
        memory |= ClusterTable.memory(found)
        # It dies, or goes on.
        book.enter(found)
        book = ClusterTable(memory, 0, BOXES) if chance.random() < 0.5 else book
        assert news(book, shuffled[first:end]) == {}
    assert dict(book.items()) == dict(whole.items())
    assert len(book) == book.n_open == len(dict(whole.items()))
    assert of_file(lines) == {line_of(row.pulse) for _, row in whole.items()}


def test_what_was_extracted_goes_when_a_brighter_one_of_the_burst_comes() -> None:
    book = ClusterTable({}, 0, BOXES)
    faint, bright = (3, 10, 12.0003, 294.8, 18.0), (3, 10, 11.9994, 300.1, 21.0)
    book.enter(news(book, [faint]))
    [(key, row)] = book.items()
    book.enter({key: ClusterRow(row.pulse, ClusterOutcome.UNLIKELY)})
    found = news(book, [bright])
    assert set(found) == {key, "23.5.49"}
    book.enter(found)
    assert [line_of(row.pulse) for _, row in book.items()] == [bright]
    assert (len(book), book.n_open, +book.fates) == (1, 1, {})
    again = ClusterTable(ClusterTable.memory({key: book[key]}), 0, BOXES)
    assert again[key].double
    assert len(again) == 0


def test_what_was_of_the_burst_of_another_is_listed_when_that_is_not_the_best_any_more() -> None:
    book = ClusterTable({}, 0, BOXES)
    faint, bright = (3, 10, 12.0003, 294.8, 18.0), (3, 10, 11.9994, 300.1, 21.0)
    book.enter(news(book, [faint, bright]))
    assert [line_of(row.pulse) for _, row in book.items()] == [bright]
    # In the same box, at another DM.
    other = (3, 10, 11.995, 380.0, 30.0)
    book.enter(news(book, [other]))
    assert {line_of(row.pulse) for _, row in book.items()} == {other, faint}
    assert (len(book), book.n_open) == (2, 2)


# -- grids ---------------------------------------------------------------------------------------


@given(_lines)
def test_a_box_has_one_best_and_one_name(lines: list[Line]) -> None:
    found = records(lines)
    best = BOXES.best(found, 0.0)
    names = BOXES.keys(best)
    assert len(set(names)) == len(names)
    assert set(names) == set(BOXES.keys(found))
    for name, window, one in zip(names, BOXES.windows(best), best, strict=True):
        same = [line for line, other in zip(lines, BOXES.keys(found), strict=True) if other == name]
        assert one["snr"] == max(line[4] for line in same)
        assert window == int(one["time"] // 0.5)
        assert name.startswith(f"{window}.")


@pytest.mark.parametrize(("width_max", "widest_narrow"), [(80, 80.0), (-1, 100.0)])
def test_what_is_narrow_is_configured(
    tmp_path: Path, width_max: float, widest_narrow: float
) -> None:
    (tmp_path / "config.yaml").write_text("")
    config: Config = load_config(tmp_path / "config.yaml")
    made = write_observation(tmp_path, task_id="b1", source="BLANK", start=1.7e9, duration=9.0)
    observation = read_observation(made.parset, config.instrument)
    boxes = boxes_of(observation, settings(width_max=width_max).clustering, config)
    assert (boxes.window, boxes.widest_narrow) == (0.5, widest_narrow)
    assert boxes.scales.tsamp == observation.tsamp
    low, high = observation.f_low, observation.f_high
    assert boxes.scales.delay_per_dm == pytest.approx(4.148808e3 * (low**-2 - high**-2))


# -- the state that was kept before --------------------------------------------------------------

#: As the version before remembered it, when a box was a window and a DM bin.
BEFORE = {
    "cluster 23.5": [3, 10, 11.9994, 300.1, 21.0],
    "cluster 24.5": [3, 10, 12.0003, 294.8, 18.0, "unlikely"],
    "cluster 26.5": [3, 1000, 13.1, 300.0, 15.0, "hidden"],
    "cluster 40.1": [0, 5, 20.2, 56.8, 30.0, "kept", "TOA20.hdf5", 29.5, 20.2, 6, 0.75],
    "cluster 50.6": [0, 250, 25.2, 500.0, 40.0, "hidden"],
}
LINES_BEFORE: list[Line] = [
    (3, 10, 11.9994, 300.1, 21.0),
    (3, 10, 12.0003, 294.8, 18.0),
    (3, 1000, 13.1, 300.0, 15.0),
    (3, 10, 13.2, 300.0, 12.0),
    (0, 5, 20.2, 56.8, 30.0),
    (0, 5, 20.4, 56.8, 12.0),
    (0, 250, 25.2, 500.0, 40.0),
]


def test_rows_of_the_version_before_are_gone_on_with() -> None:
    book = ClusterTable({"counts": {}, **BEFORE}, 7, BOXES)
    rows = dict(book.items())
    assert {line_of(row.pulse) for row in rows.values()} == {
        line for line in LINES_BEFORE if line[2] in (11.9994, 12.0003, 20.2)
    }
    assert (book.n_open, +book.fates) == (1, {ClusterOutcome.UNLIKELY: 1, ClusterOutcome.KEPT: 1})
    [kept] = [row for row in rows.values() if row.fate is ClusterOutcome.KEPT]
    assert (kept.file, kept.listed and kept.listed.snr) == ("TOA20.hdf5", 29.5)
    # The window comes once more: nothing is made again, and what was hidden is there.
    found = news(book, LINES_BEFORE)
    book.enter(found)
    assert {line_of(row.pulse) for _, row in book.items()} == in_book(LINES_BEFORE)
    assert +book.fates == {ClusterOutcome.KEPT: 1}
    # It dies: what was under the old names, and has changed, is known by the new ones.
    again = ClusterTable(BEFORE | ClusterTable.memory(found), 7, BOXES)
    assert dict(again.items()) == dict(book.items())
    assert set(BEFORE) <= set(again.forgotten())


# -- the Crab ------------------------------------------------------------------------------------

CRAB_DM = 56.77


@pytest.fixture(scope="module")
def crab(shared_data: Path) -> list[Line]:
    """The sample's candidates, read here; times are those of the whole samples."""
    found = []
    for path in sorted((shared_data / "amber").glob("CB00_*.trigger")):
        header, *lines = path.read_text().splitlines()
        names = header.lstrip("# ").split()
        for line in lines:
            row = dict(zip(names, map(float, line.split()), strict=True))
            samples = row["sample_id"] * row["integration_step"]
            time = row["batch_id"] * 1.024 + samples * TSAMP
            beam, width = int(row["beam_id"]), int(row["integration_step"])
            found.append((beam, width, time, row["DM"], row["SNR"]))
    return found


def crab_pulses(lines: list[Line], gap: float = 0.02) -> list[Line]:
    """The brightest of each group of narrow candidates near the Crab's DM, in plain numpy.

    The Crab turns in 33 ms; candidates of one pulse are within a ms.
    """
    table = np.array([line for line in lines if line[1] <= 100 and abs(line[3] - CRAB_DM) <= 10])
    table = table[np.argsort(table[:, 2])]
    groups = np.split(table, np.flatnonzero(np.diff(table[:, 2]) > gap) + 1)
    best = [group[np.argmax(group[:, 4])] for group in groups]
    return [(int(b), int(w), float(t), float(dm), float(snr)) for b, w, t, dm, snr in best]


@pytest.mark.parametrize("find", [in_book, of_file])
@pytest.mark.parametrize("rules", [RULES, NO_LIMIT])
def test_every_pulse_of_the_crab_is_listed_once(crab: list[Line], find: Any, rules: Any) -> None:
    pulses = crab_pulses(crab)
    assert len(pulses) == 30
    found = find(crab, rules)
    assert {one for one in found if one[1] <= 100 and abs(one[3] - CRAB_DM) <= 10} == set(pulses)
    if rules is RULES:
        assert {one[1] for one in found} <= {1, 5, 10}


@pytest.mark.parametrize("seed", range(4))
def test_every_pulse_is_listed_wherever_the_lines_are(crab: list[Line], seed: int) -> None:
    """The same pulses among the same wide lines at other times: four times as many, of which in
    boxes of DM and time alone some are hidden.
    """
    rng = np.random.default_rng(seed)
    wide = [line for line in crab if line[1] > 100]
    shifts = rng.uniform(0, 75, 4)
    pulses = {
        (beam, width, (time + shift) % 75.0, dm, snr)
        for beam, width, time, dm, snr in crab_pulses(crab)
        for shift in shifts
    }
    apart = {
        one for one in pulses if all(one is two or abs(one[2] - two[2]) > 0.02 for two in pulses)
    }
    assert len(apart) > 100
    hidden = 0
    for line in apart:
        box = [
            one for one in (*wide, *apart) if one[2] // 0.5 == line[2] // 0.5 and 32 <= one[3] < 76
        ]
        hidden += max(one[4] for one in box) > line[4]
    assert hidden > 5
    for find in (in_book, of_file):
        assert apart <= find([*wide, *apart])
