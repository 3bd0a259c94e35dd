"""GCN notices: what they say, and that our schema and GCN's own core schemas take them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec.structs import replace
from referencing import Registry, Resource
from triggers import SPECIFIED, made_trigger

from darc.model.event import (
    AlertType,
    Association,
    Event,
    MeasuredBurst,
    RoadName,
    RoadState,
    Tense,
    event_id,
)
from darc.model.notice import make_notice
from darc.model.trigger import Trigger
from darc.model.voevent import ObservationSetup
from darc.services.voevent_generator.notice_schema import (
    InvalidNoticeError,
    check_notice,
    schema,
)

SETUP = ObservationSetup("WSRT", "ARTS", 300.0, 1536, 2, 8, 1.0, 85.0)
SCHEMA = "urn:darc:gcn:frb:1"
AT = 1.8e9
CORE = "https://gcn.nasa.gov/schema/main/gcn/notices/core/"
BASES = ("Alert", "Reporter", "Event", "DateTime", "Localization", "DispersionMeasure")
MEASURED = MeasuredBurst(31.5, 1558223482.5, 1050.0, None, 1.5, 0.98, "processor of arts001")


def announced(
    trigger: Trigger, kind: AlertType = AlertType.INITIAL, tense: Tense = Tense.CURRENT
) -> Event:
    event = Event(event_id(trigger, tense), trigger, tense, AT)
    return event.with_notice(event.next_notice(kind, AT, "the search"))


def said(event: Event, **more: Any) -> dict[str, Any]:
    """Its latest notice, which our schema takes."""
    options = {"schema": SCHEMA, "dm_error": 1.25, **more}
    content = make_notice(event, event.latest, SETUP, **options)
    check_notice(content)
    found: dict[str, Any] = json.loads(content)
    return found


def followed(event: Event, kind: AlertType, reason: str) -> Event:
    return event.with_notice(event.next_notice(kind, AT, "arts@arts041", reason, supervised=True))


# -- what it says ------------------------------------------------------------------------------


def test_a_notice_has_all_that_a_trigger_knows() -> None:
    found = said(announced(SPECIFIED), rotation=-30.0)
    assert found["mission"] == "WSRT"
    assert found["instrument"] == "ARTS"
    assert (found["alert_type"], found["alert_tense"]) == ("initial", "current")
    assert found["record_number"] == 1
    assert found["alert_datetime"] == "2027-01-15T08:00:00.000000Z"
    assert (found["ra"], found["dec"]) == (83.633125, -22.0145)
    assert found["ra_dec_error"] == [0.25, 0.233333, 330.0]
    assert (found["dm"], found["dm_error"]) == (1056.6, 1.25)
    assert (found["snr"], found["event_duration"]) == (28.467, 0.8192)
    assert (found["peak_flux_density"], found["importance"]) == (4.0375, 0.1)
    assert found["dm_gal_ymw16_max"] == 188.5
    assert (found["beam"], found["synthesised_beam"]) == (7, 35)
    assert (found["sampling_time"], found["npol"], found["tsys"]) == (0.08192, 2, 85.0)
    assert found["spectral_band_units"] == "MHz"
    assert found["spectral_band"] == pytest.approx([1219.603271, 1519.603271])
    assert "known_source" not in found
    assert "verdict" not in found


def test_times_are_at_the_top_of_the_band_and_at_infinite_frequency() -> None:
    found = said(announced(SPECIFIED))
    top = 1369.60327148 + 150 - 300 / 1536 / 2
    assert found["trigger_time_frequency"] == pytest.approx(top, abs=1e-6)
    # Worked out by hand: 4148.808 s * DM / f^2 (MHz).
    centre = datetime(2019, 5, 18, 23, 51, 22, 793214, UTC)
    infinite = centre - timedelta(seconds=4148.808 * 1056.6 / 1369.60327148**2)
    assert found["trigger_time_inf_freq"] == f"{infinite:%Y-%m-%dT%H:%M:%S.%f}Z"
    at_top = infinite + timedelta(seconds=4148.808 * 1056.6 / top**2)
    trigger_time = datetime.fromisoformat(found["trigger_time"])
    assert abs((trigger_time - at_top).total_seconds()) < 2e-6
    # That is what the search calls its time.
    assert found["trigger_time_error"] == pytest.approx(0.0004096)
    error = 4148.808 * 1.25 / top**2
    assert found["trigger_time_inf_freq_error"] == pytest.approx(
        (0.0004096**2 + error**2) ** 0.5, rel=1e-4
    )


def test_times_of_a_known_source_go_by_the_dm_as_found_as_its_error_does() -> None:
    known = replace(SPECIFIED, name="frb", src_name="R1", dm=1050.0)
    found, candidate = said(announced(known)), said(announced(SPECIFIED))
    for key in ("trigger_time", "trigger_time_inf_freq", "trigger_time_inf_freq_error", "dm"):
        assert found[key] == candidate[key]
    assert found["dm_catalogue"] == 1050.0


def test_a_round_beam_has_one_radius_and_an_unknown_position_none() -> None:
    assert said(announced(made_trigger()))["ra_dec_error"] == 0.25
    found = said(announced(made_trigger(ra=None, dec=None)))
    assert not {"ra", "dec", "ra_dec_error", "containment_probability"} & set(found)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("YMW16", "dm_gal_ymw16_max"),
        ("NE2001", "dm_gal_ne_2001_max"),
        ("ne2025", "dm_gal_ne_2025_max"),
        ("another", "dm_gal_max"),
    ],
)
def test_the_galactic_model_has_a_property_of_its_own(model: str, name: str) -> None:
    found = said(announced(made_trigger(galactic_model=model)))
    assert {key for key in found if key.startswith("dm_gal_") and key != "dm_gal_model"} == {name}
    assert found[name] == 190.5
    assert found.get("dm_gal_model") == ("another" if model == "another" else None)


def test_a_known_source_is_subsequent_with_its_own_dm_as_measured() -> None:
    trigger = made_trigger(name="frb", src_name="FRB121102", dm=557.0, dm_cluster=560.5, dm_err=0.0)
    event = announced(trigger, AlertType.SUBSEQUENT)
    found = said(replace(event, association=Association("FRB121102", 0.93)))
    assert (found["alert_type"], found["known_source"]) == ("subsequent", "FRB121102")
    assert found["association_probability"] == 0.93
    assert (found["dm"], found["dm_catalogue"]) == (560.5, 557.0)


def test_an_update_says_what_was_measured_and_a_verdict() -> None:
    first = announced(SPECIFIED)
    event = followed(replace(first, measured=MEASURED), AlertType.UPDATE, "measured")
    found = said(event)
    assert (found["alert_type"], found["record_number"]) == ("update", 2)
    assert found["id"] == said(first)["id"]
    assert (found["dm"], found["snr"], found["event_duration"]) == (1050.0, 31.5, 1.5)
    assert (found["importance"], found["update_message"]) == (0.98, "measured")
    assert found["trigger_time"] == "2019-05-18T23:51:22.500000Z"
    confirmed = followed(replace(event, verdict="a burst"), AlertType.UPDATE, "seen")
    assert (said(confirmed)["importance"], said(confirmed)["verdict"]) == (1.0, "a burst")


def test_a_retraction_has_its_reason_and_no_numbers() -> None:
    event = followed(announced(SPECIFIED), AlertType.RETRACTION, "a microwave oven")
    found = said(event)
    assert (found["alert_type"], found["update_message"]) == ("retraction", "a microwave oven")
    assert found["description"] == "Sent by a person"
    assert not {"ra", "dm", "snr", "importance"} & set(found)
    assert event.is_retracted
    with pytest.raises(ValueError, match=r"was retracted 2027-.* by arts@arts041: nothing follows"):
        event.next_notice(AlertType.UPDATE, AT, "processor")


# -- schemas -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"surprise": 1}, "surprise"),
        ({"dm": "high"}, "dm: 'high'"),
        ({"importance": 5.0}, "importance: 5.0"),
        ({"alert_type": "update"}, "update_message"),
        ({"id": None}, "id: None"),
        ({"ra": 361.0}, "ra: 361"),
        ({"trigger_time": "2026-11-22 19:00:00"}, "trigger_time"),
    ],
)
def test_our_schema_refuses_what_is_wrong(change: dict[str, Any], why: str) -> None:
    good = said(announced(SPECIFIED))
    with pytest.raises(InvalidNoticeError, match=why):
        check_notice(json.dumps(good | change).encode())


def test_our_schema_needs_no_other() -> None:
    """All references are within it, so nothing is looked up in a network."""
    text = json.dumps(schema())
    assert text.count('"$ref": "') == text.count('"$ref": "#/$defs/')
    assert schema()["unevaluatedProperties"] is False


@pytest.fixture
def core(shared_data: Path) -> Registry[Any]:
    directory = shared_data / "gcn" / "gcn" / "notices" / "core"
    if not directory.is_dir():
        pytest.skip(f"GCN's schemas are not at {directory}")
    found: list[tuple[str, Resource[Any]]] = []
    for path in directory.rglob("*.schema.json"):
        resource = Resource.from_contents(json.loads(path.read_text()))
        found.append((str(resource.id()), resource))
    return Registry().with_resources(found)


def events() -> list[Event]:
    first = announced(SPECIFIED)
    measured = followed(replace(first, measured=MEASURED), AlertType.UPDATE, "measured")
    known = announced(made_trigger(name="frb", src_name="R1"), AlertType.SUBSEQUENT, Tense.TEST)
    return [
        first,
        measured,
        replace(known, association=Association("R1", 0.5)),
        followed(measured, AlertType.RETRACTION, "interference"),
        announced(made_trigger(), tense=Tense.INJECTION),
    ]


def test_what_is_of_gcns_core_is_as_gcn_has_it(core: Registry[Any]) -> None:
    """With `unevaluatedProperties: false`: each property of the base is one of the core's, too."""
    ours = schema()
    base = {name for base in BASES for name in ours["$defs"][base]["properties"]}
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "allOf": [{"$ref": f"{CORE}{name}.schema.json"} for name in BASES],
        "unevaluatedProperties": False,
    }
    validator = Draft202012Validator(whole, registry=core)
    seen: set[str] = set()
    for event in events():
        part = {name: value for name, value in said(event).items() if name in base}
        seen |= set(part)
        assert not list(validator.iter_errors(part))
    assert seen == base
    assert list(validator.iter_errors({"snr": 1.0}))  # of ours alone: the test can fail


