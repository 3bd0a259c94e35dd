"""The error of a measured DM."""

from __future__ import annotations

import pytest
from default_config import CONFIG
from msgspec.structs import replace
from triggers import TRIGGER

from darc.services.base.measured_dm import measured_dm_error

ARTS = CONFIG.instrument
KNOWN = replace(TRIGGER, name="frb", src_name="FRB 121102", dm=557.0, dm_err=0.0, width=2.0)


def by_formula(width_s: float, f_low: float, f_high: float) -> float:
    return width_s / (4148.808 * (f_low**-2 - f_high**-2))


def test_a_known_source_has_the_error_of_its_width() -> None:
    known = replace(KNOWN, nchan=1536, delta_nu_MHz=300 / 1536, nu_GHz=1.36960327)
    expected = by_formula(2e-3, 1219.60327, 1519.60327)
    assert measured_dm_error(known, ARTS) == pytest.approx(expected, rel=1e-9)
    assert expected == pytest.approx(2.0, rel=0.02)  # about 1 per ms


def test_the_band_is_the_instruments_where_the_trigger_does_not_say() -> None:
    known = replace(KNOWN, nchan=None, nu_GHz=1.4)
    assert measured_dm_error(known, ARTS) == pytest.approx(by_formula(2e-3, 1250.0, 1550.0))


def test_another_band() -> None:
    known = replace(KNOWN, nchan=64, delta_nu_MHz=6.25, nu_GHz=0.6)
    assert measured_dm_error(known, ARTS) == pytest.approx(by_formula(2e-3, 400.0, 800.0))


def test_a_triggers_own_error_stays() -> None:
    assert measured_dm_error(replace(KNOWN, dm_err=1.25), ARTS) == 1.25


@pytest.mark.parametrize("change", [{"width": 0.0}, {"nu_GHz": 0.1, "nchan": None}])
def test_what_has_no_error_stops_no_event(change: dict[str, float]) -> None:
    assert measured_dm_error(replace(KNOWN, **change), ARTS) is None  # type: ignore[arg-type]
