"""Check whether the data that a cluster needs are on disk, without reading them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from darc.candidates.pool_tasks import BeamFiles
from darc.config.settings import ProcessorExtractor
from darc.data_files.filterbank_header import (
    MAX_HEADER,
    FilterbankError,
    FilterbankHeader,
    IncompleteHeaderError,
    parse_header,
)
from darc.data_files.filterbank_paths import filterbank_paths
from darc.model.processing_outcome import Detection
from darc.runtime.untrusted_files import open_regular
from darc.science.dispersion import DISPERSION_CONSTANT, delay, dm_halfrange


@dataclass(frozen=True, slots=True)
class _Known:
    header: FilterbankHeader
    size: int  # of the header, bytes


class BeamAvailability:
    """Sizes of the files of a compound beam at the last check; the files grow."""

    def __init__(self, files: BeamFiles) -> None:
        self._files = files
        self._known: dict[Path, _Known] = {}
        self._paths: list[Path] = []
        self._sizes: dict[Path, int] = {}
        self._broken = False

    def poll(self) -> tuple[int, ...]:
        """Update the sizes of the files; return those of the existing ones, bytes."""
        self._broken = False
        self._sizes = {}
        try:
            self._paths = filterbank_paths(
                self._files.directory, self._files.cb, self._files.n_tabs
            )
            for path in self._paths:
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
        if self._broken or max(needed) >= len(self._paths):
            return True
        try:
            return all(self._is_in(self._paths[tab], pulse, settings) for tab in needed)
        except (FileNotFoundError, IncompleteHeaderError):
            return False
        except (OSError, FilterbankError):
            return True

    def _is_in(self, path: Path, pulse: Detection, settings: ProcessorExtractor) -> bool:
        if path not in self._sizes:
            return False
        known = self._header(path)
        wanted = last_sample(known.header, pulse, settings) * known.header.bytes_per_sample
        return self._sizes[path] - known.size >= wanted

    def _header(self, path: Path) -> _Known:
        if path not in self._known:
            with open_regular(path) as file:
                parsed = parse_header(file.read(MAX_HEADER), str(path))
            self._known[path] = _Known(parsed.header, parsed.size)
        return self._known[path]


def last_sample(header: FilterbankHeader, pulse: Detection, settings: ProcessorExtractor) -> float:
    """Return an upper limit of the end of the samples that a pulse needs.

    As :mod:`darc.science.extraction_plan`, which is not used since it imports numba.
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
    return start + settings.ntime * bin_samples + late / tsamp + bin_samples + 1
