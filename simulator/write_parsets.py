"""Writer of the files that describe an observation on a worker."""

from __future__ import annotations

import bz2
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from darc.config.records import Struct


class MadeObservation(Struct, frozen=True):
    """Paths of the files of a simulated observation."""

    task_id: str
    parset: Path
    amber_dir: Path
    start: float  # Unix s


def write_observation(
    directory: Path,
    *,
    task_id: str,
    source: str,
    start: float,
    duration: float,
    beam: int = 0,
    instances: int = 3,
    n_tabs: int = 12,
    n_sbs: int = 1,
    pointing: tuple[float, float] | None = (83.633, 22.0145),
    time_unit: int = 781250,
    more: Mapping[str, object] | None = None,
) -> MadeObservation:
    """Write parset and AMBER configuration, and create the directory of the trigger files.

    :param start: Unix time (s)
    :param duration: s
    :param instances: of AMBER, each of which writes a trigger file
    :param n_sbs: synthesised beams; 1: searched in TABs
    :param pointing: of the beam: right ascension and declination (deg); None: not known
    :param more: further keys of the parset, or other values
    """
    amber_dir = directory / "amber"
    amber_dir.mkdir(parents=True)
    amber_config = directory / "amber.conf"
    amber_config.write_text(f"opencl_device={list(range(1, instances + 1))}\n")
    moment = datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%d-%H:%M:%S")
    telescope = {"task.taskID": task_id, "task.source.name": source, "task.source.beam": beam}
    if pointing:
        telescope[f"task.beamSet.0.compoundBeam.{beam}.phaseCenter"] = (
            f"[{pointing[0]}deg, {pointing[1]}deg]"
        )
    values: dict[str, object] = {
        "taskid": task_id,
        "datetimesource": f"{moment}.{source}",
        "date": moment[:10].replace("-", ""),
        "utc_start": moment,
        "startpacket": round(start * time_unit),
        "duration": duration,
        "beam": beam,
        "ntabs": n_tabs,
        "nsynbeams": n_sbs,
        "proctrigger": True,
        "enable_iquv": True,
        "amber_dir": amber_dir,
        "amber_config": amber_config,
        "output_dir": directory / "output",
        "parset": bz2.compress(_lines(telescope).encode()).hex(),
        **(more or {}),
    }
    parset = directory / f"CB{beam:02d}.parset"
    parset.write_text(_lines(values))
    return MadeObservation(task_id, parset, amber_dir, start)


def _lines(values: Mapping[str, object]) -> str:
    return "".join(f"{key} = {value}\n" for key, value in values.items())
