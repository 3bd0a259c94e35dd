"""Dump windows: every rule of the specification, on numbers by hand and as properties."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.dump_window import DumpWindow, dump_window, polcal_windows

ARTS = {"page": 1.024, "min_window_size": 2.048, "delay_end": 2.048}
POLCAL = {"page": 1.024, "dump_size": 30.0, "interval": 60.0, "max_dumps": 4}

near = pytest.approx


def window_of(time, band_delay, duration=300.0, **changes):
    return dump_window(time, band_delay, duration=duration, **{**ARTS, **changes})


def test_the_example_of_the_specification():
    # 9.841 s: 793 ms after 7 s is two pages earlier; 3 x 2.048 s long
    window = window_of(9.841, 1.05)
    assert window.start == near(7.793)
    assert window.end == near(13.937)


def test_a_long_delay_makes_it_longer():
    window = window_of(100.0, 5.5)
    assert window.end - window.start == near(5.5 + 2.048 + 2.048)


def test_a_short_delay_does_not():
    window = window_of(100.0, 0.01)
    assert window.end - window.start == near(3 * 2.048)


def test_at_the_start_the_length_counts_from_there():
    assert window_of(0.5, 0.1) == DumpWindow(0.0, near(3 * 2.048))


def test_it_ends_with_the_observation():
    assert window_of(299.0, 0.1) == DumpWindow(near(296.952), 300.0)


def test_nothing_after_the_end():
    assert window_of(302.048, 0.1) is None
    assert window_of(302.0, 0.1) is not None
    assert window_of(400.0, 0.1) is None


@pytest.mark.parametrize(
    ("time", "delay"), [(math.nan, 0.1), (math.inf, 0.1), (1.0, math.nan), (1.0, -1.0)]
)
def test_what_is_no_pulse(time, delay):
    with pytest.raises(ValueError, match="no window"):
        window_of(time, delay)


@given(
    time=st.floats(0, 1e5),
    delay=st.floats(0, 20),
    duration=st.floats(0.1, 1e5),
    page=st.floats(0.1, 5),
    least=st.floats(0.001, 10),
    after=st.floats(0, 10),
)
def test_every_window(time, delay, duration, page, least, after):
    window = window_of(time, delay, duration, page=page, min_window_size=least, delay_end=after)
    if window is None:
        assert time - 2 * page >= duration
        return
    assert 0 <= window.start < window.end <= duration
    assert window.start == max(0, time - 2 * page)
    whole = max(least, delay) + after + 2 * page
    assert window.end == near(min(window.start + whole, duration))
    if time <= duration:
        assert window.start <= time
        assert window.end >= min(time + max(least, delay), duration) - 1e-9  # the pulse is in it


# -- polarisation calibration ------------------------------------------------------------------


def test_polcal():
    # 60 s is 58.59 pages: 59; 120: 117.19: 117; 180: 175.78: 176; 240: 234.375: 234
    windows = polcal_windows(duration=300.0, **POLCAL)
    assert [window.start for window in windows] == near([n * 1.024 for n in (59, 117, 176, 234)])
    assert [window.end - window.start for window in windows] == near([30 * 1.024] * 4)


def test_polcal_at_most_so_many():
    assert len(polcal_windows(duration=3600.0, **POLCAL)) == 4
    assert len(polcal_windows(duration=3600.0, **{**POLCAL, "max_dumps": 1})) == 1
    assert polcal_windows(duration=3600.0, **{**POLCAL, "max_dumps": 0}) == ()


def test_polcal_none_past_the_end():
    first_end = (59 + 30) * 1.024
    assert len(polcal_windows(duration=first_end, **POLCAL)) == 1
    assert polcal_windows(duration=first_end - 0.001, **POLCAL) == ()


def test_polcal_whole_pages_are_not_rounded_up():
    for pages in range(1, 200):
        size = sum([1.024 / 7] * 7 * pages)  # with the noise of floats
        settings = {**POLCAL, "dump_size": size, "interval": 1024.0}
        (window, *_) = polcal_windows(duration=1e5, **settings)
        assert window.end - window.start == near(pages * 1.024)


@given(
    duration=st.floats(0, 20_000),
    size=st.floats(0.01, 300),
    interval=st.floats(1.0, 600),
    most=st.integers(0, 20),
)
def test_every_polcal_window(duration, size, interval, most):
    page = 1.024
    windows = polcal_windows(
        duration=duration, page=page, dump_size=size, interval=interval, max_dumps=most
    )
    assert len(windows) <= most
    for number, window in enumerate(windows, start=1):
        assert abs(window.start - number * interval) <= page / 2 + 1e-6
        assert window.start / page == near(round(window.start / page))
        assert -1e-5 <= window.end - window.start - size < page + 1e-5
        assert window.end <= duration + 1e-5
    if len(windows) < most:
        missing = len(windows) + 1
        assert missing * interval + page / 2 + size + page > duration
