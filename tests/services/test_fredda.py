"""Lines of FREDDA, the search of CRAFT."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from default_config import CONFIG
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from test_candidate_sources import observation_of

from darc.config.source_settings import SourceSettings
from darc.model.counters import Rejection
from darc.science.leap_seconds import tai_minus_utc
from darc.trigger_files.candidate_source import CandidateSource, SourceContext, make_source
from darc.trigger_files.line_reader import LineReader
from simulator.engine_streams import FREDDA_HEADER, EngineCandidate, EngineSearch

START = 1_790_000_000.25
SEARCH = EngineSearch(1.265625e-3, START)


def source(**settings_of_source: object) -> CandidateSource:
    instrument = replace(CONFIG.instrument, candidate_source="fredda")
    config = replace(CONFIG, instrument=instrument)
    observation = observation_of(config, Path("/nowhere"), START)
    made = SourceSettings(**settings_of_source)  # type: ignore[arg-type]
    return make_source(SourceContext(observation, "fredda", made, 1.0))


def reader(**settings_of_source: object) -> LineReader:
    return source(**settings_of_source).line_reader(Path("x.cand"), None)


def test_a_line_of_fredda() -> None:
    line = SEARCH.fredda_line(EngineCandidate(100 * SEARCH.tsamp, 207.8, 10.02, 3, 35))
    (one,) = reader(first_beam=1).parse(FREDDA_HEADER + line).candidates
    assert (one["beam"], one["dm"], one["snr"]) == (34, 207.8, 10.02)
    assert one["time"] == pytest.approx(0.1265625, abs=5e-5)
    assert one["downsampling"] == 8  # its boxcar is 7


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2_000_000), st.integers(0, 5), st.integers(0, 100))
def test_a_candidate_comes_back_as_it_was_written(sample: int, width: int, beam: int) -> None:
    made = EngineCandidate(sample * SEARCH.tsamp, 55.25, 12.5, width, beam)
    (one,) = reader().parse(SEARCH.fredda_line(made)).candidates
    assert one["time"] == pytest.approx(sample * SEARCH.tsamp, abs=5e-5)
    assert (one["downsampling"], one["beam"], one["dm"]) == (2**width, beam, 55.25)


def test_a_header_of_other_columns_is_named() -> None:
    other = b"# S/N, sampno, secs from file start, width, idt, dm, beamno, mjd\n"
    more = FREDDA_HEADER[:-1] + b", latency_ms\n"
    found = reader().parse(other + more + b"# a remark\n")
    assert (found.headers, found.rejected) == (2, {Rejection.BAD_HEADER: 1})
    assert found.first_rejected == (0, other[:-1])


def test_further_columns_are_ignored_and_a_cut_line_is_rejected() -> None:
    line = SEARCH.fredda_line(EngineCandidate(1.0, 10.0, 8.0, 0, 1))[:-1]
    found = reader().parse(line + b" 17.5\n" + b" ".join(line.split()[:7]) + b"\n")
    assert len(found.candidates) == 1
    assert found.rejected == {Rejection.WRONG_COUNT: 1}


def line_of(seconds: float, mjd: str) -> bytes:
    return f"8.00 {round(seconds / SEARCH.tsamp)} {seconds:.4f} 3 7 55.25 1 {mjd}\n".encode()


def utc(seconds: float) -> str:
    return f"{Decimal(40587) + (Decimal(START) + Decimal(seconds)) / 86400:.10f}"


@pytest.mark.parametrize(("scale", "time"), [("utc", 39.5), ("tai", 2.5)])
def test_mjds_of_the_real_time_search_are_37_s_ahead(scale: str, time: float) -> None:
    of_scale = source(mjd_scale=scale)
    lines = of_scale.line_reader(Path("x.cand"), None)
    for _ in range(3):
        (one,) = lines.parse(line_of(2.5, utc(39.5))).candidates
        assert one["time"] == pytest.approx(time, abs=1e-5)  # 10 decimals: 8.6 us
    said = [event.text for event in of_scale.events()]
    assert len(said) == (scale == "utc")
    assert all("MJDs are +37.000 s" in text and "mjd_scale" in text for text in said)


@pytest.mark.parametrize("mjd", ["40587.69", "0.0", "40587.6912345678"])
def test_an_mjd_of_no_time_leaves_the_seconds_since_the_start(mjd: str) -> None:
    offline = source()
    lines = offline.line_reader(Path("x.cand"), None)
    (one,) = lines.parse(line_of(2.5, mjd)).candidates
    assert one["time"] == pytest.approx(2.5, abs=SEARCH.tsamp)
    (text,) = [event.text for event in offline.events()]
    assert "is no time of the observation" in text
    # One of the day is a time, though none of the observation's.
    (other,) = lines.parse(line_of(2.5, utc(-4000))).candidates
    assert other["time"] == pytest.approx(-4000, abs=1e-5)


@pytest.mark.parametrize(
    ("day", "expected"),
    [("2016-12-31", 36), ("2017-01-01", 37), ("2026-12-01", 37), ("1999-01-01", 32)],
)
def test_leap_seconds(day: str, expected: int) -> None:
    """Of IERS Bulletin C."""
    assert tai_minus_utc(datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp()) == expected
