"""Triggers: what is written is read again, and what is no trigger is told from one."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields
from triggers import TRIGGER, made_trigger

from darc.model.trigger import Stages, Trigger
from darc.queues.plain_connection import pack, unpack

OPTIONAL = ("test", "stokes", "nchan", "gain", "stages")


def number(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


dms = number(0, 100_000)
counts = st.integers(0, 2**53)
positive = number(0, 1e30)
beams = st.integers(0, 10**6)
times = st.none() | number(0, 1e11)
triggers = st.builds(
    Trigger,
    observation=st.text(),
    window=st.integers(-(2**63), 2**63 - 1),
    dm_bin=st.integers(-(2**63), 2**63 - 1),
    name=st.text(),
    src_name=st.none() | st.text(),
    dm=dms,
    dm_err=positive,
    dm_cluster=dms,
    width=number(0, 1e10),
    downsampling=st.integers(0, 10**6),
    snr=number(0, 100_000),
    flux=st.none() | positive,
    ra=st.none() | number(0, 360),
    dec=st.none() | number(-90, 90),
    cb=st.none() | beams,
    sb=beams,
    ymw16=st.none() | dms,
    galactic_model=st.none() | st.text(),
    semiMaj=positive,
    semiMin=positive,
    datetimesource=st.text(),
    utc=st.datetimes(
        datetime(1990, 1, 1), datetime(2210, 1, 1), timezones=st.none() | st.just(UTC)
    ).map(datetime.isoformat),
    tarr=number(-8.64e6, 8.64e6),
    count=counts,
    importance=st.floats(allow_nan=False, allow_infinity=False),
    dt=positive,
    delta_nu_MHz=number(1e-9, 1e6),
    nu_GHz=number(1e-3, 1e4),
    test=st.none() | st.booleans(),
    stokes=st.sampled_from(["IQUV", "I"]),
    nchan=st.none() | counts,
    gain=st.none() | positive,
    stages=st.builds(
        Stages,
        **dict.fromkeys(("written", "read", "queued", "closed", "clustered", "decided"), times),
        waited=number(0, 1e11),
    ),
)


@given(triggers)
def test_it_travels_and_arrives_the_same(trigger: Trigger) -> None:
    assert Trigger.from_plain(trigger.to_plain()) == trigger
    assert Trigger.from_plain(unpack(pack(trigger.to_plain()))) == trigger
    assert Trigger.from_plain(json.loads(json.dumps(trigger.to_plain()))) == trigger


def test_what_may_be_left_out() -> None:
    plain = TRIGGER.to_plain()
    assert set(plain) == {field.name for field in fields(Trigger)} - {"injection"}
    least = {key: value for key, value in plain.items() if key not in OPTIONAL}
    read = Trigger.from_plain(least)
    assert read == TRIGGER
    assert (read.test, read.stokes, read.stages) == (None, "IQUV", Stages())
    assert Trigger.from_plain({**least, "stages": {"closed": 5}}).stages == Stages(closed=5.0)


@pytest.mark.parametrize("key", sorted(set(TRIGGER.to_plain()) - set(OPTIONAL)))
def test_what_may_not(key: str) -> None:
    plain = TRIGGER.to_plain()
    del plain[key]
    with pytest.raises(ValueError, match=f"^trigger: {key}: missing; allowed: "):
        Trigger.from_plain(plain)


BAD: list[tuple[str, Any]] = [
    *((key, math.nan) for key in ("dm", "snr", "width", "tarr", "ra", "flux", "dt")),
    *((key, math.inf) for key in ("dm", "snr", "tarr", "importance")),
    *((key, -1e-9) for key in ("dm", "dm_err", "snr", "width", "flux", "nu_GHz")),
    *((key, low) for key in ("nu_GHz", "delta_nu_MHz") for low in (0.0, 1e-300)),
    *(("snr", 1_000_000), ("dm", 1e6), ("tarr", 10**400), ("count", 2**60)),
    *(("ra", 360.1), ("dec", -91.0), ("sb", -1), ("sb", 3.5), ("cb", "7")),
    *(("downsampling", True), ("snr", "20"), ("name", None), ("src_name", 5), ("test", "yes")),
    *(("stokes", "Q"), ("stokes", None), ("observation", b"190518009"), ("window", None)),
    *(("utc", "yesterday"), ("utc", ""), ("utc", 1558223483.3), ("utc", "2019-13-18T00:00:00")),
    *(("utc", "0001-01-01T00:00:00+23:59"), ("utc", "9999-12-31T23:59:59-23:59")),
    *(("window", 2**63), ("downsampling", 10**7), ("sb", 10**7), ("width", 1e300), ("tarr", 1e11)),
    *(("stages", None), ("stages", []), ("dm", [1.0]), ("dm", {})),
]


@pytest.mark.parametrize(("key", "value"), BAD)
def test_what_is_wrong_is_named(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^trigger: {key}: .*; allowed: "):
        Trigger.from_plain({**TRIGGER.to_plain(), key: value})


def test_all_that_is_wrong_is_named() -> None:
    plain = {**TRIGGER.to_plain(), "dm": -1.0, "snr": "?", "colour": "red", "stages": {"late": 1.0}}
    with pytest.raises(ValueError, match="trigger") as error:
        Trigger.from_plain(plain)
    assert [line.split(": ")[1] for line in str(error.value).splitlines()] == [
        *("dm", "snr"),
        *("colour", "stages.late"),
    ]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("data", [None, 5, 1.5, "trigger", b"trigger", [], [1, 2], (), True])
def test_what_is_no_trigger_at_all(data: object) -> None:
    with pytest.raises(ValueError, match=r"^trigger: .+ is not a mapping"):
        Trigger.from_plain(data)


@pytest.mark.parametrize("depth", [3, 505, 900])
def test_as_deep_as_it_can_travel(depth: int) -> None:
    """What ends in another error would end the service."""
    with pytest.raises(ValueError, match="trigger"):
        Trigger.from_plain(unpack(pack({**TRIGGER.to_plain(), "dm": nested(depth)})))


def test_identity() -> None:
    assert TRIGGER.identity == "190518009/9/4"
    assert made_trigger(snr=12.0, stokes="I", utc="2020-01-01").identity == TRIGGER.identity
    for other in ({"observation": "190518010"}, {"window": 10}, {"dm_bin": 3}):
        assert made_trigger(**other).identity != TRIGGER.identity


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1)),
    st.none() | st.integers(-23 * 60, 23 * 60),
)
def test_arrival(moment: datetime, offset: int | None) -> None:
    """A time that names no zone is UTC."""
    zone = UTC if offset is None else timezone(timedelta(minutes=offset))
    text = moment.isoformat() if offset is None else moment.replace(tzinfo=zone).isoformat()
    since = moment.replace(tzinfo=zone) - datetime(1970, 1, 1, tzinfo=UTC)
    arrival = made_trigger(utc=text).arrival
    assert arrival == pytest.approx(since / timedelta(seconds=1), abs=1e-6, rel=0)


@pytest.fixture
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock shows another time than UTC."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_elsewhere")
def test_arrival_of_the_example() -> None:
    assert TRIGGER.arrival == 1558223483.314159
    assert made_trigger(utc="2019-05-19T01:51:23.314159+02:00").arrival == TRIGGER.arrival
    assert made_trigger(utc="2019-05-18T23:51:23.314159Z").arrival == TRIGGER.arrival