def test_notices_have_the_properties_of_the_others(shared_data: Path, core: Registry[Any]) -> None:
    """CHIME's whole schema, whose names ours has where it has the quantity."""
    path = shared_data / "gcn" / "gcn" / "notices" / "chime" / "frb.schema.json"
    chime = json.loads(path.read_text())
    validator = Draft202012Validator(chime, registry=core)
    for event in events():
        assert not list(validator.iter_errors(said(event)))
    missing = {*chime["properties"]} - {*schema()["properties"]}
    assert not missing


# -- the event ---------------------------------------------------------------------------------


def test_an_event_is_remembered_as_it_was() -> None:
    for event in events():
        sent = event.with_state(1, RoadName.KAFKA, RoadState.ACKNOWLEDGED)
        assert Event.from_plain(json.loads(json.dumps(sent.to_plain()))) == sent


def test_an_id_is_the_same_for_the_same_and_another_for_another() -> None:
    assert event_id(SPECIFIED, Tense.CURRENT) == event_id(replace(SPECIFIED), Tense.CURRENT)
    others = [
        event_id(SPECIFIED, Tense.TEST),
        event_id(replace(SPECIFIED, utc="2019-05-18T23:51:22.793215"), Tense.CURRENT),
        event_id(replace(SPECIFIED, dm_bin=8), Tense.CURRENT),
    ]
    assert len({*others, event_id(SPECIFIED, Tense.CURRENT)}) == 4


