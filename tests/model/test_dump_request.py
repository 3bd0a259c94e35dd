"""The text for dada_dbevent: the specification's example, and that what is written is read."""

import math
from datetime import datetime

import pytest
from dump_requests import parse_request
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from darc.services.dada_trigger.dump_request import DumpEvent, DumpRequest, format_request

UTC_START = "2019-05-18-23:51:13"
EVENT = DumpEvent(start=7.793, end=13.937, dm=1056.6, snr=28.4666, width=10, beam=35)
TEXT = """N_EVENTS 1
2019-05-18-23:51:13
2019-05-18-23:51:20 793 2019-05-18-23:51:26 937 1056.6 28.4666 10 35
"""


def text_of(*events: DumpEvent, utc_start: str = UTC_START) -> str:
    return format_request(DumpRequest(utc_start, events))


def line_of(event: DumpEvent) -> str:
    return text_of(event).splitlines()[2]


def test_the_example_of_the_specification() -> None:
    assert text_of(EVENT) == TEXT
    assert parse_request(TEXT) == DumpRequest(UTC_START, (EVENT,))


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (0.0, "2019-05-18-23:51:13 000"),
        (0.007, "2019-05-18-23:51:13 007"),
        (0.0704, "2019-05-18-23:51:13 070"),
        (6.9994, "2019-05-18-23:51:19 999"),
        (6.9996, "2019-05-18-23:51:20 000"),
        (526.9996, "2019-05-19-00:00:00 000"),  # past midnight
    ],
)
def test_milliseconds(start: float, expected: str) -> None:
    assert line_of(replace(EVENT, start=start, end=1000.0)).startswith(f"{expected} ")


def test_what_says_nothing_is_zero() -> None:
    line = line_of(DumpEvent(60.416, 91.136, dm=0.0, snr=0.0, width=0, beam=0))
    assert line == "2019-05-18-23:52:13 416 2019-05-18-23:52:44 136 0 0 0 0"


def test_events_are_counted_and_in_order_of_time() -> None:
    events = [replace(EVENT, start=start, end=start + 6.0) for start in (30.0, 10.0, 20.0)]
    text = text_of(*events)
    assert text.startswith("N_EVENTS 3\n")
    assert [event.start for event in parse_request(text).events] == [10.0, 20.0, 30.0]


def test_no_events_is_an_error() -> None:
    with pytest.raises(ValueError, match="without events"):
        text_of()


@pytest.mark.parametrize(
    "utc_start",
    [
        "",
        "2019-05-18T23:51:13",
        "2019-05-18-23:51:13.5",
        "2019-05-18-23:51:13.B1933+16",
        "2019-02-30-23:51:13",
        "2019-5-18-23:51:13",
        "2019-05-18-23:51:13\n",
        "2019-05-18-23:51:1#",
        "2019-05-18-23:51:1٣",
    ],
)
def test_wrong_start(utc_start: str) -> None:
    with pytest.raises(ValueError, match=r"time|hour|day"):
        text_of(EVENT, utc_start=utc_start)


@pytest.mark.parametrize(
    "changes",
    [
        {"start": -0.001},
        {"start": math.nan},
        {"end": math.inf},
        {"end": 1e300},
        {"end": 1e13},
        {"end": 7.793},
        {"end": 7.7933},  # the same millisecond
        {"dm": math.nan},
        {"dm": -1.0},
        {"snr": math.inf},
        {"width": -1},
        {"beam": -1},
        {"width": 10**300 * 10**300 * 10**300 * 10**300},  # a line too long
    ],
)
def test_events_that_cannot_be_told(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"cannot|does not fit|not a stretch|NaN"):
        text_of(replace(EVENT, **changes))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        TEXT[:-1],
        TEXT + "\n",
        TEXT + "x",
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("N_EVENTS 1", "N_EVENTS 2"),
        TEXT.replace("N_EVENTS 1", "N_EVENTS 01"),
        TEXT.replace("N_EVENTS 1", "N_EVENTS  1"),
        "N_EVENTS 0\n2019-05-18-23:51:13\n",
        TEXT + TEXT.splitlines()[2] + "\n",
        TEXT.replace(" 793", " 93"),
        TEXT.replace(" 793", " 0793"),
        TEXT.replace(" 793", " #793"),
        TEXT.replace("28.4666", "28.4666 "),
        TEXT.replace("28.4666", "nan"),
        TEXT.replace("28.4666", "-28.4666"),
        TEXT.replace(" 10 35", " 10.0 35"),
        TEXT.replace(" 10 35", " 10"),
        TEXT.replace(" 10 35", " 10 35 0"),
        TEXT.replace(" 10 35", " 10 " + "3" * 1000),
        TEXT.replace("23:51:26", "23:51:10"),  # ends before it starts
        TEXT.replace("23:51:20", "23:51:12"),  # starts before the observation
        TEXT.replace("2019-05-18-23:51:26", "2019-05-38-23:51:26"),
    ],
)
def test_what_is_no_request(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_request(text)


milliseconds = st.integers(0, 10**8)
reals = st.floats(0, 1e6)
counts = st.integers(0, 10**6)
requests = st.builds(
    lambda start, events: DumpRequest(f"{start:%Y-%m-%d-%H:%M:%S}", tuple(events)),
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),
    st.lists(
        st.builds(
            lambda start, length, *numbers: DumpEvent(
                start / 1000, (start + length) / 1000, *numbers
            ),
            *(milliseconds, st.integers(1, 10**5), reals, reals, counts, counts),
        ),
        min_size=1,
        max_size=5,
    ).map(lambda events: sorted(events, key=lambda event: event.start)),
)


@settings(deadline=None)
@given(requests)
def test_what_is_written_is_read(request_: DumpRequest) -> None:
    text = format_request(request_)
    assert parse_request(text) == request_
    assert "#" not in text
    assert all(10 <= len(line.encode()) <= 1023 for line in text.splitlines())


@settings(deadline=None)
@given(st.floats(0, 1e5), st.floats(0.002, 100))
def test_times_are_right_to_half_a_millisecond(start: float, length: float) -> None:
    (read,) = parse_request(text_of(replace(EVENT, start=start, end=start + length))).events
    assert abs(read.start - start) <= 0.5e-3 + 1e-9
    assert abs(read.end - (start + length)) <= 0.5e-3 + 1e-9
