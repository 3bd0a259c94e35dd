"""Trigger files of the past: read as a whole, and clustered as in real time."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beams import settings
from msgspec.structs import replace

from darc.candidates.cluster_boxes import ClusterBoxes
from darc.candidates.injections import Injection, Injections
from darc.candidates.past_triggers import has_header, read_and_cluster
from darc.candidates.pool_tasks import ReadingTask
from darc.model.counters import Rejection
from darc.model.observation_build import build_observation
from darc.model.parset import parse_parset
from darc.node.node_config import load_config
from darc.science.same_burst import Scales
from darc.trigger_files.candidate_source import SourceContext
from simulator.amber_files import format_header, format_line
from simulator.engine_streams import EngineCandidate, EngineSearch, write_gulp


def line(time: float, snr: float = 20.0, dm: float = 100.0) -> bytes:
    numbers: dict[str, Any] = {"beam": 0, "batch": 0, "sample": 10**6, "integration_step": 1}
    return format_line(**numbers, time=time, dm_id=1, dm=dm, snr=snr)


BOXES = ClusterBoxes(0.5, 10_000.0, 100.0, Scales(81.92e-6, 1e-3))


def job(*paths: Path) -> ReadingTask:
    return ReadingTask("obs1", paths, 1.024, 81.92e-6, settings(), None, BOXES)


def test_all_files_are_clustered_together(tmp_path):
    one, other, missing = (tmp_path / f"CB00_step{number}.trigger" for number in (1, 2, 3))
    one.write_bytes(format_header() + line(1.1) + line(2.1) + b"rubbish\n")
    other.write_bytes(format_header() + line(1.2, snr=30.0) + line(3.1, snr=5.0) + b"half")
    read = read_and_cluster(job(one, other, missing))
    assert sorted(zip(read.clusters["time"], read.clusters["snr"], strict=True)) == [
        (1.1, 20.0),
        (1.2, 30.0),
        (2.1, 20.0),
    ]
    assert read.n_candidates == 4
    assert read.rejected == {
        Rejection.WEAK: 1,
        Rejection.WRONG_COUNT: 2,  # nobody writes to it: the last one is a line, too
    }
    assert [str(path) for path in (one, other, missing)] == [
        problem.split(": ")[0].split(" ")[0] for problem in read.problems
    ]


def test_nothing_at_all(tmp_path):
    read = read_and_cluster(job())
    assert (len(read.clusters), read.n_candidates, read.problems) == (0, 0, ())
    assert np.array_equal(read.clusters, read_and_cluster(job(tmp_path / "none")).clusters)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", False),
        (b"1 2 3\n", False),
        (b"# beam_id SNR\n", False),
        (format_header(), True),
        (b"\xff\n" + format_header(), True),
    ],
)
def test_whether_there_is_a_header(tmp_path, content, expected):
    path = tmp_path / "CB00_step1.trigger"
    path.write_bytes(content)
    assert has_header(path) is expected
    assert not has_header(tmp_path / "none")


def test_files_of_another_search_engine_are_read_in_a_process_of_the_pool(
    tmp_path: Path,
) -> None:
    """The job travels there as it is."""
    search = EngineSearch(1e-3, 1_790_000_000.0)
    burst = EngineCandidate(2.5, 300.0, 30.0, 3, 4)
    write_gulp(tmp_path, search, [burst, EngineCandidate(5.5, 300.0, 20.0, 3, 5)])
    write_gulp(tmp_path, replace(search, start=search.start + 86400), [burst])
    text = f"taskid=p1\nstart={search.start}\ntask.source.name=B\nduration=60\nbeam=0\n"
    text += f"candidate_dir={tmp_path}\noutput_dir={tmp_path}\n"
    instrument = replace(
        load_config(Path(os.devnull)).instrument, candidate_source="heimdall", tsamp=1e-3, n_sbs=1
    )
    observation = build_observation(parse_parset(text, "o"), None, None, instrument)
    made = replace(job(), source=SourceContext.of(observation, instrument))
    read = pickle.loads(pickle.dumps(made)).run()
    assert read.n_candidates == 2
    (left,) = read.problems
    assert left == "files of other observations, left alone: 1 (2026-09-22-14:13:20_04.cand)"
    assert read.left_alone == 1
    assert sorted(read.clusters["time"].tolist()) == [2.5, 5.5]
    assert sorted(read.clusters["beam"].tolist()) == [4, 5]
    # What was injected is left out of a past observation, too.
    injections = Injections.of(observation, {})
    injections.add([Injection(2.5, 300.0, 30.0, 4.0)])
    read = pickle.loads(pickle.dumps(replace(made, injections=injections))).run()
    assert read.clusters["time"].tolist() == [5.5]
    assert (read.n_candidates, read.rejected) == (2, {Rejection.INJECTED: 1})
