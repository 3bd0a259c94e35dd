"""VOEvents: every value, as a client reads them; valid by the schema."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from astropy.time import Time
from default_config import CONFIG
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from triggers import SPECIFIED
from voevents import params, read_event

from darc.model.trigger import Trigger
from darc.model.voevent import Direction, ObservationSetup, Sender, make_voevent

ARTS = CONFIG.instrument
GAIN = 0.8530220
SETUP = ObservationSetup.of(ARTS, ARTS, GAIN)
DIRECTION = Direction(gl=184.557, gb=-5.784, beam_rotation_angle=-12.25)
SENDER = Sender("nl.example/alert", "nl.example", "The team", "team@example.org")
CREATED = datetime(2019, 5, 18, 23, 52, 3, 250_000, tzinfo=UTC)
TRIGGER = SPECIFIED
BEAM = "instr.beam;pos.errorEllipse"
#: name: value, unit, UCD (triggers.md; template "detection" of the standard)
EXPECTED = {
    "observatory parameters": {
        "beam_semi-major_axis": ("15.0", "MM", f"{BEAM};phys.angSize.smajAxis"),
        "beam_semi-minor_axis": ("14.0", "MM", f"{BEAM};phys.angSize.sminAxis"),
        "beam_rotation_angle": ("-12.25", "Degrees", f"{BEAM};instr.offset"),
        "sampling_time": ("0.08192", "ms", "time.resolution"),
        "bandwidth": ("300.0", "MHz", "instr.bandwidth"),
        "nchan": ("1536", "None", "meta.number;em.freq;em.bin"),
        "centre_frequency": ("1369.60327148", "MHz", "em.freq;instr"),
        "npol": ("2", "None", None),
        "bits_per_sample": ("8", "None", None),
        "gain": ("0.853022", "K/Jy", None),
        "tsys": ("85.0", "K", "phot.antennaTemp"),
        "backend": ("ARTS", None, None),
        "beam": ("7", None, None),
    },
    "event parameters": {
        "dm": ("1056.6", "pc/cm^3", "phys.dispMeasure"),
        "dm_error": ("1.25", "pc/cm^3", "stat.error;phys.dispMeasure"),
        "width": ("0.8192", "ms", "time.duration;src.var.pulse"),
        "snr": ("28.4666", None, "stat.snr"),
        "flux": ("4.0375", "Jy", "phot.flux"),
        "gl": ("184.557", "Degrees", "pos.galactic.lon"),
        "gb": ("-5.784", "Degrees", "pos.galactic.lat"),
    },
    "advanced parameters": {
        "MW_dm_limit": ("188.5", "pc/cm^3", None),
        "galactic_electron_model": ("YMW16", None, None),
        "redshift_inferred": ("0.8681", "None", "src.redshift"),
        "arrival_frequency": ("1369.60327148", "MHz", "em.freq"),
        "arrival_mjd": ("58621.99401381", "d", "time.epoch"),
        "arrival_frame": ("topocentric", None, None),
        "dm_constant": ("4148.808", "MHz^2 pc^-1 cm^3 s", None),
    },
}


def made(trigger: Trigger = TRIGGER, **changes: Any) -> bytes:
    arguments = {
        "setup": SETUP,
        "direction": DIRECTION,
        "sender": SENDER,
        "test": True,
        "created": CREATED,
    }
    return make_voevent(trigger, **{**arguments, **changes})


def read(trigger: Trigger = TRIGGER, **changes: Any) -> Any:
    """As it comes back from its bytes, valid by the schema."""
    return read_event(made(trigger, **changes))


def names(event: Any) -> set[str]:
    return {name for group in params(event).values() for name in group}


def time_and_place(event: Any) -> Any:
    return event.WhereWhen.ObsDataLocation.ObservationLocation.AstroCoords


def test_every_parameter() -> None:
    found = {
        group: {
            name: (param.get("value"), param.get("unit"), param.get("ucd"))
            for name, param in inside.items()
        }
        for group, inside in params(read()).items()
    }
    days = found["advanced parameters"]["arrival_mjd"]
    expected = Time(TRIGGER.utc, scale="utc").mjd
    assert float(days[0]) == pytest.approx(expected, abs=2e-11)
    found["advanced parameters"]["arrival_mjd"] = (f"{float(days[0]):.8f}", *days[1:])
    assert found == EXPECTED
    assert [list(group) for group in found.values()] == [list(g) for g in EXPECTED.values()]


def test_numbers_are_said_to_be_numbers() -> None:
    texts = {"backend", "beam", "galactic_electron_model", "arrival_frame"}
    for group in params(read()).values():
        for name, param in group.items():
            assert (param.get("dataType") in ("int", "float")) == (name not in texts)


def test_who() -> None:
    event = read()
    assert event.Who.AuthorIVORN == "ivo://nl.example"
    assert event.Who.Date.text == "2019-05-18T23:52:03"
    assert event.Who.Author.contactName == "The team"
    assert event.Who.Author.contactEmail == "team@example.org"


def test_nobody_is_named_unless_configured() -> None:
    event = read(sender=replace(SENDER, contact_name=None, contact_email=None))
    assert not event.xpath("Who/Author")
    event = read(sender=replace(SENDER, contact_name=None))
    assert [child.tag for child in event.Who.Author.iterchildren()] == ["contactEmail"]


def test_the_prefix_of_identifiers_is_there_once() -> None:
    event = read(sender=Sender("ivo://nl.a/b", "ivo://nl.a", None, None))
    assert event.get("ivorn").startswith("ivo://nl.a/b#FRB")
    assert event.Who.AuthorIVORN == "ivo://nl.a"


@pytest.mark.parametrize(
    "text", ["", "nl a", "nl.a#b", "nl.a/", "<nl.a>", "ivo://", "nl.a\n", "nl", "-nl.a"]
)
def test_wrong_identifiers(text: str) -> None:
    with pytest.raises(ValueError, match="IVOA identifier"):
        Sender(text, "nl.a", None, None)
    with pytest.raises(ValueError, match="IVOA identifier"):
        Sender("nl.a", text, None, None)


def test_role() -> None:
    assert read(test=True).get("role") == "test"
    assert read(test=False).get("role") == "observation"


def test_identifier() -> None:
    # MJD 58621 is 2019-05-18; 23:52:03.25 is 85923.25 s of 86400
    assert read().get("ivorn") == "ivo://nl.example/alert#FRB1905182351/58621.99448206"


def test_the_identifier_tells_two_events_of_a_minute_apart() -> None:
    later = CREATED + timedelta(milliseconds=2)
    assert read().get("ivorn") != read(created=later).get("ivorn")


def test_the_minute_of_the_burst_is_not_rounded() -> None:
    event = read(replace(TRIGGER, utc="2019-12-31T23:59:59.999999"))
    assert event.get("ivorn").startswith("ivo://nl.example/alert#FRB1912312359/")


def test_where_and_when() -> None:
    event = read()
    location = event.WhereWhen.ObsDataLocation
    assert location.ObservatoryLocation.get("id") == "WSRT"
    assert location.ObservationLocation.AstroCoordSystem.get("id") == "UTC-FK5-GEO"
    coordinates = time_and_place(event)
    assert coordinates.get("coord_system_id") == "UTC-FK5-GEO"
    assert coordinates.Time.TimeInstant.ISOTime.text == "2019-05-18T23:51:22.793214"
    place = coordinates.Position2D
    assert place.get("unit") == "deg"
    assert (place.Value2.C1.text, place.Value2.C2.text) == ("83.633125", "-22.0145")
    assert place.Error2Radius.text == "0.25"


@pytest.mark.parametrize(
    ("utc", "expected"),
    [
        ("2019-05-18T23:51:22", "2019-05-18T23:51:22.000000"),
        ("2019-05-18T23:51:22.5", "2019-05-18T23:51:22.500000"),
        ("2019-05-18T23:51:22.000001Z", "2019-05-18T23:51:22.000001"),
        ("2019-05-19T01:51:22.25+02:00", "2019-05-18T23:51:22.250000"),
    ],
)
def test_the_time_has_its_fraction_of_a_second(utc: str, expected: str) -> None:
    event = read(replace(TRIGGER, utc=utc))
    assert time_and_place(event).Time.TimeInstant.ISOTime.text == expected
    assert "#FRB1905182351/" in event.get("ivorn")


def test_creation_in_another_time_zone() -> None:
    abroad = CREATED.astimezone(timezone(timedelta(hours=-7)))
    assert made(created=abroad) == made() == made(created=CREATED.replace(tzinfo=None))


def test_why() -> None:
    event = read()
    assert event.Why.get("importance") == "0.1"
    assert (event.Why.Name, event.Why.Concept) == ("FRB190518", "candidate")
    event = read(replace(TRIGGER, name="frb", src_name="FRB 121102"))
    assert (event.Why.Name, event.Why.Concept) == ("FRB121102", "frb")
    blank = read(replace(TRIGGER, name="frb", src_name=" \n"))
    assert blank.Why.Name == "FRB190518"


def test_why_says_what_the_importance_goes_by() -> None:
    text = read().Why.Description.text
    for part in ("0.1: it has passed", "S/N 28.5", "DM 1056.60", "(5.61 times", "candidates 12"):
        assert part in text
    assert "Milky Way" not in read(replace(TRIGGER, ymw16=None)).Why.Description.text


KNOWN = replace(TRIGGER, name="frb", src_name="FRB 121102", dm=557.0, dm_err=0.0, dm_cluster=559.25)


def test_a_known_source_has_the_dm_measured_and_the_catalogues() -> None:
    groups = params(read(KNOWN, dm_error=1.75))
    measured, more = groups["event parameters"], groups["advanced parameters"]
    assert measured["dm"].get("value") == "559.25"
    assert measured["dm_error"].get("value") == "1.75"
    catalogue = more["dm_catalogue"]
    assert (catalogue.get("value"), catalogue.get("unit")) == ("557.0", "pc/cm^3")
    assert catalogue.get("ucd") == "phys.dispMeasure"
    assert "dm_catalogue" not in names(read())
    # An error of 0 is none.
    assert "dm_error" not in names(read(KNOWN))


def test_the_redshift_is_of_what_is_beyond_the_milky_way() -> None:
    def redshift(trigger: Trigger) -> Any:
        return params(read(trigger))["advanced parameters"].get("redshift_inferred")

    found = redshift(KNOWN)
    assert float(found.get("value")) == pytest.approx((559.25 - 188.5) / 1000)
    assert found.Description.text.startswith("z = (dm - MW_dm_limit) / (1000 pc/cm^3)")
    for change in ({"ymw16": None}, {"ymw16": 559.25}, {"ymw16": 891.0}, {"name": "pulsar"}):
        assert redshift(replace(KNOWN, **change)) is None


MARKUP = "<b>&amp; \"R1\" 'x' ]]> é☄"


def test_markup_is_text() -> None:
    sender = replace(SENDER, contact_name=MARKUP)
    setup = replace(SETUP, backend=MARKUP)
    trigger = replace(TRIGGER, src_name=MARKUP, galactic_model=MARKUP)
    event = read(trigger, sender=sender, setup=setup)
    assert event.Why.Name == MARKUP.replace(" ", "")
    assert event.Who.Author.contactName == MARKUP
    groups = params(event)
    assert groups["observatory parameters"]["backend"].get("value") == MARKUP
    assert groups["advanced parameters"]["galactic_electron_model"].Description.text == MARKUP


@pytest.mark.parametrize("text", ["a\0b", "a\x1b[0m", "\ud800"])
def test_what_cannot_be_in_xml(text: str) -> None:
    with pytest.raises(ValueError, match=r"XML|surrogates"):
        made(replace(TRIGGER, src_name=text))


@pytest.mark.parametrize(
    ("model", "value", "description"),
    [
        ("NE2001", "NE2001", None),
        ("ymw16", "YMW16", None),
        ("TC93", "TC93", None),
        ("NE2025", "Other", "NE2025"),
    ],
)
def test_models_of_the_milky_way(model: str, value: str, description: str | None) -> None:
    event = read(replace(TRIGGER, galactic_model=model))
    param = params(event)["advanced parameters"]["galactic_electron_model"]
    assert param.get("value") == value
    assert [text.text for text in param.iterchildren()] == ([description] if description else [])


def test_what_is_not_known_is_left_out() -> None:
    unknown = {"flux", "ra", "dec", "cb", "ymw16", "galactic_model"}
    event = read(replace(TRIGGER, **dict.fromkeys(unknown)), direction=None)
    gone = {"flux", "beam", "MW_dm_limit", "galactic_electron_model", "beam_rotation_angle"}
    gone |= {"gl", "gb", "redshift_inferred"}
    assert names(event) == names(read()) - gone
    assert not time_and_place(event).findall("Position2D")
    assert time_and_place(event).Time.TimeInstant.ISOTime.text.endswith(".793214")
    assert b"None" not in made(replace(TRIGGER, ra=None)).replace(b'unit="None"', b"")


@pytest.mark.parametrize(
    "field", ["dm", "snr", "width", "ra", "dec", "semiMaj", "dt", "importance"]
)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=r"not a finite number|not a VOEvent"):
        made(replace(TRIGGER, **{field: value}))


def test_a_time_that_is_none() -> None:
    with pytest.raises(ValueError, match="is not a time"):
        made(replace(TRIGGER, utc="yesterday"))


numbers = st.floats(0, 1e5)


@settings(deadline=None)
@given(
    dm=numbers, snr=numbers, dt=st.integers(1, 10**9), ra=st.floats(0, 360), nchan=st.integers(1)
)
def test_numbers_come_back_exactly(dm: float, snr: float, dt: int, ra: float, nchan: int) -> None:
    trigger = replace(TRIGGER, dm=dm, snr=snr, dt=float(f"{dt}e-12"), ra=ra)
    event = read(trigger, setup=replace(SETUP, nchan=nchan))
    groups = params(event)
    assert float(groups["event parameters"]["dm"].get("value")) == dm
    assert float(groups["event parameters"]["snr"].get("value")) == snr
    assert groups["observatory parameters"]["sampling_time"].get("value") == str(float(f"{dt}e-9"))
    assert int(groups["observatory parameters"]["nchan"].get("value")) == nchan
    assert float(time_and_place(event).Position2D.Value2.C1.text) == ra


printable = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
)


@settings(deadline=None)
@given(printable.filter(str.strip))
def test_any_name_comes_back_as_one_word(name: str) -> None:
    assert read(replace(TRIGGER, src_name=name)).Why.Name.text == "".join(name.split())