def test_a_withdrawn_notice_has_no_followers() -> None:
    event = announced(SPECIFIED)
    for road in RoadName:
        event = event.with_state(1, road, RoadState.WAITING)
    event = event.with_state(1, RoadName.VTP, RoadState.WITHDRAWN)
    event = event.with_state(1, RoadName.FILE, RoadState.GIVEN_UP)
    assert event.roads_to_follow() == (
        RoadName.KAFKA,
        RoadName.WEBHOOK,
        RoadName.FILE,
        RoadName.CHAT,
    )


@settings(max_examples=200, deadline=None)
@given(
    dm=st.floats(0, 1e5),
    width=st.floats(0, 1e10),
    snr=st.floats(0, 1e5),
    ra=st.none() | st.floats(0, 360),
    dt=st.floats(1e-9, 10),
    frequency=st.floats(0.3, 10),
    source=st.none() | st.text(max_size=20),
    dm_error=st.none() | st.floats(0, 1e30),
)
def test_whatever_a_trigger_holds_there_is_a_valid_notice_or_a_reason(
    dm: float,
    width: float,
    snr: float,
    ra: float | None,
    dt: float,
    frequency: float,
    source: str | None,
    dm_error: float | None,
) -> None:
    values = {"dm": dm, "width": width, "snr": snr, "ra": ra, "dt": dt, "nu_GHz": frequency}
    event = announced(made_trigger(**values, src_name=source, dm_cluster=dm))
    try:
        content = make_notice(event, event.latest, SETUP, schema=SCHEMA, dm_error=dm_error)
    except (ValueError, ArithmeticError, OSError):
        return  # a time before the year 1, a number that is infinite
    check_notice(content)
