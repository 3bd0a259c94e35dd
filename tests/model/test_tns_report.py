"""Reports to the Transient Name Server: their numbers beside astropy, and what is kept of them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from astropy import units as u
from astropy.coordinates import Angle, EarthLocation, SkyCoord, solar_system_ephemeris
from astropy.time import Time
from default_config import CONFIG
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from triggers import SPECIFIED, made_trigger
from voevents import params, read_event

from darc.model.event import AlertType, Event, Tense, event_id
from darc.model.name_report import NameReport, ReportState
from darc.model.notice import make_notice
from darc.model.tns_report import TnsIds, errors_of, internal_name, make_report
from darc.model.trigger import Trigger
from darc.science import barycentre  # noqa: F401 - astropy without network
from darc.science.barycentric_arrival import tdb_at_barycentre
from darc.services.voevent_generator.composer import Composer
from darc.services.voevent_generator.notice_schema import check_notice

IDS = TnsIds("A. Person, for the team", 86, 87, 222, 1)
AT = 1_558_223_500.0


def event_of(trigger: Trigger = SPECIFIED) -> Event:
    event = Event(event_id(trigger, Tense.CURRENT), trigger, Tense.CURRENT, AT)
    return event.with_notice(event.next_notice(AlertType.INITIAL, AT, "the search"))


def told(event: Event) -> dict[str, Any]:
    return Composer(CONFIG, CONFIG.section("voevent_generator")).told(event)


def reported(event: Event, at_barycentre: float | None = None) -> dict[str, Any]:
    name = internal_name("ARTS", event.id)
    made = json.loads(make_report(told(event), IDS, name, at_barycentre=at_barycentre))
    (found,) = made["frb_report"].values()
    return dict(found)


def test_its_numbers_are_those_of_the_trigger() -> None:
    found = reported(event_of())
    (burst,) = found["photometry"]["photometry_group"].values()
    position = SkyCoord(SPECIFIED.ra, SPECIFIED.dec, unit="deg")
    stated = SkyCoord(Angle(found["ra"]["value"], "deg"), Angle(found["dec"]["value"], "deg"))
    assert position.separation(stated) < 0.01 * u.arcsec
    assert (found["reporting_groupid"], found["groupid"]) == ("86", "87")
    assert (burst["instrument_value"], burst["filter_value"]) == ("222", "1")
    assert (found["at_type"], found["reporter"]) == ("5", "A. Person, for the team")
    assert (found["dm"], found["dm_unitid"]) == ("1056.6", "25")
    assert (found["galactic_max_dm"], found["galactic_max_dm_model"]) == ("188.5", "YMW16")
    assert found["internal_name"] == f"arts_{event_of().id}"
    # Flux is the mean of the boxcar, so that fluence is their product: Jy ms.
    fluence = float(burst["flux"]) * u.Jy * float(burst["burst_width"]) * u.ms
    assert float(burst["fluence"]) == pytest.approx(fluence.to_value(u.Jy * u.ms))
    assert float(burst["burst_width"]) == SPECIFIED.width
    assert float(burst["flux_error"]) == pytest.approx(SPECIFIED.flux / SPECIFIED.snr, rel=1e-4)  # type: ignore[operator]
    sampling = float(burst["sampling_time"]) * u.ms
    assert sampling.to_value(u.s) == pytest.approx(SPECIFIED.dt)
    assert float(burst["ref_freq"]) == pytest.approx((SPECIFIED.nu_GHz * u.GHz).to_value(u.MHz))
    assert float(burst["inst_bandwidth"]) == pytest.approx(300)
    units = ("22", "23", "24", "24", "23", "8")
    assert units == tuple(
        burst[key]
        for key in (
            "fluence_unitid",
            "burst_width_unitid",
            "ref_freq_unitid",
            "inst_bandwidth_unitid",
            "sampling_time_unitid",
            "flux_units",
        )
    )


def test_its_times_are_at_the_telescope_and_at_the_barycentre() -> None:
    event = event_of()
    notice = told(event)
    infinite = Time(notice["trigger_time_inf_freq"].rstrip("Z"), scale="utc")
    assert SPECIFIED.ra is not None
    assert SPECIFIED.dec is not None
    where = SPECIFIED.ra, SPECIFIED.dec, CONFIG.instrument.position
    found = reported(event, tdb_at_barycentre(infinite.unix, *where))
    # A form that astropy and the TNS read.
    discovered = Time(found["discovery_datetime"], format="iso", scale="utc")
    (burst,) = found["photometry"]["photometry_group"].values()
    assert burst["obsdate"] == found["discovery_datetime"]
    dm = float(found["dm"])
    top = notice["trigger_time_frequency"]
    assert (discovered - infinite).to_value(u.s) == pytest.approx(4148.808 * dm * top**-2, abs=3e-6)
    barycentric = Time(found["barycentric_event_time"], format="iso", scale="tdb")
    here = EarthLocation.from_geocentric(*CONFIG.instrument.position, unit=u.m)
    seen = Time(infinite, location=here)
    with solar_system_ephemeris.set("builtin"):
        light = seen.light_travel_time(SkyCoord(*where[:2], unit="deg"), kind="barycentric")
    assert (barycentric - (seen.tdb + light)).to_value(u.us) == pytest.approx(0, abs=10)
    assert "discovery_datetime: UTC at the telescope, at 1519.51 MHz" in found["remarks"]
    assert "barycentric_event_time: TDB at infinite frequency" in found["remarks"]


@given(
    major=st.floats(0.001, 2.0),
    ratio=st.floats(0.05, 1.0),
    angle=st.floats(0, 360),
    dec=st.floats(-80, 80),
)
def test_errors_of_the_position_are_the_sides_around_the_ellipse(
    major: float, ratio: float, angle: float, dec: float
) -> None:
    """1 sigma of each coordinate is half the side of the box around the ellipse of 1 sigma."""
    minor = major * ratio
    ra_error, dec_error = errors_of([major, minor, angle])
    centre = SkyCoord(120.0, dec, unit="deg")
    turns = [2 * math.pi * step / 720 for step in range(720)]
    # Small, so that the sky is flat.
    scale = 1e-3
    along = [(major * scale * math.cos(turn), minor * scale * math.sin(turn)) for turn in turns]
    distance = [math.hypot(*one) for one in along] * u.deg
    bearing = [math.degrees(math.atan2(one[1], one[0])) + angle for one in along] * u.deg
    east, north = centre.spherical_offsets_to(centre.directional_offset_by(bearing, distance))
    assert max(east.to_value(u.arcsec)) / scale == pytest.approx(ra_error, rel=1e-3, abs=0.01)
    assert max(north.to_value(u.arcsec)) / scale == pytest.approx(dec_error, rel=1e-3, abs=0.01)


def test_a_round_beam_has_its_radius() -> None:
    found = reported(event_of(made_trigger()))
    radius = Angle(15, "arcmin").arcsec
    assert (float(found["ra"]["error"]), float(found["dec"]["error"])) == (radius, radius)
    assert found["ra"]["units"] == "arcsec"


def test_what_is_not_known_is_said() -> None:
    found = reported(event_of(made_trigger(flux=None, galactic_model="NE2025")))
    (burst,) = found["photometry"]["photometry_group"].values()
    assert (burst["flux"], burst["fluence"], burst["comments"]) == (
        "0",
        "",
        "flux density unknown: 0 stands for that",
    )
    assert (found["galactic_max_dm"], found["galactic_max_dm_model"]) == ("", "")
    assert found["barycentric_event_time"] == ""
    assert "barycentric" not in found["remarks"]


@pytest.mark.parametrize(
    ("backend", "name"), [("ARTS", "arts_x"), ("DSA-110 \n", "dsa110_x"), ("…", "darc_x")]
)
def test_an_internal_name_is_of_its_instrument(backend: str, name: str) -> None:
    assert internal_name(backend, "x") == name


# -- what is kept ------------------------------------------------------------------------------

REPORT = NameReport(True, ReportState.NAMED, AT, "me@here", "arts_x", "1001", "FRB 20190518A")


def test_a_name_is_in_later_notices_and_voevents() -> None:
    event = event_of().with_report(REPORT)
    settings = CONFIG.section("voevent_generator")
    notice = event.next_notice(AlertType.UPDATE, AT, "me", "a name", supervised=True)
    made = Composer(CONFIG, settings).compose(event, notice, json=True)
    found = json.loads(made.json)
    check_notice(made.json)
    assert (found["event_name"], found["id"]) == ("FRB 20190518A", event.id)
    xml = read_event(made.xml)
    assert xml.Why.Name == "FRB20190518A"
    assert params(xml)["advanced parameters"]["tns_name"].get("value") == "FRB 20190518A"
    # A known source keeps its own name; that of the burst is beside it.
    known = replace(event, trigger=replace(SPECIFIED, name="frb", src_name="FRB 20121102A"))
    made = Composer(CONFIG, settings).compose(known, notice, json=True)
    xml = read_event(made.xml)
    assert xml.Why.Name == "FRB20121102A"
    assert params(xml)["advanced parameters"]["tns_name"].get("value") == "FRB 20190518A"


@pytest.mark.parametrize(
    "report",
    [
        replace(REPORT, live=False),
        replace(REPORT, state=ReportState.REFUSED, name=""),
        replace(REPORT, state=ReportState.SUBMITTED, name=""),
    ],
)
def test_no_other_name_is_told(report: NameReport) -> None:
    event = event_of().with_report(report)
    assert event.name == event_of().name
    made = Composer(CONFIG, CONFIG.section("voevent_generator")).compose(
        event, event.latest, json=True
    )
    assert b"20190518A" not in made.xml + made.json
    assert b"tns_name" not in made.xml
    setup = Composer(CONFIG, CONFIG.section("voevent_generator")).setup(event.trigger)
    notice = make_notice(event, event.latest, setup, schema="urn:x", dm_error=None)
    assert json.loads(notice)["event_name"] == event_of().name


def test_reports_are_kept_with_their_event() -> None:
    sandbox = replace(REPORT, live=False, state=ReportState.REFUSED, name="", why="no group")
    event = event_of().with_report(sandbox).with_report(REPORT)
    again = Event.from_plain(json.loads(json.dumps(event.to_plain())))
    assert again == event
    assert again.report_to(live=False) == sandbox
    # A report takes the place of the one before to the same server.
    later = replace(sandbox, state=ReportState.WAITING)
    assert event.with_report(later).reports == (REPORT, later)
    assert event.with_report(later).is_waiting
    assert not event.is_waiting


def test_an_event_of_the_version_before_is_read() -> None:
    plain = event_of().to_plain()
    del plain["reports"]
    assert Event.from_plain(plain) == event_of()
