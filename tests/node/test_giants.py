"""Real candidates of DSA-110's search, sent as its searches send them, as an observation."""

from __future__ import annotations

import math
import re
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from msgspec import Struct
from nodes import Node, free_port, node
from nodes import wait_for as wait_for_seconds

from darc.model.arrival import mjd_of
from darc.node.node_config import load_config
from darc.runtime.paths import packaged
from darc.science import sky
from darc.science.galaxy import load_galaxy_map
from simulator.engine_streams import send_gulp

wait_for = partial(wait_for_seconds, timeout=60.0)

POINTING = 83.633, 22.0145  # deg
GULP_SAMPLES = 4096
#: Neighbours are closer than this in time (s) and in the logarithm of DM.
NEAR_TIME, NEAR_LOG_DM = 0.1, 0.1
#: A pulse is a cluster with a candidate of this S/N.
PULSE_SNR = 20.0
_TRIGGER = re.compile(r"trigger giants/(-?\d+)/(\d+): \S+, DM ([\d.]+), S/N ([\d.]+)")
Floats = npt.NDArray[np.float64]


def connected(points: Floats) -> npt.NDArray[np.int64]:
    """Clusters of points of which each has a neighbour in it; plain numpy, of nobody else.

    :param points: shape (n, 2), in units in which neighbours are closer than 1
    """
    label = np.full(len(points), -1)
    for start in range(len(points)):
        if label[start] >= 0:
            continue
        label[start] = start
        front = [start]
        while front:
            distance = np.abs(points - points[front.pop()]).max(axis=1)
            for other in np.flatnonzero((distance < 1) & (label < 0)).tolist():
                label[other] = start
                front.append(other)
    return label


def edges() -> list[int]:
    found = [10_000]
    while found[-1]:
        k = 2 / 3 if found[-1] >= 100 else 3 / 7 if found[-1] >= 50 else 0
        found.append(math.trunc(k * found[-1]))
    return found[::-1]


class Giants(Struct, frozen=True):
    """Columns of the file, as an observation that starts now."""

    rows: list[list[str]]
    start: float
    snr: Floats
    sample: Floats
    seconds: Floats
    width: Floats
    dm: Floats
    beam: Floats

    @classmethod
    def read(cls, path: Path) -> Giants:
        rows = [line.split() for line in path.read_text().splitlines()]
        table = np.array([[float(word) for word in row] for row in rows])
        snr, sample, mjd, log2_width, dm, beam = table[:, [0, 2, 3, 4, 6, 7]].T
        start = float(int(time.time()))
        # The same candidates, since today's start: nothing else of a line is changed.
        seconds = (mjd - mjd.min()) * 86400 + 5.0
        for row, value in zip(rows, mjd_of(start) + seconds / 86400, strict=True):
            row[3] = f"{value:.14f}"
        return cls(rows, start, snr, sample, seconds, 2**log2_width, dm, beam)


def is_sent(port: int, gulp: int, lines: list[bytes]) -> bool:
    try:
        send_gulp(("127.0.0.1", port), gulp, lines)
    except ConnectionRefusedError:
        return False
    return True


def send(giants: Giants, ports: list[int]) -> int:
    """Send all lines, each search those of its beams; return the number of messages."""
    numbers = giants.sample // GULP_SAMPLES
    gulps = range(int(numbers.min()), int(numbers.max()) + 1)
    n_lines = 0
    for gulp in gulps:
        for search, port in enumerate(ports):
            mine = np.flatnonzero((numbers == gulp) & ((giants.beam >= 14) == search))
            lines = [" ".join(giants.rows[place]).encode() + b"\n" for place in mine]
            n_lines += len(lines)
            wait_for(partial(is_sent, port, gulp, lines), what=f"gulp {gulp}")
    assert n_lines == len(giants.rows)
    return len(gulps) * len(ports)


def dumps_expected(giants: Giants) -> dict[tuple[int, int], float]:
    """S/N of each box of time and DM that is worth a dump, in plain numpy.

    Where something wider than 100 samples is stronger, the rest is a part of that.
    """
    galaxy = load_galaxy_map(packaged("conf/galaxy_ymw16.npz"))
    least = 1.2 * galaxy.dm_max(*sky.galactic(*POINTING))
    narrow: dict[tuple[int, int], float] = {}
    wide: dict[tuple[int, int], float] = {}
    for place in np.flatnonzero((giants.snr >= 10) & (giants.dm >= least)).tolist():
        box = int(giants.seconds[place]), int(np.digitize(giants.dm[place], edges()) - 1)
        boxes = narrow if giants.width[place] <= 100 else wide
        boxes[box] = max(boxes.get(box, 0.0), float(giants.snr[place]))
    return {box: snr for box, snr in narrow.items() if snr > wide.get(box, 0.0)}


