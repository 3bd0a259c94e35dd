"""Notices of others: examples of those that send them, and what nobody should send."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from astropy import units
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from darc.config.records import convert, to_builtins
from darc.model.event import AlertType
from darc.model.outside_notice import MAX_DEPTH, NoticeError, OutsideNotice, nesting, read_notice

EXAMPLES = Path(__file__).resolve().parents[2] / "../shared/data/gcn/gcn/notices"
TOPIC = "gcn.notices.chime.frb"
USUAL: dict[str, Any] = {"id": "1", "trigger_time": "2026-11-22T19:39:08.5Z"}
#: As LIGO, Virgo and KAGRA publish them: https://emfollow.docs.ligo.org/userguide/content.html
WAVE: dict[str, Any] = {
    "alert_type": "PRELIMINARY",
    "time_created": "2026-11-01T22:34:49Z",
    "superevent_id": "S261101ab",
    "urls": {"gracedb": "https://example.org/superevents/S261101ab/view/"},
    "event": {
        "significant": True,
        "time": "2026-11-01T22:22:46.654437Z",
        "far": 9.11e-14,
        "instruments": ["H1", "L1"],
        "group": "CBC",
        "properties": {"HasNS": 0.95},
        "classification": {"BNS": 0.95},
        "skymap": "U0lNUExFICA9" * 1000,
    },
    "external_coinc": None,
}


def read(topic: str = TOPIC, **values: Any) -> OutsideNotice:
    return read_notice(json.dumps(USUAL | values).encode(), topic)


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="no examples of GCN's notices on this machine")
@pytest.mark.parametrize("instrument", ["chime", "dsa110"])
@pytest.mark.parametrize("kind", ["detection", "subsequent", "update", "retraction"])
def test_examples_of_instruments_are_read(instrument: str, kind: str) -> None:
    content = (EXAMPLES / instrument / f"frb.{kind}.example.json").read_bytes()
    found, stated = read_notice(content, TOPIC), json.loads(content)
    assert found.kind is (AlertType.INITIAL if kind == "detection" else AlertType(kind))
    assert (found.id, found.tense) == (stated["id"], "current")
    assert found.trigger_time == pytest.approx(Time(stated["trigger_time"]).unix, abs=1e-6)
    assert (found.ra, found.dm) == (stated.get("ra"), stated.get("dm"))
    if "ra" in stated:
        assert found.position_error == max(stated["ra_dec_error"][:2])
        assert found.importance == stated["importance"]


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="no examples of GCN's notices on this machine")
def test_chime_states_the_time_at_the_bottom_of_its_band() -> None:
    """Our delay from infinite frequency to 400 MHz is the one between its two times."""
    found = read_notice((EXAMPLES / "chime/frb.detection.example.json").read_bytes(), TOPIC)
    at_bottom = found.arrival(400.0)
    assert at_bottom is not None
    assert at_bottom == pytest.approx(found.trigger_time, abs=0.002)


def test_arrival_by_dm_as_the_physical_constant_has_it() -> None:
    """4.148808 ms at 1 GHz for 1 pc cm-3 by e^2/(2 pi m_e c); astropy has the constants."""
    from astropy import constants  # noqa: PLC0415

    charge = constants.e.esu
    dispersion = (charge**2 / (2 * math.pi * constants.m_e * constants.c)).to(
        units.cm**3 * units.MHz**2 * units.s / units.pc,
        equivalencies=[(units.Fr**2, units.erg * units.cm)],
    )
    found = read(dm=500.0, trigger_time_frequency=600.0)
    assert found.trigger_time is not None
    expected = dispersion.value * 500.0 * (1400.0**-2 - 600.0**-2)
    arrival = found.arrival(1400.0)
    assert arrival is not None
    assert arrival - found.trigger_time == pytest.approx(expected, rel=1e-5)
    assert read(dm=500.0).arrival(1400.0) is None  # the frequency is not known
    assert read(dm=500.0).arrival(1400.0, 600.0) == arrival
    assert read().arrival(1400.0) == read().trigger_time  # gamma rays are not delayed


def test_a_gravitational_wave_has_no_position() -> None:
    found = read_notice(json.dumps(WAVE).encode(), "igwn.gwalert")
    assert (found.id, found.kind, found.tense) == ("S261101ab", AlertType.INITIAL, "current")
    assert (found.position, found.far, found.dm) == (None, 9.11e-14, None)
    assert found.trigger_time == pytest.approx(Time("2026-11-01T22:22:46.654437").unix, abs=1e-6)
    for id, tense in (("MS261101ab", "test"), ("TS261101ab", "test"), ("S261101ab", "current")):
        gone = WAVE | {"superevent_id": id, "alert_type": "RETRACTION", "event": None}
        found = read_notice(json.dumps(gone).encode(), "igwn.gwalert")
        assert (found.kind, found.tense) == (AlertType.RETRACTION, tense)


def test_ids_and_names() -> None:
    assert read(id=["a", "b"]).id == "a"
    assert read(id=427325191).id == "427325191"
    assert read(id=None, event_name=["GRB 1", "GW 2"]).id == "GRB 1"
    assert read(id="<b>%s{0}</b>").id == "<b>%s{0}</b>"
    assert read("other", id="a").key != read(id="a").key
    assert read(id="a", ra=1.0).key == read(id="a").key


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"id": None}, "neither id nor event_name"),
        ({"id": ""}, "neither id nor event_name"),
        ({"id": []}, "neither"),
        ({"id": [1]}, "Expected `str`"),
        ({"id": True}, "Expected"),
        ({"id": "a\0b"}, "cannot be printed"),
        ({"id": "a\x1b[2Jb"}, "cannot be printed"),
        ({"id": "a\u202eb"}, "cannot be printed"),
        ({"id": "a\nb"}, "cannot be printed"),
        ({"id": "x" * 201}, "201 characters; allowed: 200"),
        ({"instrument": "a\rb"}, "instrument has characters"),
        ({"known_source": "x" * 201}, "known_source"),
        ({"alert_type": "begin"}, "alert_type is not one of"),
        ({"alert_tense": "now"}, "alert_tense is not one of"),
        ({"trigger_time": "yesterday"}, "trigger_time is not a time"),
        ({"trigger_time": "9" * 100}, "trigger_time is not a time"),
        ({"trigger_time": "0001-01-01T00:00:00Z"}, "trigger_time"),
        ({"trigger_time": "9999-12-31T23:59:59-23:59"}, "trigger_time"),
        ({"trigger_time": 5}, "Expected `str"),
        ({"ra": 361}, "ra is 361"),
        ({"ra": "5"}, "Expected `float"),
        ({"ra": True}, "Expected `float"),
        ({"dec": -90.1}, "dec is -90.1"),
        ({"ra_dec_error": []}, "ra_dec_error has 0 values"),
        ({"ra_dec_error": [1, 2, 3, 4]}, "ra_dec_error has 4 values"),
        ({"ra_dec_error": -1}, "ra_dec_error is -1"),
        ({"dm": -1}, "dm is -1"),
        ({"dm": 1e6}, "dm is 1000000"),
        ({"dm": {"value": 1}}, "Expected `float"),
        ({"importance": 2}, "importance is 2"),
        ({"far": -1}, "far is -1"),
        ({"trigger_time_frequency": 0}, "trigger_time_frequency is 0"),
        ({"event": []}, "Expected `object"),
        ({"superevent_id": "S1", "alert_type": "other"}, "alert_type is not one of"),
        ({"superevent_id": "", "alert_type": "INITIAL"}, "superevent_id is empty"),
    ],
)
def test_a_value_that_cannot_be_is_named(values: dict[str, Any], why: str) -> None:
    with pytest.raises(NoticeError, match=why):
        read(**values)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"id": "a", "ra": NaN}',
        b'{"id": "a", "ra": Infinity}',
        b'{"id": "a", "other": -Infinity}',
        b'{"id": "a", "ra": 1e999}',
        b'{"id": ' + b"9" * 100_000 + b"}",
        b'{"id": "\\ud800"}',
        b'{"id": "a"} {"id": "b"}',
        b"<!DOCTYPE x [<!ENTITY a '&b;'>]>",
        b"\x80\x04cos\nsystem\n(S'id'\ntR.",
        b'{"id": "' + b"a" * 2**20,
        b'"' + b'\\"' * 2**19,
    ],
)
def test_what_is_no_notice_is_refused_soon(content: bytes) -> None:
    began = time.process_time()
    with pytest.raises(NoticeError):
        read_notice(content, TOPIC)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("bracket", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("closed", [True, False])
def test_nesting_is_limited_before_anything_is_read(bracket: bytes, closed: bool) -> None:
    depth = 10_000 * (bracket.count(b"[") + bracket.count(b"{"))
    end = (b"]" * depth if bracket == b"[" else b"0") if closed else b""
    content = b'{"id": "a", "other": ' + bracket * 10_000 + end
    with pytest.raises(NoticeError, match=f"nested {depth + 1} deep; allowed: {MAX_DEPTH}"):
        read_notice(content, TOPIC)


def test_a_mebibyte_of_brackets_costs_little() -> None:
    began = time.process_time()
    for content in (b"[" * 2**20, b"[]" * 2**19, b'["' * 2**19, b'"\\' * 2**19):
        with pytest.raises(NoticeError):
            read_notice(content, TOPIC)
    assert time.process_time() - began < 4.0


_plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


def _depth(value: Any) -> int:
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return 1 + max(map(_depth, parts), default=0)
    return 0


@given(_plain)
def test_the_depth_of_any_json_is_found(value: Any) -> None:
    assert nesting(json.dumps(value).encode()) == _depth(value)
    assert nesting(json.dumps(value, ensure_ascii=False).encode(errors="replace")) == _depth(value)


_names = ["id", "ra", "dec", "dm", "alert_type", "alert_tense", "trigger_time", "event", "far"]


@given(
    st.binary(max_size=200)
    | st.dictionaries(st.sampled_from(_names), _plain).map(
        lambda values: json.dumps(USUAL | values).encode()
    )
)
def test_anything_is_a_notice_or_refused(content: bytes) -> None:
    try:
        found = read_notice(content, TOPIC)
    except NoticeError:
        return
    assert found.id.isprintable()
    assert 0 < len(found.id) <= 200
    for value in (found.ra, found.dec, found.dm, found.far, found.trigger_time):
        assert value is None or math.isfinite(value)
    assert convert(to_builtins(found), OutsideNotice) == found
