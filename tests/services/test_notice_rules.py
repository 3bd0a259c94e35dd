"""Which notices a rule acts upon; positions beside astropy's."""

from __future__ import annotations

from typing import Any

import pytest
from astropy import units
from astropy.coordinates import EarthLocation, HADec, SkyCoord
from astropy.time import Time
from astropy.utils import iers
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from darc.config.config import Config
from darc.config.typed import from_plain
from darc.model.event import AlertType
from darc.model.observation import Observation, Pointing
from darc.model.outside_notice import OutsideNotice
from darc.model.sources import parse_source_list
from darc.node.read_observation import read_observation
from darc.runtime.paths import packaged
from darc.services.alert_listener.node_view import field_of
from darc.services.alert_listener.notice_rules import (
    Field,
    OwnNotices,
    beam_of,
    elsewhere,
    known_source,
    unfit,
)
from darc.services.alert_listener.settings import NoticeRule
from simulator.write_parsets import write_observation

NOW = 1_700_000_000.0
NOTICE = OutsideNotice("t", "1", AlertType.INITIAL, "current", NOW - 30, ra=10.0, dec=20.0)


def rule(**changes: Any) -> NoticeRule:
    return from_plain(
        NoticeRule, {"name": "r", "action": "dump", "where": "in_beam"} | changes, "rule"
    )


@pytest.mark.parametrize(
    ("rules", "notice", "why"),
    [
        ({}, {}, ""),
        ({"topics": ["t"]}, {}, ""),
        ({"topics": ["u", "v"]}, {}, "another topic"),
        ({}, {"kind": AlertType.RETRACTION}, "alert_type retraction"),
        ({"types": "initial"}, {"kind": AlertType.UPDATE}, "alert_type update"),
        ({}, {"tense": "test"}, "alert_tense test"),
        ({}, {"tense": "injection"}, "alert_tense injection"),
        ({"tenses": ["test", "current"]}, {"tense": "test"}, ""),
        ({}, {"trigger_time": None}, "no trigger_time"),
        ({"within": 29.9}, {}, "30.0 s after its trigger_time"),
        ({"within": 30.0}, {}, ""),
        ({}, {"trigger_time": NOW + 61}, "-61.0 s after its trigger_time"),
        ({"importance_min": 0.5}, {}, "no importance"),
        ({"importance_min": 0.5}, {"importance": 0.4}, "importance 0.4"),
        ({"importance_min": 0.5}, {"importance": 0.5}, ""),
        ({"notice_snr_min": 10}, {"snr": 9.0}, "snr 9"),
        ({"far_max": 1e-7}, {}, "no far"),
        ({"far_max": 1e-7}, {"far": 2e-7}, "far 2e-07"),
        ({"far_max": 1e-7}, {"far": 1e-9}, ""),
    ],
)
def test_what_a_rule_asks_for(rules: dict[str, Any], notice: dict[str, Any], why: str) -> None:
    assert unfit(rule(**rules), replace(NOTICE, **notice), NOW) == why


def test_our_own_notices_are_known_by_topic_instrument_or_schema() -> None:
    own = OwnNotices(frozenset({"gcn.notices.arts.frb"}), ("WSRT", "ARTS"), "urn:ours")
    assert not own.include(replace(NOTICE, instrument=("WSRT", "Apertif")))
    for changes in ({"source": "gcn.notices.arts.frb"}, {"schema": "urn:ours"}):
        assert own.include(replace(NOTICE, **changes))
    assert own.include(replace(NOTICE, instrument=("wsrt", "Arts")))


SOURCES = parse_source_list(packaged("conf/source_list.yaml").read_text(), "list")


@pytest.mark.parametrize(
    ("notice", "name"),
    [
        ({"known_source": "FRB 20121102A"}, "FRB 121102"),
        ({"known_source": "FRB20180916B"}, "FRB 180916"),
        ({"known_source": "FRB 19990101A"}, None),
        ({"ra": 83.1, "dec": 33.1, "position_error": 0.5, "dm": 560.0}, "FRB 121102"),
        ({"ra": 83.1, "dec": 33.1, "position_error": 0.5, "dm": 580.0}, None),
        ({"ra": 83.1, "dec": 33.1, "position_error": 0.05, "dm": 560.0}, None),
        ({"ra": 83.1, "dec": 33.1, "position_error": 3.0, "dm": 560.0}, None),  # > error_max
        ({"ra": 82.9946, "dec": 33.1479}, "FRB 121102"),
        ({"ra": None}, None),
    ],
)
def test_a_known_source_by_name_or_by_position_and_dm(
    notice: dict[str, Any], name: str | None
) -> None:
    found = known_source(rule(where="known_source"), replace(NOTICE, **notice), SOURCES, 10.0)
    assert (found.name if found else None) == name


