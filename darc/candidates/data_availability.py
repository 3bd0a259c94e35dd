"""Check whether the data that a cluster needs are on disk, without reading them."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from darc.candidates.file_clock import FileClock, file_clock
from darc.candidates.pool_jobs import BeamFiles
from darc.config.settings import FETCH, ProcessorExtractor
from darc.data_files.data_file_error import DataFileError, IncompleteFileError
from darc.data_files.data_source import DataSource, paths_of, those_begun
from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.read_layout import DataLayout, count_samples, read_layout
from darc.data_files.sequence_places import FilePart, places_of
from darc.model.arrival import ArrivalReference
from darc.model.processing_outcome import Detection
from darc.science.dispersion import DISPERSION_CONSTANT, delay, dm_halfrange

log = logging.getLogger(__name__)


class BeamAvailability:
    """Sizes of the files of a compound beam at the last check; the files grow.

    :param arrival: reference of the pulses' times and widths; None: they are the files'
    """

    def __init__(self, files: BeamFiles, arrival: ArrivalReference | None = None) -> None:
        self._files, self._arrival = files, arrival
        self._clocks: dict[Path, FileClock] = {}
        self._layouts: dict[Path, DataLayout] = {}
        self._sources: list[DataSource] = []
        self._sizes: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}  # of samples, at these sizes
        self._broken = False

    def poll(self) -> tuple[int, ...]:
        """Update the sizes of the files; return those of the existing ones, bytes."""
        self._broken = False
        self._sizes, self._counts = {}, {}
        try:
            self._sources = self._files.paths()
            for path in itertools.chain.from_iterable(map(paths_of, self._sources)):
                with suppress(FileNotFoundError, NotADirectoryError):
                    self._sizes[path] = path.stat().st_size
        except OSError:
            self._broken = True
        return tuple(self._sizes.values())

    def has(self, pulse: Detection, tabs: Iterable[int], settings: ProcessorExtractor) -> bool:
        """Whether the data of a pulse were on disk at the last check, or will not come.

        Invalid files count as available: their reader reports the problem.
        """
        needed = set(tabs)
        if self._broken or max(needed) >= len(self._sources):
            return True
        try:
            return all(self._is_in(self._sources[tab], pulse, settings) for tab in needed)
        except (FileNotFoundError, IncompleteFileError):
            return False
        except (OSError, DataFileError):
            return True

    def _is_in(self, source: DataSource, pulse: Detection, settings: ProcessorExtractor) -> bool:
        paths = [path for path in paths_of(source) if path in self._sizes]
        if not paths:
            return False
        parts = those_begun(paths, self._part)
        if len(parts) > 1:
            parts.sort(key=lambda part: part.start)
        there = places_of(parts)[-1] + parts[-1].n_samples
        inside = self._clock(parts[0]).in_file(pulse)
        # What came before the first sample is not waited for.
        return inside.time < 0 or there >= last_sample(parts[0].header, inside, settings)

    def _clock(self, first: FilePart) -> FileClock:
        if first.path not in self._clocks:
            clock = file_clock(first.header, self._arrival, str(first.path), self._files.times)
            if clock != FileClock():
                log.info("%s %s: candidates are looked for there", first.path, clock)
            self._clocks[first.path] = clock
        return self._clocks[first.path]

    def _part(self, path: Path) -> FilePart:
        return FilePart(path, self._layout(path).header, self._count(path))

    def _layout(self, path: Path) -> DataLayout:
        if path not in self._layouts:
            self._layouts[path] = read_layout(path)
        return self._layouts[path]

    def _count(self, path: Path) -> int:
        if path not in self._counts:
            self._counts[path] = count_samples(self._layout(path), path, self._sizes[path])
        return self._counts[path]


def last_sample(header: FilterbankHeader, pulse: Detection, settings: ProcessorExtractor) -> float:
    """Return an upper limit of the end of the samples that a pulse needs.

    As :mod:`darc.science.extraction_plan`, which is not used since it imports numba.

    :param pulse: as it is in the file, see `FileClock.in_file`
    """
    f_reference = header.arrival_reference.frequency
    f_centre = (header.f_lowest + f_reference) / 2
    tsamp, width = header.tsamp, pulse.downsampling
    smearing = 2 * DISPERSION_CONSTANT * pulse.dm * header.channel_width / f_centre**3
    bin_samples = max(width, math.trunc(smearing / tsamp / 4), 1)
    half = dm_halfrange(
        settings.dm_halfrange, width * tsamp, pulse.dm, max(header.f_lowest, 1e-3), f_reference
    )
    highest_dm = max(2 * half, pulse.dm + half)
    late = delay(highest_dm, max(header.f_lowest, 1e-3), f_reference)
    before = settings.ntime // 2 * bin_samples
    start = max(0.0, pulse.time / tsamp - before)
    end = start + settings.ntime * bin_samples + late / tsamp + bin_samples + 1
    if FETCH not in settings.files_for:
        return end
    # Bins are half as long as the width, which may be found to be twice the trigger's.
    late = delay(2 * pulse.dm, max(header.f_lowest, 1e-3), f_reference)
    return max(end, pulse.time / tsamp + 130 * bin_samples + late / tsamp + 1)
