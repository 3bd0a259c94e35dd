"""What voevent-parse 1.0.3 made of the same triggers, byte for byte: kept here, or made anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from test_voevent import CREATED, DIRECTION, MARKUP, SENDER, SETUP, TRIGGER, made
from voevents import HAS_VOEVENT_PARSE, NO_VOEVENT_PARSE, params, read_event

from darc.model import voevent
from darc.model.trigger import Trigger
from darc.model.voevent import Direction, ObservationSetup, Sender

KEPT = Path(__file__).with_name("voevents")
#: Name of the file: trigger, and what else is not as usual.
CASES: dict[str, tuple[Trigger, dict[str, Any]]] = {
    "usual": (TRIGGER, {}),
    "observation": (
        replace(TRIGGER, name="frb", src_name="FRB 121102", utc="2019-12-31T23:59:59"),
        {"test": False, "created": datetime(2020, 1, 1, 0, 0, 0, 999_999, UTC)},
    ),
    "unknown": (
        replace(TRIGGER, flux=None, ra=None, cb=None, ymw16=None, galactic_model=None),
        {"direction": None, "sender": replace(SENDER, contact_name=None, contact_email=None)},
    ),
    "markup": (
        replace(TRIGGER, src_name=MARKUP, galactic_model="a\tb\n"),
        {
            "setup": replace(SETUP, backend="\n\t" + MARKUP, observatory="Ä"),
            "sender": Sender("ivo://nl.example/alert", "ivo://nl.example", "", MARKUP),
        },
    ),
}

needs_voevent_parse = pytest.mark.skipif(not HAS_VOEVENT_PARSE, reason=NO_VOEVENT_PARSE)


@pytest.mark.parametrize("name", CASES)
def test_events_are_those_of_before(name: str) -> None:
    trigger, changes = CASES[name]
    assert made(trigger, **changes) == (KEPT / f"{name}.xml").read_bytes()


def by_voevent_parse(
    trigger: Trigger,
    setup: ObservationSetup,
    direction: Direction | None,
    sender: Sender,
    **changes: Any,
) -> bytes:
    """Make the event with that library from the same facts."""
    import voeventparse as vp  # type: ignore[import-untyped]  # noqa: PLC0415

    created = changes.get("created", CREATED)
    arrival = datetime.fromisoformat(trigger.utc).replace(tzinfo=UTC)
    mjd = (created - datetime(1858, 11, 17, tzinfo=UTC)) / timedelta(days=1)
    event = vp.Voevent(
        sender.stream.removeprefix("ivo://"),
        f"FRB{arrival:%y%m%d%H%M}/{mjd:.8f}",
        "test" if changes.get("test", True) else "observation",
    )
    vp.set_who(event, created.replace(tzinfo=None), sender.author_ivorn.removeprefix("ivo://"))
    event.Who.Description = "Made by DARC in real time, without a human's judgement"
    if sender.contact_name or sender.contact_email:
        vp.set_author(event, contactName=sender.contact_name, contactEmail=sender.contact_email)
    groups = {
        "observatory parameters": voevent.observatory_facts(trigger, setup, direction),
        "event parameters": voevent.event_facts(trigger, direction, None),
        "advanced parameters": voevent.advanced_facts(trigger, arrival),
    }
    for name, facts in groups.items():
        made_of = []
        for fact in facts:
            if fact.value is None:
                continue
            param = vp.Param(fact.name, str(fact.value), fact.unit, fact.ucd, dataType=fact.kind)
            if fact.description:
                param.Description = fact.description
            made_of.append(param)
        event.What.append(vp.Group(made_of, name))
    error = str(trigger.semiMaj / 60)
    place = vp.Position2D(str(trigger.ra), str(trigger.dec), error, "deg", "UTC-FK5-GEO")
    vp.add_where_when(event, place, arrival, setup.observatory)
    coordinates = event.WhereWhen.ObsDataLocation.ObservationLocation.AstroCoords
    coordinates.Time.TimeInstant.ISOTime = f"{arrival:%Y-%m-%dT%H:%M:%S.%f}"
    if trigger.ra is None or trigger.dec is None:
        del coordinates.Position2D
    vp.add_why(event, importance=trigger.importance)
    event.Why.Concept = trigger.name
    event.Why.Name = "".join((trigger.src_name or "").split()) or f"FRB{arrival:%y%m%d}"
    event.Why.Description = voevent.criteria(trigger)
    vp.assert_valid_as_v2_0(event)
    xml: bytes = vp.dumps(event, pretty_print=True)
    return xml


numbers = st.floats(0, 1e9)
maybe = st.none() | numbers
#: Whatever can be in XML.
texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\r&<>\"']"),
    max_size=12,
)
ivoids = st.sampled_from(["nl.example/alert", "ivo://nl.example", "nl.a/b.c"])


@needs_voevent_parse
@given(
    trigger=st.builds(
        replace,
        st.just(TRIGGER),
        name=texts,
        src_name=st.none() | texts,
        dm=numbers,
        dm_err=numbers,
        snr=numbers,
        flux=maybe,
        ra=maybe,
        dec=maybe,
        cb=st.none() | st.integers(0, 50),
        ymw16=maybe,
        galactic_model=st.none() | texts | st.sampled_from(["ymw16", "NE2001"]),
        importance=st.floats(0, 1),
        utc=st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)).map(datetime.isoformat),
    ),
    setup=st.builds(replace, st.just(SETUP), backend=texts, observatory=texts, nchan=numbers),
    direction=st.none() | st.just(DIRECTION),
    sender=st.builds(Sender, ivoids, ivoids, st.none() | texts, st.none() | texts),
    test=st.booleans(),
    created=st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)),
)
def test_events_are_what_voevent_parse_makes(trigger: Trigger, **changes: Any) -> None:
    assert made(trigger, **changes) == by_voevent_parse(trigger, **changes)


@needs_voevent_parse
@pytest.mark.parametrize("name", CASES)
def test_voevent_parse_reads_them_as_we_do(name: str) -> None:
    import voeventparse as vp  # noqa: PLC0415

    trigger, changes = CASES[name]
    event = vp.loads(made(trigger, **changes))
    vp.assert_valid_as_v2_0(event)
    ours = params(read_event(made(trigger, **changes)))
    theirs = vp.get_grouped_params(event)
    assert {
        group: {name: param.get("value") for name, param in inside.items()}
        for group, inside in ours.items()
    } == {
        group: {name: param["value"] for name, param in inside.items()}
        for group, inside in theirs.items()
    }
