"""Planning of an observation's offline tasks, without reading its data."""

from __future__ import annotations

import math
from pathlib import Path

from darc.config.config import Config
from darc.config.settings import (
    AmberClusteringSettings,
    OfflineProcessingSettings,
    ProcessorSettings,
)
from darc.model.observation import Observation
from darc.model.offline_tables import TableError, parse_calibrators, parse_pulsars
from darc.model.sources import SourceList
from darc.node.source_lists import read_source_lists
from darc.offline.drift_scan_names import parse_drift_name
from darc.offline.offline_tasks import DriftTask, FoldTask, OfflineTask, RepeaterTask, TaskLocation
from darc.runtime.paths import configured_file


def plan(
    observation: Observation, settings: OfflineProcessingSettings, config: Config
) -> tuple[list[OfflineTask], list[str]]:
    """Return the offline tasks of an observation, and the reasons for tasks that are impossible.

    :param settings: as at the observation's start
    """
    if observation.beam is None or not observation.proctrigger:
        return [], []
    place = TaskLocation(
        observation=observation,
        instrument=config.instrument,
        results=observation.directory_in(settings.result_dir),
        output=Path(observation.output_dir) / settings.output_subdir,
    )
    tasks: list[OfflineTask] = []
    problems: list[str] = []
    try:
        sources = read_source_lists((config.of(AmberClusteringSettings).source_file,))
    except (OSError, ValueError) as error:
        sources = SourceList({}, {})
        problems.append(f"no known sources: {error}")
    for part in (_fold, _drift):
        try:
            tasks += part(place, settings, sources)
        except (OSError, TableError) as error:
            problems.append(str(error))
    return tasks + _repeaters(place, settings, sources, config), problems


def _fold(
    place: TaskLocation, settings: OfflineProcessingSettings, sources: SourceList
) -> list[OfflineTask]:
    """Fold the source, if it is a test pulsar in this beam."""
    observation = place.observation
    source = sources.lookup(observation.source)
    name = source.name if source else observation.source
    if name not in settings.test_pulsars or observation.source_beam != observation.beam:
        return []
    path = configured_file(settings.pulsar_file)
    known = parse_pulsars(path.read_text(encoding="utf-8"), str(path))
    if name not in known:
        raise TableError(f"{path}: {name} is not in it: not folded")
    return [FoldTask(place, settings, name, known[name])]


def _drift(
    place: TaskLocation, settings: OfflineProcessingSettings, sources: SourceList
) -> list[OfflineTask]:
    """Measure a drift scan, if the source passes through this beam."""
    drift = parse_drift_name(place.observation.source, settings.calibrators)
    if drift is None or not drift.holds(place.beam):
        return []
    path = configured_file(settings.calibrator_file)
    known = parse_calibrators(path.read_text(encoding="utf-8"), str(path))
    if drift.calibrator not in known:
        raise TableError(f"{path}: {drift.calibrator} is not in it: not measured")
    return [DriftTask(place, settings, drift, known[drift.calibrator])]


def _repeaters(
    place: TaskLocation, settings: OfflineProcessingSettings, sources: SourceList, config: Config
) -> list[OfflineTask]:
    """Search for known repeaters near this beam; the task itself checks their position."""
    observation = place.observation
    pointing = observation.pointing(place.beam)
    if pointing is None or not observation.amber_instances:
        return []
    radius = place.instrument.beam_semimajor / 60
    # The task converts hour angles to right ascensions. Apparent declinations differ by a degree at
    # most, over centuries.
    tasks: list[OfflineTask] = []
    for source in sources.with_position():
        if source.kind != "frb" or source.position is None:
            continue
        if abs(source.position[1] - pointing.latitude_deg) > radius + 1:
            continue
        ra_differs = abs((source.position[0] - pointing.longitude_deg + 180) % 360 - 180)
        reach = (radius + 1) / max(math.cos(math.radians(source.position[1])), 1e-3)
        if observation.reference_frame == "J2000" and ra_differs > reach:
            continue
        from darc.candidates.cluster_boxes import boxes_of  # noqa: PLC0415 - numpy

        tasks.append(
            RepeaterTask(
                place=place,
                settings=settings,
                source=source,
                processing=config.of(ProcessorSettings),
                boxes=boxes_of(observation, config.of(ProcessorSettings).clustering, config),
            )
        )
    return tasks
