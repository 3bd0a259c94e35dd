"""The e-mail about a trigger for LOFAR: every line, and numbers against astropy."""

from __future__ import annotations

import pytest
from astropy.coordinates import Angle, Latitude, Longitude
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from triggers import SPECIFIED

from darc.model.trigger import Trigger
from darc.services.lofar_trigger.lofar_email import compose

FREEZE = 1_558_223_490.5014
SENT = 1_558_223_486.25
TRIGGER = replace(SPECIFIED, dm_cluster=1056.75, ra=83.63308)
TEXT = """\
A TEST trigger was sent to LOFAR.

Observation   2019-05-18-23:51:13.B1933+16
Task id       190518009
Source        new source (candidate)
DM            1056.6 ± 1.25 pc cm-3
DM as found   1056.75 ± 1.25 pc cm-3
S/N           28.47
Arrival time  2019-05-18 23:51:22.793214 UTC at 1369.603 MHz, centre of the band, topocentric
Width         0.8192 ms
Flux density  4.037 Jy
CB            07
SB or TAB     35
RA (ICRS)     83.63308 deg  05:34:31.94
Dec (ICRS)    -22.01450 deg  -22:00:52.2
Freeze time   2019-05-18 23:51:30.501 UTC
Sent          2019-05-18 23:51:26.250 UTC
Test          yes
"""


def rows(
    trigger: Trigger = TRIGGER, freeze_time: float = FREEZE, test: bool = True
) -> dict[str, str]:
    """The values of the table by their labels, which all begin in the same column."""
    _, text = compose(trigger, freeze_time, test=test, sent_at=SENT)
    lines = text.splitlines()[2:]
    assert all(line[12:14] == "  " and line[14] != " " for line in lines)
    return {line[:14].rstrip(): line[14:] for line in lines}


def test_the_whole_of_it() -> None:
    subject, text = compose(TRIGGER, FREEZE, test=True, sent_at=SENT)
    assert subject == "TEST LOFAR trigger: new source, DM 1056.6, S/N 28.47"
    assert text == TEXT


def test_of_an_observation() -> None:
    known = replace(TRIGGER, name="frb", src_name="FRB20121102A", dm=557.0, dm_err=0.0)
    subject, text = compose(known, FREEZE, test=False, sent_at=SENT)
    assert subject == "LOFAR trigger: FRB20121102A, DM 557, S/N 28.47"
    assert "TEST" not in text
    table = rows(known, test=False)
    assert table["Source"] == "FRB20121102A (frb)"
    assert table["DM"] == "557 pc cm-3, of the catalogue"
    assert table["DM as found"] == "1056.75 pc cm-3"
    measured = compose(known, FREEZE, test=False, sent_at=SENT, dm_error=0.75)[1]
    assert "DM as found   1056.75 ± 0.75 pc cm-3\n" in measured
    assert table["Test"] == "no"


def test_what_is_not_known_is_said_to_be() -> None:
    table = rows(replace(TRIGGER, flux=None, ra=None, dec=None, cb=None, snr=float("nan")))
    unknown = {label for label, value in table.items() if value == "unknown"}
    assert unknown == {"Flux density", "RA (ICRS)", "Dec (ICRS)", "CB", "S/N"}


@pytest.mark.parametrize("dec", [90.1, -1e300, float("nan")])
def test_no_such_declination(dec: float) -> None:
    assert rows(replace(TRIGGER, dec=dec))["Dec (ICRS)"] == "unknown"


@pytest.mark.parametrize(
    ("freeze_time", "text"),
    [
        (1_558_223_490.9996, "2019-05-18 23:51:31.000 UTC"),
        (1_558_223_490.9994, "2019-05-18 23:51:30.999 UTC"),
        (1_577_836_799.9999, "2020-01-01 00:00:00.000 UTC"),
    ],
)
def test_milliseconds_carry(freeze_time: float, text: str) -> None:
    assert rows(freeze_time=freeze_time)["Freeze time"] == text


