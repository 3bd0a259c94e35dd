"""What times of arrival refer to, beside astropy."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.time import Time, TimeDelta
from hypothesis import given
from hypothesis import strategies as st

from darc.data_files.filterbank_header import FilterbankHeader
from darc.model.arrival import BARYCENTRIC, ArrivalReference, reference_frequency, unix_of

START = 1558216273.793214  # 2019-05-18T21:51:13.793214
SEEN = ArrivalReference(1519.505615, START, 81.92e-6, telescope="WSRT")


def header(**keys: object) -> FilterbankHeader:
    given = {
        "nchans": 64,
        "nbits": 8,
        "tsamp": 1e-4,
        "fch1": 800.0,
        "foff": -6.25,
        "tstart": 58621.5,
    }
    return FilterbankHeader(**(given | keys))  # type: ignore[arg-type]


@given(st.floats(631_152_000, 7_258_118_400), st.floats(0, 86400))
def test_utc_and_mjd_are_those_of_astropy(start: float, time: float) -> None:
    found = ArrivalReference(1400.0, start, 1e-3)
    # Whole days and seconds of the day apart: astropy's Unix times are stretched on days that
    # have a leap second.
    day, second = divmod(start, 86400.0)
    at = Time(40587.0 + day, (second + time) / 86400.0, format="mjd", scale="tai")
    mjd, utc = found.mjd(time), found.utc(time)
    assert mjd is not None
    assert utc is not None
    assert abs(Time(mjd, format="mjd", scale="tai") - at).sec < 2e-6
    assert abs(Time(utc, format="isot", scale="tai") - at).sec < 2e-6


def test_the_moment_that_a_pulse_arrived() -> None:
    # Independent of ours: astropy, UTC throughout.
    expected = Time("2019-05-18T21:51:13.793214", scale="utc", precision=6)
    expected += TimeDelta(12.5, format="sec")
    assert SEEN.utc(12.5) == expected.isot == "2019-05-18T21:51:26.293214"
    assert SEEN.mjd(12.5) == pytest.approx(expected.mjd, abs=2e-11)


def test_what_is_not_known_is_none() -> None:
    undated = ArrivalReference(1400.0, None, 1e-3)
    assert (undated.utc(1.0), undated.mjd(1.0)) == (None, None)
    assert "date not known" in str(undated)


def test_barycentric_times_are_no_utc() -> None:
    found = header(barycentric=1).arrival_reference
    assert (found.frame, found.scale) == (BARYCENTRIC, "TDB")
    assert found.utc(10.0) is None
    assert found.mjd(43.2) == pytest.approx(58621.5005, abs=1e-11)
    assert "MJD 58621.50000000000 TDB" in str(found)


@pytest.mark.parametrize("foff", [6.25, -6.25])
def test_the_reference_is_the_centre_of_the_highest_channel(foff: float) -> None:
    made = header(foff=foff)
    frequencies = made.fch1 + made.foff * np.arange(made.nchans)
    assert made.arrival_reference.frequency == pytest.approx(frequencies.max(), rel=1e-12)


def test_one_channel_is_its_own_reference() -> None:
    assert reference_frequency(1400.0, 300.0, 1) == 1400.0


def test_what_the_header_says_is_what_is_stated() -> None:
    found = header(telescope_id=4).arrival_reference
    assert found.telescope == "Parkes"
    assert found.start == pytest.approx(Time(58621.5, format="mjd", scale="utc").unix, abs=1e-6)
    assert header(telescope_id=99, tstart=None).arrival_reference == ArrivalReference(
        800.0, None, 1e-4
    )
    assert unix_of(40587.0) == 0.0


def test_widths_in_ms_and_all_of_it_in_words() -> None:
    assert SEEN.width_ms(25) == pytest.approx(2.048)
    text = str(SEEN)
    for part in ("2019-05-18T21:51:13.793214 UTC", "1519.505615 MHz", "topocentric", "4148.808"):
        assert part in text
    plain = SEEN.to_plain()
    assert plain["reference_frequency_MHz"] == 1519.505615
    assert plain["dm_constant_MHz2_cm3_s_per_pc"] == 4148.808
    assert (plain["frame"], plain["time_scale"]) == ("topocentric", "UTC")
