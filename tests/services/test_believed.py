"""What the first reader of a candidate believes, nobody behind it refuses; wild ones go alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from dump_requests import parse_request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from darc.config import ranges
from darc.config.config import Config
from darc.model.counters import in_words
from darc.model.observation import Observation
from darc.model.trigger import Trigger
from darc.model.voevent import ObservationSetup, Sender, make_voevent
from darc.node.read_observation import read_observation
from darc.queues.plain_connection import pack, unpack
from darc.runtime.clock import Since
from darc.services.amber_clustering.decisions import BeamField, ClusterSearch, Decider, SearchLimits
from darc.services.dada_trigger.dump_jobs import TriggerGroup, make_jobs
from darc.services.dada_trigger.dump_request import DumpEvent, DumpRequest, format_request
from darc.services.lofar_trigger.lofar_packet import MAX_DM, compose
from darc.trigger_files.amber import Columns, parse_lines
from simulator.amber_files import format_header
from simulator.write_parsets import write_observation

COLUMNS = Columns.from_header(format_header())
FIELD = BeamField(ra=83.6, dec=22.0, galactic_dm=100.0, galactic_model="made up")
BURST = b"3 0 0 10 1 12.5 0 300 1 30\n"


@pytest.fixture(scope="module")
def observation(tmp_path_factory: pytest.TempPathFactory, config: Config) -> Observation:
    made = write_observation(
        tmp_path_factory.mktemp("o"), task_id="bel001", source="BLANK", start=1.7e9, duration=60.0
    )
    return read_observation(made.parset, config.instrument)


def ends(low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers in and around a range, its ends among them, and wild ones."""
    near = st.floats(low, high) | st.sampled_from([low, high, high * 1.01 + 1, -1.0, 1e300])
    return near.map(lambda value: float(f"{value:.6g}"))


lines = st.builds(
    lambda beam, width, time, dm, snr: f"{beam} 0 0 {width} 1 {time:g} 0 {dm:g} 1 {snr:g}\n",
    st.integers(0, 10**6 + 1) | st.sampled_from([0, 10**6]),
    st.integers(0, 10**6 + 1) | st.sampled_from([1, 10**6]),
    ends(0, 8.64e6),
    ends(0, 1e5),
    ends(0, 1e5),
)
bands = st.sampled_from([(1.0, 1e-3), (1219.8, 300.0), (1e6, 1e6)])
samplings = st.sampled_from([1e-9, 8.192e-5, 10.0])
starts = st.sampled_from([ranges.START.low, 1.7e9, ranges.START.high])


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)
@given(line=lines, band=bands, tsamp=samplings, start=starts)
def test_a_line_that_is_taken_makes_a_trigger_that_arrives_everywhere(
    line: str,
    band: tuple[float, float],
    tsamp: float,
    start: float,
    config: Config,
    observation: Observation,
) -> None:
    parsed = parse_lines(line.encode(), COLUMNS, batch_length_s=1.0, tsamp=tsamp)
    if not len(parsed.candidates):
        assert sum(parsed.rejected.values()) == 1
        return
    min_freq, bandwidth = band
    observation = replace(
        observation, min_freq=min_freq, bandwidth=bandwidth, tsamp=tsamp, start=start
    )
    assert Observation.from_plain(json.loads(json.dumps(observation.to_plain()))) == observation
    decider = Decider(config.amber_clustering, observation, config.instrument, FIELD, None)
    (row,) = parsed.candidates
    cluster = np.zeros(
        1, [*row.dtype.descr, ("count", "<i8"), ("window", "<i8"), ("dm_bin", "<i8")]
    )
    for name in row.dtype.names:
        cluster[name] = row[name]
    trigger = decider.make_trigger(
        cluster[0], ClusterSearch(None, SearchLimits(0.0), SearchLimits(0.0))
    )
    again = Trigger.from_plain(unpack(pack(trigger.to_plain())))
    assert again == trigger

    event = DumpEvent(1.0, 2.0, trigger.dm, trigger.snr, trigger.downsampling, trigger.sb)
    request = DumpRequest(observation.utc_start, (event,))
    assert parse_request(format_request(request)) == request
    taken = Since.from_plain(start)
    long = replace(observation, duration=8.64e6)
    gathered = TriggerGroup(long, taken, taken, triggers=[trigger])
    jobs, _ = make_jobs(gathered, config.dada_trigger, 12500)
    for job in jobs:
        format_request(job.request)
    # LOFAR's own limits: a DM in 16 bits, and seconds in 32.
    if trigger.dm <= MAX_DM and trigger.arrival < 2**31 - 1:
        compose(trigger.arrival, trigger.dm, test=True)
    else:
        with pytest.raises(ValueError, match=r"LOFAR|32 bits"):
            compose(trigger.arrival, trigger.dm, test=True)
    xml = make_voevent(
        trigger,
        ObservationSetup.of(observation, config.instrument, 1.0),
        None,
        Sender("nl.example/alert", "nl.example", None, None),
        test=True,
        created=datetime(2020, 1, 1, tzinfo=UTC),
    )
    assert b"VOEvent" in xml


@pytest.mark.parametrize(
    "wild",
    [
        b"3 0 0 10 1 12.5 0 300 1 100001\n",
        b"3 0 0 10 1 12.5 0 300 1 1e6\n",
        b"3 0 0 10 1 12.5 0 100001 1 50\n",
        b"3 0 0 1000001 1 12.5 0 300 1 50\n",
        b"1000001 0 0 10 1 12.5 0 300 1 50\n",
        b"3 0 0 10 1 8640001 0 300 1 50\n",
    ],
)
def test_a_wild_value_takes_no_burst_with_it(
    wild: bytes, config: Config, observation: Observation
) -> None:
    """It is out at the first reader, counted; the burst of its window triggers."""
    parsed = parse_lines(wild + BURST, COLUMNS, batch_length_s=1.0, tsamp=8.192e-5)
    assert in_words(parsed.rejected) == {"out of range": 1}
    decider = Decider(config.amber_clustering, observation, config.instrument, FIELD, None)
    decision = decider.decide(parsed.candidates, 12)
    assert decision.lofar
    assert decision.lofar.snr == 30.0
    assert Trigger.from_plain(decision.lofar.to_plain()) == decision.lofar


def test_one_definition() -> None:
    """Nobody has numbers of his own for these."""
    package = Path(__file__).parents[2] / "darc"
    describing = ("trigger", "observation", "observation_build")
    for name in ("trigger_files/amber", *(f"model/{one}" for one in describing)):
        text = (package / f"{name}.py").read_text()
        assert "ranges." in text
        assert "100_000" not in text
        assert "1e5" not in text