@pytest.mark.parametrize("freeze_time", [float("inf"), float("nan"), 1e300])
def test_no_such_time(freeze_time: float) -> None:
    with pytest.raises(ValueError, match=r"outside the years|NaN"):
        rows(freeze_time=freeze_time)


def test_arrival_times() -> None:
    later = replace(TRIGGER, utc="2019-05-19T01:51:22.5+02:00")
    arrival = rows(later)["Arrival time"]
    assert arrival.startswith("2019-05-18 23:51:22.500000 UTC at 1369.603 MHz")
    for utc in ("soon", "0001-01-01T00:00:00+02:00"):
        with pytest.raises(ValueError, match=utc[:4]):
            rows(replace(TRIGGER, utc=utc))


@pytest.mark.parametrize(
    ("ra", "dec", "right_ascension", "declination"),
    [
        (0.0, 0.0, "0.00000 deg  00:00:00.00", "+0.00000 deg  +00:00:00.0"),
        (359.9999999, 89.9999999, "0.00000 deg  00:00:00.00", "+90.00000 deg  +90:00:00.0"),
        (-1e-20, -1e-20, "0.00000 deg  00:00:00.00", "+0.00000 deg  +00:00:00.0"),
        (14.9999999, -0.5, "15.00000 deg  01:00:00.00", "-0.50000 deg  -00:30:00.0"),
        (-15.0, -9.9999999, "345.00000 deg  23:00:00.00", "-10.00000 deg  -10:00:00.0"),
    ],
)
def test_coordinates_at_edges(
    ra: float, dec: float, right_ascension: str, declination: str
) -> None:
    table = rows(replace(TRIGGER, ra=ra, dec=dec))
    assert table["RA (ICRS)"] == right_ascension
    assert table["Dec (ICRS)"] == declination


@settings(deadline=None)
@given(st.floats(0, 360, exclude_max=True), st.floats(-90, 90))
def test_coordinates_as_astropy_reads_them(ra: float, dec: float) -> None:
    table = rows(replace(TRIGGER, ra=ra, dec=dec))
    ra_degrees, ra_hours = table["RA (ICRS)"].split(" deg  ")
    dec_degrees, dec_sexagesimal = table["Dec (ICRS)"].split(" deg  ")
    for shown, unit, half_digit in (
        (ra_hours, "hourangle", 0.075 / 3600),
        (ra_degrees, "deg", 5e-6),
    ):
        difference = Angle(Longitude(shown, unit=unit).deg - ra, "deg").wrap_at("180d")
        assert abs(difference.deg) <= half_digit * 1.01
    assert abs(Latitude(dec_sexagesimal, unit="deg").deg - dec) <= 0.051 / 3600
    assert abs(float(dec_degrees) - dec) <= 5.1e-6


@settings(deadline=None)
@given(st.text(), st.text(), st.text(), st.text())
@example("B1933+16\r\nBcc: all@example.org", "a\x1b[2J", "\u2028", "\u202eevil\ud800")
@example("x" * 100_000, "", "", "")
def test_names_are_harmless(source: str, kind: str, observation: str, task_id: str) -> None:
    trigger = replace(
        TRIGGER, src_name=source, name=kind, datetimesource=observation, observation=task_id
    )
    subject, text = compose(trigger, FREEZE, test=True, sent_at=SENT)
    assert subject.isprintable()
    assert len(subject) < 200
    lines = text.split("\n")
    assert len(lines) == len(TEXT.split("\n"))
    assert all(line.isprintable() and len(line) < 200 for line in lines)
    assert subject.startswith("TEST")


@settings(deadline=None)
@given(st.floats(), st.floats())
def test_numbers_stay_short(dm: float, snr: float) -> None:
    subject, text = compose(replace(TRIGGER, dm=dm, snr=snr), FREEZE, test=True, sent_at=SENT)
    assert max(map(len, [subject, *text.splitlines()])) < 100
