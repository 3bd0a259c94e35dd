"""Lines of FREDDA, the search of CRAFT."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from test_candidate_sources import observation_of

from darc.config.source_settings import SourceSettings
from darc.model.counters import Rejection
from darc.node.node_config import load_config
from darc.runtime.paths import packaged
from darc.trigger_files.candidate_source import SourceContext, make_source
from darc.trigger_files.line_reader import LineReader
from simulator.engine_streams import FREDDA_HEADER, EngineCandidate, EngineSearch

START = 1_790_000_000.25
SEARCH = EngineSearch(1.265625e-3, START)


def reader(**settings_of_source: object) -> LineReader:
    config = load_config(packaged("conf/default.yaml"))
    instrument = replace(config.instrument, candidate_source="fredda")
    config = replace(config, instrument=instrument)
    observation = observation_of(config, Path("/nowhere"), START)
    source = SourceSettings(**settings_of_source)  # type: ignore[arg-type]
    return make_source(SourceContext(observation, "fredda", source, 1.0)).line_reader(
        Path("x.cand"), None
    )


def test_a_line_of_fredda() -> None:
    line = SEARCH.fredda_line(EngineCandidate(100 * SEARCH.tsamp, 207.8, 10.02, 3, 35))
    (one,) = reader(first_beam=1).parse(FREDDA_HEADER + line).candidates
    assert (one["beam"], one["dm"], one["snr"]) == (34, 207.8, 10.02)
    assert one["time"] == pytest.approx(0.1265625, abs=2e-6)
    assert one["downsampling"] == 8  # its boxcar is 7


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2_000_000), st.integers(0, 5), st.integers(0, 100))
def test_a_candidate_comes_back_as_it_was_written(sample: int, width: int, beam: int) -> None:
    made = EngineCandidate(sample * SEARCH.tsamp, 55.25, 12.5, width, beam)
    (one,) = reader().parse(SEARCH.fredda_line(made)).candidates
    assert one["time"] == pytest.approx(sample * SEARCH.tsamp, abs=2e-6)
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