def pulses_expected(giants: Giants) -> list[int]:
    """The strongest candidate of each cluster of neighbours."""
    strong = np.flatnonzero(giants.snr >= 10)
    axes = giants.seconds[strong] / NEAR_TIME, np.log(giants.dm[strong]) / NEAR_LOG_DM
    label = connected(np.stack(axes, axis=1))
    clusters = [strong[label == one] for one in np.unique(label)]
    peaks = [int(cluster[np.argmax(giants.snr[cluster])]) for cluster in clusters]
    return [peak for peak in peaks if giants.snr[peak] >= PULSE_SNR]


def observe(of: Node, giants: Giants, directory: Path, ports: list[int]) -> int:
    values = {
        "taskid": "giants",
        "start": giants.start,
        "task.source.name": "BLANK",
        "duration": 600.0,
        "beam": 0,
        "output_dir": str(directory / "output"),
        "task.beamSet.0.compoundBeam.0.phaseCenter": f"[{POINTING[0]}deg, {POINTING[1]}deg]",
    }
    observation = directory / "giants.yaml"
    observation.write_text(yaml.safe_dump(values))
    command = "--config", str(observation)
    assert of.ask("start_observation", *command) == "Observation started"
    n_messages = send(giants, ports)
    n_lines = len(giants.rows)
    wait_for(lambda: of.counts("amber_listener", "giants").get("candidates") == n_lines)
    assert of.ask("stop_observation", *command) == "Stopped observation"
    wait_for(lambda: "[giants]: done" in of.log("dada_trigger"), what="dumps")
    return n_messages


def test_giant_pulses_are_found_as_an_independent_clustering_finds_them(
    test_run: str, tmp_path: Path, shared_data: Path
) -> None:
    path = shared_data / "heimdall" / "giants_1.cand"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    giants = Giants.read(path)
    assert len(giants.rows) == 5750
    ports = [free_port(), free_port()]
    sections: dict[str, dict[str, Any]] = {
        "darc_master": {"control_timeout": 30},
        "amber_clustering": {"thresh_iquv": {"interval": 0}},
        "instrument": {"base": "dsa110", "source": {"ports": ports, "gulp_wait": 10.0}},
    }
    with node(test_run, **sections) as made:
        made.start()
        tsamp = load_config(made.home / "config.yaml").instrument.tsamp
        n_messages = observe(made, giants, tmp_path, ports)
        listener = made.counts("amber_listener", "giants")
        counts = made.counts("amber_clustering", "giants")
        found = {
            (int(window), int(dm_bin)): (float(dm), float(snr))
            for window, dm_bin, dm, snr in _TRIGGER.findall(made.log("dada_trigger"))
        }
    # Every line is accounted for.
    assert listener["lines"] == len(giants.rows) + n_messages
    assert listener["headers"] == n_messages
    assert not [name for name in listener if name.startswith("rejected")]
    weak = int((giants.snr < 10).sum())
    assert counts["candidates"] == len(giants.rows)
    assert counts["rejected: below S/N threshold"] == weak
    assert counts["clustered"] == len(giants.rows) - weak

    snr_found = {box: snr for box, (_, snr) in found.items()}
    assert snr_found == pytest.approx(dumps_expected(giants), abs=0.051)

    # An independent clustering finds three pulses, 10 s apart: each is a trigger.
    pulses = pulses_expected(giants)
    assert np.diff(np.sort(giants.seconds[pulses])) == pytest.approx([10, 10], abs=0.01)
    for peak in pulses:
        window = int(giants.seconds[peak])
        best = max((one for box, one in found.items() if box[0] == window), key=lambda one: one[1])
        assert best == pytest.approx((giants.dm[peak], giants.snr[peak]), abs=0.051)
    assert {window for window, _ in found} == {int(giants.seconds[peak]) for peak in pulses}
    assert tsamp == pytest.approx(np.polyfit(giants.sample, giants.seconds, 1)[0], rel=1e-4)
