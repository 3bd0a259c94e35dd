"""Clustering against the specification, the sample, and slow obvious versions of itself."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.model.candidate import CANDIDATE, CLUSTER, Records
from darc.science.clustering import (
    cluster,
    fixed_dm_edges,
    synthesised_beam_filter,
)

AMBER_SAMPLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "amber"

Row = tuple[int, int, float, float, float]  # beam, downsampling, time, dm, snr


def records(rows: list[Row]) -> Records:
    return np.array(rows, dtype=CANDIDATE)


def read_sample(step: int) -> Records:
    path = AMBER_SAMPLE / f"CB00_step{step}.trigger"
    if not path.exists():
        pytest.skip(f"the AMBER sample is not at {AMBER_SAMPLE}")
    header, *lines = path.read_text().splitlines()
    names = header.lstrip("# ").split()
    columns = [names.index(name) for name in ("beam_id", "integration_step", "time", "DM", "SNR")]
    cells = [[line.split()[column] for column in columns] for line in lines]
    return records([(int(b), int(d), float(t), float(m), float(s)) for b, d, t, m, s in cells])


# Few distinct values, so that ties and values on an edge are common.
rows = st.lists(
    st.tuples(
        st.integers(0, 70),
        st.sampled_from([1, 10, 1000]),
        st.sampled_from([0.0, 0.5, 0.75, 1.0, 1.5, 3.0]) | st.floats(0, 4),
        st.sampled_from([0.0, 40.9, 41.0, 96.0, 144.0, 1100.0]) | st.floats(0, 1300),
        st.sampled_from([9.9, 10.0, 12.0, 15.0]) | st.floats(8, 20),
    ),
    max_size=40,
)


def slow_clusters(
    candidates: Records, snr_min: float, edges: list[float], window: float, origin: float
) -> dict[tuple[int, int], tuple[int, int]]:
    """Map (window, DM bin) to (position of the best candidate, number of candidates)."""
    boxes: dict[tuple[int, int], tuple[int, int]] = {}
    for i, candidate in enumerate(candidates):
        if candidate["snr"] < snr_min:
            continue
        for dm_bin in range(len(edges) - 1):
            if edges[dm_bin] <= candidate["dm"] < edges[dm_bin + 1]:
                box = (math.floor((candidate["time"] - origin) / window), dm_bin)
                best, count = boxes.get(box, (i, 0))
                if candidate["snr"] > candidates[best]["snr"]:
                    best = i
                boxes[box] = (best, count + 1)
    return boxes


def as_boxes(candidates: Records, boxes: dict[tuple[int, int], tuple[int, int]]) -> list[Row]:
    return [(*candidates[best].item(), count, *box) for box, (best, count) in sorted(boxes.items())]


class TestDmEdges:
    @given(st.integers(1, 100_000))
    def test_the_rule_in_fractions(self, tenths):
        d = Fraction(tenths, 10)
        expected = [math.inf, float(d)]
        while d > 0:
            k = Fraction(2, 3) if d >= 100 else Fraction(3, 7) if d >= 50 else 0
            d = math.trunc(k * d)
            expected.append(d)
        assert fixed_dm_edges(tenths / 10).tolist() == expected[::-1]

    def test_fixed(self):
        edges = fixed_dm_edges(1100)
        assert edges.tolist() == [0, 41, 96, 144, 216, 325, 488, 733, 1100, math.inf]

    def test_fixed_on_the_limits_of_the_rule(self):
        assert fixed_dm_edges(100).tolist() == [0, 28, 66, 100, math.inf]
        assert fixed_dm_edges(50).tolist() == [0, 21, 50, math.inf]

    @given(st.floats(0.01, 1e6))
    def test_fixed_from_zero_to_infinity(self, top):
        edges = fixed_dm_edges(top)
        assert edges[0] == 0
        assert edges[-2:].tolist() == [top, math.inf]
        assert np.all(np.diff(edges) > 0)

    @pytest.mark.parametrize("top", [0, -1, math.nan, math.inf])
    def test_fixed_refuses_a_top_of_nothing(self, top):
        with pytest.raises(ValueError, match="no DM bins"):
            fixed_dm_edges(top)


class TestCluster:
    @given(rows, st.sampled_from([0.5, 1.0, 0.3]), st.sampled_from([0.0, -0.5, 1.0]))
    def test_as_the_slow_version(self, rows, window, origin):
        candidates = records(rows)
        edges = fixed_dm_edges(1100)
        found = cluster(
            candidates, snr_min=10, dm_edges=edges, time_window=window, time_origin=origin
        )
        boxes = slow_clusters(candidates, 10, edges.tolist(), window, origin)
        assert found.dtype == CLUSTER
        assert found.tolist() == as_boxes(candidates, boxes)

    def test_crab_sample(self):
        candidates = np.concatenate([read_sample(1), read_sample(3)])
        edges = fixed_dm_edges(1100)
        found = cluster(candidates, snr_min=10, dm_edges=edges, time_window=1.0, time_origin=0.0)
        boxes = slow_clusters(candidates, 10, edges.tolist(), 1.0, 0.0)
        assert found.tolist() == as_boxes(candidates, boxes)
        assert found["count"].sum() == (candidates["snr"] >= 10).sum()

    def test_a_box_has_its_lower_but_not_its_upper_edges(self):
        candidates = records([(0, 1, 1.0, 41.0, 10), (0, 1, 2.0, 41.0, 11), (0, 1, 1.0, 96.0, 12)])
        found = cluster(
            candidates,
            snr_min=10,
            dm_edges=np.array([0.0, 41, 96, 144]),
            time_window=1.0,
            time_origin=0.0,
        )
        assert found[["window", "dm_bin", "snr"]].tolist() == [(1, 1, 10), (1, 2, 12), (2, 1, 11)]

    def test_of_equal_ones_the_first(self):
        candidates = records(
            [(3, 10, 0.2, 50, 11), (1, 5, 0.9, 50, 12), (2, 1, 0.1, 50, 12), (4, 1, 0.1, 50, 12)]
        )
        found = cluster(
            candidates, snr_min=10, dm_edges=np.array([0.0, 55]), time_window=1.0, time_origin=0.0
        )
        assert found.tolist() == [(1, 5, 0.9, 50, 12, 4, 0, 0)]

    def test_what_is_outside_the_edges_is_in_no_box(self):
        candidates = records([(0, 1, 0, -1.0, 20), (0, 1, 0, 50.0, 20), (0, 1, 0, 10.0, 12)])
        found = cluster(
            candidates,
            snr_min=10,
            dm_edges=np.array([0.0, 50.0]),
            time_window=1.0,
            time_origin=0.0,
        )
        assert found[["dm", "count"]].tolist() == [(10, 1)]

    @given(rows, st.integers(0, 40))
    def test_boxes_do_not_depend_on_the_batch(self, rows, cut):
        def boxes(candidates: Records) -> set[tuple[int, int]]:
            found = cluster(
                candidates,
                snr_min=10,
                dm_edges=fixed_dm_edges(1100),
                time_window=1.0,
                time_origin=0.0,
            )
            return set(found[["window", "dm_bin"]].tolist())

        candidates = records(rows)
        assert boxes(candidates[:cut]) | boxes(candidates[cut:]) == boxes(candidates)

    @pytest.mark.parametrize("window", [0, -1, math.nan])
    def test_refuses_a_window_of_nothing(self, window):
        with pytest.raises(ValueError, match="time window"):
            cluster(
                records([]),
                snr_min=10,
                dm_edges=fixed_dm_edges(1100),
                time_window=window,
                time_origin=0.0,
            )

    def test_refuses_a_time_without_a_window(self):
        with pytest.raises(ValueError, match="too large"):
            cluster(
                records([(0, 1, 1e300, 50, 12)]),
                snr_min=10,
                dm_edges=fixed_dm_edges(1100),
                time_window=1.0,
                time_origin=0.0,
            )


def slow_period(candidates: Records, at: np.void, n_beams: int) -> int:
    """The period of step 6, in whole numbers: S/N have up to four decimals here."""
    best = [0] * n_beams
    for candidate in candidates:
        if candidate["time"] == at["time"] and abs(candidate["dm"] - at["dm"]) <= 20:
            beam = candidate["beam"]
            best[beam] = max(best[beam], round(candidate["snr"] * 10_000))
    correlation = {
        lag: sum(best[i] * best[i + lag] for i in range(n_beams - lag)) for lag in range(2, n_beams)
    }
    return min(lag for lag in correlation if correlation[lag] == max(correlation.values()))


def sb_records(beams_and_snr: list[tuple[int, float]], dm: float = 56.6) -> Records:
    return records([(beam, 1, 1.0, dm, snr) for beam, snr in beams_and_snr])


def keep(candidates: Records, n_beams: int = 71) -> list[bool]:
    clusters = cluster(
        candidates, snr_min=10, dm_edges=fixed_dm_edges(1100), time_window=1.0, time_origin=0.0
    )
    mask = synthesised_beam_filter(
        candidates, clusters, period_min=10, period_max=15, n_beams=n_beams
    )
    return mask.tolist()


# Many candidates of few times and S/N, in beams with a period: so ties are the rule.
sb_rows = st.lists(
    st.tuples(
        st.sampled_from([3, 5, 15, 17, 27, 29, 39, 51]) | st.integers(0, 70),
        st.just(1),
        st.sampled_from([0.5, 1.5]),
        st.sampled_from([100.0, 110.0, 120.0, 130.0]),
        st.sampled_from([10.1, 10.2, 10.3, 11.7])
        | st.integers(100_000, 300_000).map(lambda n: n / 10_000),
    ),
    max_size=60,
)


class TestSynthesisedBeamFilter:
    @given(sb_rows)
    def test_as_the_slow_version(self, rows):
        candidates = records(rows)
        clusters = cluster(
            candidates, snr_min=10, dm_edges=fixed_dm_edges(1100), time_window=1.0, time_origin=0.0
        )
        for low, high in ((10, 15), (1, 12), (2, 40)):
            found = synthesised_beam_filter(
                candidates, clusters, period_min=low, period_max=high, n_beams=71
            )
            expected = [low < slow_period(candidates, at, 71) < high for at in clusters]
            assert found.tolist() == expected

    @given(st.lists(st.sampled_from([0.0, 10.1, 10.2, 10.3, 10.7]), min_size=20, max_size=71))
    def test_ties_that_rounding_would_break(self, snr):
        candidates = sb_records([(beam, value) for beam, value in enumerate(snr) if value])
        clusters = np.zeros(1, dtype=CLUSTER)
        clusters["time"], clusters["dm"] = 1.0, 56.6
        period = slow_period(candidates, clusters[0], 71)
        found = synthesised_beam_filter(
            candidates, clusters, period_min=period - 1, period_max=period + 1, n_beams=71
        )
        assert found.tolist() == [True]

    @pytest.mark.parametrize(
        ("snr", "period"),
        [
            # Rounding in the sums makes 3 win,
            ([10.3, 10.1, 10.1, 0, 10.3, 0, 10.3, 10.3, 0, 10.2, 10.1], 2),
            # and rounding of the S/N themselves 4.
            ([0, 10.3, 10.1, 10.2, 0, 10.3, 10.3, 10.2, 0, 10.2], 2),
            # The least difference that six digits can make is no tie.
            ([19.9999, 0, 20.0001, 20.0, 0, 20.0], 3),
        ],
    )
    def test_ties_are_those_of_the_numbers_as_written(self, snr, period):
        candidates = sb_records([(beam, value) for beam, value in enumerate(snr) if value])
        clusters = np.zeros(1, dtype=CLUSTER)
        clusters["time"], clusters["dm"] = 1.0, 56.6
        assert slow_period(candidates, clusters[0], 71) == period
        found = synthesised_beam_filter(
            candidates, clusters, period_min=period - 1, period_max=period + 1, n_beams=71
        )
        assert found.tolist() == [True]

    @pytest.mark.parametrize("period", range(2, 30))
    def test_keeps_only_periods_between_the_limits(self, period):
        candidates = sb_records([(beam, 12.0) for beam in (20, 20 + period)])
        assert keep(candidates) == [10 < period < 15]

    def test_rejects_a_candidate_in_one_beam(self):
        assert keep(sb_records([(35, 25.0)])) == [False]

    def test_does_not_wrap(self):
        # 71 - 59 = 12, but only on a circle
        assert keep(sb_records([(0, 20.0), (59, 20.0)])) == [False]

    def test_of_equal_periods_the_smallest(self):
        # lags 9 (a b) and 12 (b a) are equal
        assert keep(sb_records([(0, 11.3), (9, 12.7), (21, 11.3)])) == [False]

    def test_takes_the_highest_of_a_beam(self):
        # 12 apart 20 x 15, 9 apart 20 x 14; with the later or lower of beam 12, 9 would win
        beams = [(0, 20.0), (12, 15.0), (12, 10.0), (9, 14.0)]
        assert keep(sb_records(beams)) == [True]

    @pytest.mark.parametrize(("dm", "kept"), [(76.0, True), (36.0, True), (76.1, False)])
    def test_takes_dms_up_to_20_away(self, dm, kept):
        candidates = np.concatenate(
            [sb_records([(20, 15.0)], dm=56.0), sb_records([(32, 14.0)], dm=dm)]
        )
        clusters = np.zeros(1, dtype=CLUSTER)
        clusters["time"], clusters["dm"] = 1.0, 56.0
        found = synthesised_beam_filter(
            candidates, clusters, period_min=10, period_max=15, n_beams=71
        )
        assert found.tolist() == [kept]

    def test_takes_no_other_time(self):
        candidates = sb_records([(20, 15.0), (32, 14.0)])
        candidates["time"][1] = np.nextafter(1.0, 2.0)
        assert keep(candidates) == [False]

    def test_number_of_beams(self):
        candidates = sb_records([(90, 12.0), (102, 12.0)])
        assert keep(candidates, n_beams=114) == [True]
        with pytest.raises(ValueError, match="71 synthesised beams"):
            keep(candidates)

    def test_refuses_too_few_beams(self):
        with pytest.raises(ValueError, match="no period"):
            keep(sb_records([(0, 12.0)]), n_beams=2)

    def test_nothing(self):
        assert keep(records([])) == []
