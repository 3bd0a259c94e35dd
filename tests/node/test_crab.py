"""The Crab pulsar as AMBER saw it: its pulses go to the dump, and nowhere else."""

from __future__ import annotations

import itertools
import math
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from nodes import Node, node, only
from nodes import wait_for as wait_for_seconds

from darc.model.candidate import Records
from darc.runtime.paths import packaged
from darc.science import sky
from darc.science.galaxy import load_galaxy_map
from darc.trigger_files.amber import Columns, parse_lines
from simulator.player import Player, TimedFile, read_recorded
from simulator.write_parsets import MadeObservation, write_observation

#: Others may be at work on the same cores.
wait_for = partial(wait_for_seconds, timeout=40.0)

CRAB_DM = 56.77
OBSERVING = ("amber_listener", "amber_clustering", "dada_trigger", "processor")
Box = tuple[int, int]  # window, DM bin
POINTING = (83.633, 22.0145)  # deg
_numbers = itertools.count(1)
_TRIGGER = re.compile(r"trigger (\w+)/(-?\d+)/(\d+): (\S+), DM ([\d.]+), S/N ([\d.]+)")


@pytest.fixture(scope="module")
def crab_node(test_run: str) -> Iterator[Node]:
    services = (*OBSERVING, "lofar_trigger", "voevent_generator")
    with node(test_run, darc_master=only(*services) | {"control_timeout": 30}) as made:
        made.start()
        yield made


@pytest.fixture(scope="module")
def recorded(shared_data: Path) -> list[TimedFile]:
    return [read_recorded(path) for path in sorted((shared_data / "amber").glob("CB00_*.trigger"))]


@pytest.fixture(scope="module")
def candidates(recorded: list[TimedFile]) -> Records:
    """All of them, straight from the files."""
    found = []
    for file in recorded:
        text = b"".join(line for _, line in file.lines)
        columns = Columns.from_header(file.header)
        found.append(parse_lines(text, columns, batch_length_s=1.024, tsamp=81.92e-6).candidates)
    return np.concatenate(found)


def observe(of: Node, directory: Path, recorded: list[TimedFile], speed: float) -> MadeObservation:
    """Play the sample as an observation that starts now, and stop it when all is decided."""
    made = write_observation(
        directory,
        task_id=f"crab{next(_numbers)}",
        source="B0531+21",
        start=time.time(),
        duration=3600.0,
        pointing=POINTING,
    )
    assert of.ask("start_observation", "--parset", str(made.parset)) == "Observation started"
    assert Player(made.amber_dir, recorded, speed=speed).play()
    total = sum(1 + len(file.lines) for file in recorded)
    wait_for(lambda: of.counts("amber_listener", made.task_id).get("lines") == total)
    assert of.ask("stop_observation", "--parset", str(made.parset)) == "Stopped observation"
    for service in OBSERVING:
        wait_for(lambda name=service: f"[{made.task_id}]: done" in of.log(name), what=service)
    of.ask("abort_observation", "--parset", str(made.parset))
    of.wait_until_over(made.task_id)
    return made


def triggers(of: Node, service: str, task_id: str) -> list[tuple[int, int, str, float, float]]:
    """Window, DM bin, name, DM and S/N of those that a service received."""
    return [
        (int(window), int(dm_bin), name, float(dm), float(snr))
        for task, window, dm_bin, name, dm, snr in _TRIGGER.findall(of.log(service))
        if task == task_id
    ]


def check_books(of: Node, task_id: str, recorded: list[TimedFile], candidates: Records) -> None:
    listener = of.counts("amber_listener", task_id)
    assert listener["headers"] == len(recorded)
    assert listener["candidates"] == len(candidates)
    assert listener["lines"] == listener["headers"] + listener["candidates"]
    counts = of.counts("amber_clustering", task_id)
    rejected = sum(number for key, number in counts.items() if key.startswith("rejected"))
    assert counts["candidates"] == len(candidates) == counts["clustered"] + rejected
    assert rejected == (candidates["snr"] < 10).sum()


def expected(candidates: Records) -> tuple[dict[Box, float], dict[Box, float]]:
    """Of (window, DM bin) that are worth a dump, the highest S/N: as the Crab, and as a new source.

    In plain numpy, of what is not wider than 100 samples.
    """
    narrow = candidates[(candidates["snr"] >= 10) & (candidates["downsampling"] <= 100)]
    near = narrow[np.abs(narrow["dm"] - CRAB_DM) <= 10]
    galaxy = load_galaxy_map(packaged("conf/galaxy_ymw16.npz"))
    far = narrow[narrow["dm"] >= 1.2 * galaxy.dm_max(*sky.galactic(*POINTING))]
    edges = [10_000]
    while edges[-1]:
        k = 2 / 3 if edges[-1] >= 100 else 3 / 7 if edges[-1] >= 50 else 0
        edges.append(math.trunc(k * edges[-1]))

    def boxes(records: Records) -> dict[Box, float]:
        window = np.floor(records["time"]).astype(int).tolist()
        dm_bin = (np.digitize(records["dm"], edges[::-1]) - 1).tolist()
        best: dict[Box, float] = {}
        for box, snr in zip(zip(window, dm_bin, strict=True), records["snr"].tolist(), strict=True):
            best[box] = max(best.get(box, 0.0), snr)
        return best

    return boxes(near), boxes(far)


@pytest.mark.parametrize("speed", [math.inf, 500.0])
def test_every_pulse_of_the_whole_file_is_found(
    crab_node: Node, tmp_path: Path, recorded: list[TimedFile], candidates: Records, speed: float
) -> None:
    crab_node.configure(amber_clustering={"thresh_iquv": {"interval": 0}})
    made = observe(crab_node, tmp_path, recorded, speed)
    check_books(crab_node, made.task_id, recorded, candidates)
    received = triggers(crab_node, "dada_trigger", made.task_id)
    crab, new = expected(candidates)
    assert len(crab) == 29
    pulses = [trigger for trigger in received if trigger[2] == "B0531+21"]
    assert {trigger[:2]: trigger[4] for trigger in pulses} == pytest.approx(crab, abs=0.1)
    assert {trigger[3] for trigger in pulses} == {CRAB_DM}
    assert {trigger[:2] for trigger in received} == {*crab, *new}
    assert len({trigger[:2] for trigger in received}) == len(received)
    assert triggers(crab_node, "lofar_trigger", made.task_id) == []
    assert triggers(crab_node, "voevent_generator", made.task_id) == []


def test_a_pulse_a_minute_is_dumped_and_the_others_are_counted(
    crab_node: Node, tmp_path: Path, recorded: list[TimedFile], candidates: Records
) -> None:
    crab_node.configure(amber_clustering={"thresh_iquv": {"interval": 60}})
    made = observe(crab_node, tmp_path, recorded, math.inf)
    check_books(crab_node, made.task_id, recorded, candidates)
    crab, new = expected(candidates)
    due: list[int] = []
    for window in sorted(window for window, _ in crab | new):
        if not due or window - due[-1] >= 60:
            due.append(window)
    received = triggers(crab_node, "dada_trigger", made.task_id)
    assert sorted({trigger[0] for trigger in received}) == due
    counts = crab_node.counts("amber_clustering", made.task_id)
    assert counts["iquv triggers"] == len(received)
    assert counts["IQUV triggers held back"] == len({*crab, *new}) - len(received)