def test_a_notice_without_position_is_for_rules_that_ask_for_none() -> None:
    blind = replace(NOTICE, ra=None, dec=None)
    field = Field(((0, 10.0, 20.0),), 1.0)
    assert elsewhere(rule(), blind, field, SOURCES, 10.0) == "no position"
    assert elsewhere(rule(where="known_source"), blind, field, SOURCES, 10.0) == "no known source"
    assert elsewhere(rule(where="anywhere"), blind, None, SOURCES, 10.0) == ""
    assert elsewhere(rule(), NOTICE, None, SOURCES, 10.0) == "nothing is observed"
    wide = replace(NOTICE, position_error=2.1)
    assert elsewhere(rule(), wide, field, SOURCES, 10.0) == "position to 2.1 deg"


_ra, _dec = st.floats(0, 360), st.floats(-90, 90)


@settings(max_examples=300, deadline=None)
@given(
    place=st.tuples(_ra, _dec),
    offset=st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
    far=st.booleans(),
    other=st.tuples(_ra, _dec),
    radius=st.floats(0.01, 1.5),
    error=st.floats(0, 2),
)
def test_in_the_beam_as_astropy_sees_it(place, offset, far, other, radius, error) -> None:
    """Near and far, over the poles and 0 h."""
    ra, dec = (
        other
        if far
        else ((place[0] + offset[0]) % 360, min(90.0, max(-90.0, place[1] + offset[1])))
    )
    one, beam = (SkyCoord(*where, unit="deg") for where in (place, (ra, dec)))
    distance = float(one.separation(beam).deg)
    assume(abs(distance - radius - error) > 1e-9)
    notice = replace(NOTICE, ra=place[0], dec=place[1], position_error=error)
    found = beam_of(notice, Field(((3, ra, dec),), radius))
    assert (found == 3) is (distance <= radius + error)


@pytest.fixture
def observation(tmp_path: Any, config: Config) -> Observation:
    made = write_observation(
        tmp_path / "observation",
        task_id="o1",
        source="R1",
        start=NOW,
        duration=60.0,
        pointing=(40.0, 50.0),
    )
    return read_observation(made.parset, config.instrument)


def test_beams_at_an_hour_angle_are_where_they_are_at_that_moment(
    observation: Observation, config: Config
) -> None:
    """By astropy: the sky moves by 15 arcsec a second under them."""
    fixed = replace(
        observation,
        reference_frame="HADEC",
        beam=0,
        duration=7200.0,
        pointings=(Pointing(0, -12.0, 41.0), Pointing(1, 3.0, 41.0)),
    )
    site = EarthLocation.from_geocentric(*config.instrument.position, unit="m")
    with iers.conf.set_temp("auto_download", False):
        for moment in (NOW, NOW + 3600.0, NOW + 7200.0):
            frame = HADec(obstime=Time(moment, format="unix"), location=site)
            pointing = SkyCoord(ha=-12 * units.deg, dec=41 * units.deg, frame=frame).icrs
            ((number, ra, dec),) = field_of(fixed, config.instrument, moment).beams
            assert number == 0
            apart = SkyCoord(ra, dec, unit="deg").separation(pointing)
            assert apart.arcsec < 5.0
    early = field_of(fixed, config.instrument, NOW - 9999.0)
    assert early == field_of(fixed, config.instrument, NOW)


def test_a_master_looks_at_all_beams_and_a_worker_at_its_own(
    observation: Observation, config: Config
) -> None:
    every = replace(observation, pointings=(Pointing(0, 1.0, 2.0), Pointing(7, 3.0, 4.0)))
    of_master = field_of(replace(every, beam=None), config.instrument, NOW)
    assert of_master.beams == ((0, 1.0, 2.0), (7, 3.0, 4.0))
    assert of_master.radius == pytest.approx(config.instrument.beam_semimajor / 60)
    own = field_of(replace(every, beam=7), config.instrument, NOW)
    assert own.beams == ((7, 3.0, 4.0),)
    near = replace(NOTICE, ra=3.1, dec=4.0)
    assert (beam_of(near, of_master), beam_of(near, own)) == (7, 7)
    assert beam_of(replace(NOTICE, ra=1.0, dec=2.0), own) is None
