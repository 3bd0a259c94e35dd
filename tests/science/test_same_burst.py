"""What is one burst: bursts that are dedispersed here, and the rule pair by pair."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.model.candidate import CANDIDATE, Records
from darc.science.same_burst import Scales, of_brighter
from darc.science.smearing import left_in_boxcar

K = 4.148808e3  # MHz2 pc-1 cm3 s
F_LOW, F_HIGH = 1219.70092, 1519.70092  # MHz
TSAMP = 81.92e-6  # s
SCALES = Scales.of_band(TSAMP, F_LOW, F_HIGH)


def records(*rows: tuple[Any, ...]) -> Records:
    """Of beam, downsampling, time, DM and S/N."""
    return np.array(list(rows), dtype=CANDIDATE)


def kept(*rows: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    found = records(*rows)
    return [found[i].item() for i in np.flatnonzero(~of_brighter(found, found, SCALES, 1.0))]


def search(bursts: list[tuple[float, float, int, float]], n: int = 6144) -> Records:
    """Search bursts without noise: the best of each width at each trial DM, from S/N 10 on.

    :param bursts: of time, DM, width (samples) and S/N
    """
    n_channels = 128
    channels = np.linspace(F_HIGH, F_LOW, n_channels)
    delays = K * (channels**-2 - F_HIGH**-2)
    data = np.zeros((n_channels, n))
    for time, dm, width, snr in bursts:
        begins = np.rint((time + dm * delays) / TSAMP).astype(int)
        for channel, begin in enumerate(begins):
            data[channel, begin : begin + width] += snr / math.sqrt(width) / n_channels
    found = []
    for dm in np.arange(250.0, 351.0, 5.0):
        shifts = np.rint(dm * delays / TSAMP).astype(int)
        series = sum(np.roll(row, -shift) for row, shift in zip(data, shifts, strict=True))
        total = np.concatenate(([0.0], np.cumsum(series)))
        for width in (1, 5, 10, 50, 100, 250, 500, 1000):
            snr_of = (total[width:] - total[:-width]) / math.sqrt(width)
            best = int(np.argmax(snr_of))
            if snr_of[best] >= 10:
                found.append((0, width, best * TSAMP, dm, float(snr_of[best])))
    return records(*found)


@pytest.mark.parametrize("width", [1, 10, 50, 100, 500])
@pytest.mark.parametrize("snr", [15.0, 60.0, 1000.0])
def test_all_that_a_search_finds_of_a_burst_is_one(width: int, snr: float) -> None:
    found = search([(0.1, 300.0, width, snr)])
    assert len(found) > 1 or snr == 15
    [best] = found[~of_brighter(found, found, SCALES, 1.0)]
    assert best["snr"] == found["snr"].max()


@pytest.mark.parametrize("width", [1, 5, 10])
def test_a_pulse_inside_a_line_is_its_own_and_the_lines_pieces_are_not(width: int) -> None:
    line, pulse = search([(0.1, 300.0, 1000, 60.0)]), search([(0.13, 300.0, width, 15.0)])
    assert {1000, 500, 250, 100, 50} <= set(line["downsampling"].tolist())
    both = np.concatenate((line, pulse))
    left = both[~of_brighter(both, both, SCALES, 1.0)]
    assert sorted(left["downsampling"].tolist()) == [width, 1000]


@given(
    *[st.floats(-4, 0).map(lambda power: 10**power)] * 2,
    st.floats(0, 0.2),
)
def test_what_a_burst_leaves_is_what_a_boxcar_covers_of_it(
    width: float, boxcar: float, smear: float
) -> None:
    """Energy in the boxcar over the noise of it, against the same of the burst in its own."""
    energy, wide = 1.0, width + smear
    covered = energy * min(boxcar / wide, 1.0)
    expected = (covered / math.sqrt(boxcar)) / (energy / math.sqrt(width))
    assert left_in_boxcar(width, boxcar, smear) == pytest.approx(expected)


def test_one_burst_at_the_edge_of_two_windows() -> None:
    burst = (3, 10, 11.9994, 300.1, 21.0)
    assert kept(burst, (3, 10, 12.0003, 294.8, 18.0)) == [burst]
    # In another beam as well.
    assert kept(burst, (4, 10, 12.0003, 294.8, 18.0)) == [burst]


def test_pulses_of_their_own() -> None:
    first = (3, 10, 11.97, 300.0, 21.0)
    for other in (
        (3, 10, 12.003, 300.0, 18.0),  # 33 ms later
        (3, 10, 11.97, 400.0, 18.0),  # far from it in DM
        (3, 1000, 11.96, 300.0, 15.0),  # a line that a pulse of 10 samples does not make
    ):
        assert kept(first, other) == [first, other]


def test_later_only_where_the_dm_is_too_low() -> None:
    """Across this band, 100 pc cm-3 are 99 ms."""
    bright = (0, 10, 1.0, 500.0, 900.0)
    late, early = (0, 500, 1.06, 400.0, 20.0), (0, 500, 0.9, 400.0, 20.0)
    assert kept(bright, late, early) == [bright, early]
    late, early = (0, 500, 1.04, 600.0, 20.0), (0, 500, 0.9, 600.0, 20.0)
    assert kept(bright, late, early) == [bright, late]


def test_of_equal_ones_one_is_kept() -> None:
    rows = [
        (beam, width, time, dm, 20.0)
        for beam, width, time, dm in itertools.product((0, 1), (5, 6), (1.0, 1.001), (100.0, 101.0))
    ]
    for order in (rows, rows[::-1]):
        assert kept(*order) == [(0, 5, 1.0, 100.0, 20.0)]


def by_the_rule(faint: tuple[Any, ...], bright: tuple[Any, ...], reach: float) -> bool:
    """The definition, one pair."""
    (beam, samples, time, dm, snr), (beam_b, samples_b, time_b, dm_b, snr_b) = faint, bright
    if (-snr_b, time_b, samples_b, beam_b, dm_b) >= (-snr, time, samples, beam, dm):
        return False
    width, width_b = samples * TSAMP, samples_b * TSAMP
    delay = (dm_b - dm) * K * (F_LOW**-2 - F_HIGH**-2)
    begin, end = time_b + min(delay, 0) - 0.01, time_b + width_b + max(delay, 0) + 0.01
    if abs(time - time_b) > reach or time > end or time + width < begin:
        return False
    wide = width_b + max(abs(delay) - 0.01 - width - width_b, 0)
    in_boxcar = snr_b * math.sqrt(width_b) * min(width, wide) / wide / math.sqrt(width)
    return snr <= 2 * in_boxcar


rows = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from([1, 10, 100, 1000]),
        st.sampled_from([1.0, 1.5]) | st.floats(0.9, 1.6),
        st.sampled_from([100.0, 104.0, 300.0]) | st.floats(90, 310),
        st.sampled_from([10.0, 12.0]) | st.floats(10, 300),
    ),
    max_size=25,
)


@given(rows, rows, st.sampled_from([0.05, 1.0]), st.sampled_from([1, 7, 10_000]))
def test_as_the_slow_version(faint, bright, reach, pairs) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("darc.science.same_burst.PAIRS", pairs)
        found = of_brighter(records(*faint), records(*bright), SCALES, reach)
    assert found.tolist() == [
        any(by_the_rule(one, other, reach) for other in bright) for one in faint
    ]
