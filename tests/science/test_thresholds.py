"""Thresholds: every bound is inclusive, and every one counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.model.candidate import CLUSTER, Records
from darc.science.thresholds import passing


def clusters(**columns: list[float]) -> Records:
    found = np.zeros(len(next(iter(columns.values()))), dtype=CLUSTER)
    for name, values in columns.items():
        found[name] = values
    return found


@pytest.mark.parametrize(
    ("column", "values", "bound", "expected"),
    [
        ("dm", [4.9, 5.0, 5.1], {"dm_min": 5.0}, [False, True, True]),
        ("dm", [4.9, 5.0, 5.1], {"dm_max": 5.0}, [True, True, False]),
        ("snr", [19.9, 20.0, 20.1], {"snr_min": 20.0}, [False, True, True]),
        ("downsampling", [99, 100, 101], {"width_max": 100}, [True, True, False]),
        ("count", [99, 100, 101], {"count_max": 100}, [True, True, False]),
    ],
)
def test_bounds(column, values, bound, expected):
    assert passing(clusters(**{column: values}), **bound).tolist() == expected


def test_without_bounds_all_pass():
    huge = clusters(dm=[0, 1e6], snr=[0, 1e6], downsampling=[1, 10**9], count=[1, 10**15])
    assert passing(huge).tolist() == [True, True]


numbers = st.integers(0, 3)


@given(st.lists(st.tuples(numbers, numbers, numbers, numbers)), st.lists(numbers, min_size=5))
def test_as_the_slow_version(rows, bounds):
    dm_min, dm_max, snr_min, width_max, count_max = bounds[:5]
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    found = clusters(**dict(zip(("dm", "snr", "downsampling", "count"), columns, strict=True)))
    expected = [
        dm_min <= dm <= dm_max and snr >= snr_min and width <= width_max and count <= count_max
        for dm, snr, width, count in rows
    ]
    mask = passing(
        found,
        dm_min=dm_min,
        dm_max=dm_max,
        snr_min=snr_min,
        width_max=width_max,
        count_max=count_max,
    )
    assert mask.tolist() == expected
