"""Known repeaters: which are in the field, the clusters near their DM, and their plots."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from nodes import Node, only
from offline_files import HEADER, write_pulsar

from darc.candidates.cluster_boxes import ClusterBoxes
from darc.model.candidate import CANDIDATE
from darc.model.sources import Source
from darc.offline.repeaters import clusters_near, is_in_field
from darc.science.folding import PhaseModel
from darc.science.same_burst import Scales
from simulator.amber_files import format_header, format_line, trigger_name
from simulator.write_parsets import write_observation

R3 = Source("FRB 180916", "frb", 348.8, (29.5031, 65.7168))


def test_what_is_in_the_field() -> None:
    # 0.5 deg in right ascension are 0.2 deg there.
    assert is_in_field(R3, (30.0, 65.7168), 0.25)
    assert not is_in_field(R3, (30.5, 65.7168), 0.25)
    assert not is_in_field(R3, (29.5031, 66.0), 0.25)
    assert not is_in_field(replace(R3, position=None), (30.0, 65.7168), 0.25)


def test_bursts_of_a_window_beside_lines_and_at_its_edge() -> None:
    boxes = ClusterBoxes(0.5, 10_000.0, 100.0, Scales.of_band(81.92e-6, 1219.7, 1519.7))
    lines = [
        (0, 5, 5.10, 349.0, 8.5),
        (0, 5, 5.30, 348.0, 8.2),  # of one window the best
        (0, 1000, 5.05, 350.0, 20.0),  # a line
        (0, 10, 11.9994, 350.1, 12.0),
        (0, 10, 12.0003, 346.8, 9.0),  # the same burst
    ]
    found = clusters_near(np.array(lines, CANDIDATE), boxes=boxes, snr_min=8.0)
    assert [(pulse.downsampling, pulse.time) for pulse in found] == [
        (1000, 5.05),
        (5, 5.10),
        (10, 11.9994),
    ]
    assert clusters_near(np.empty(0, CANDIDATE), boxes=boxes, snr_min=8.0) == []


def test_weak_bursts_near_the_dm_are_plotted_after_an_observation(
    make_node: Callable[..., Node], tmp_path: Path
) -> None:
    node = make_node(
        darc_master=only("offline_processing"), processor={"extractor": {"delay": 0.0}}
    )
    node.start()
    start, duration = float(int(time.time() - 14)), 12.0
    made = write_observation(
        tmp_path / "r3", task_id="r3", source="BLANK", start=start, duration=duration, n_tabs=1,
        instances=1, pointing=(29.6, 65.7), more={"tsamp": HEADER.tsamp, "nchan": HEADER.nchans},
    )  # fmt: skip
    data = tmp_path / "r3" / "output" / "filterbank"
    data.mkdir(parents=True)
    # One burst, at 5 s.
    burst = PhaseModel.constant(0.1).corrected(0.0, 0.0, 0.0)
    shifted = replace(burst, base=burst.base + 0.5)
    of_now = replace(HEADER, tstart=start / 86400 + 40587)
    shape = {"dm": R3.dm, "duration": duration, "height": 2.0, "width": 0.0005}
    write_pulsar(data / "CB00.fil", shifted, header=of_now, **shape)
    lines = [
        format_line(
            beam=0, batch=number, sample=0, integration_step=5, time=moment, dm_id=1, dm=dm, snr=snr
        )
        for number, (moment, dm, snr) in enumerate(
            [(5.0, 349.0, 8.5), (5.1, 347.0, 8.2), (7.0, 400.0, 30.0), (8.0, 350.0, 7.0)]
        )
    ]
    header = format_header().encode() if isinstance(format_header(), str) else format_header()
    (made.amber_dir / trigger_name(0, 1)).write_bytes(header + b"".join(lines))
    node.ask("start_observation", "--parset", str(made.parset))
    node.wait_until_over("r3", 120)
    results = node.home / "results"
    [listed] = results.glob("*/*/CB00_FRB180916.singlepulse")
    rows = listed.read_text().splitlines()
    assert rows[0] == "#snr dm time downsamp sb"
    assert len(rows) == 2, "of one window the best, near the DM, above the threshold"
    assert rows[1].startswith("8.50 349.00")
    [triggers] = results.glob("*/*/CB00_FRB180916_triggers.txt")
    assert len(triggers.read_text().splitlines()) == 2, node.log("offline_processing")
    [pdf] = results.glob("*/*/CB00_FRB180916.pdf")
    assert pdf.read_bytes().startswith(b"%PDF")
