"""Which files of a sequence are of an observation, where a directory has those of others, too."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from darc.config.records import Struct
from darc.data_files.data_file_error import DataFileError
from darc.data_files.data_source import DataSource, PathSequence, source_of
from darc.data_files.read_layout import count_samples, read_layout

#: A file that was last written so long before an observation began is of an earlier one (s).
EARLIER_SECONDS = 60.0
#: One that begins so shortly after another's end goes on with it (s).
_GOES_ON = 1.0


class _Times(Struct, frozen=True):
    """When the data of a file begin and end, Unix s, and the source that its header names."""

    begin: float
    end: float
    source: str | None


def of_observation(source: DataSource, start: float, end: float) -> DataSource:
    """Return a sequence without the files of other observations.

    Those are files that were last written before it began, or whose data end before; and those that
    begin after its end, but for what goes on from there. A file whose times cannot be read stays,
    as does everything where nothing would be left: its reader says what is wrong.

    :param start: of the observation, Unix s
    :param end: likewise
    """
    if not isinstance(source, PathSequence):
        return source
    kept: list[Path] = []
    later: list[tuple[_Times, Path]] = []
    last: _Times | None = None
    for path in source.paths:
        try:
            status = path.stat()
            if status.st_mtime < start - EARLIER_SECONDS:
                continue
            times = _times(path, status.st_mtime_ns, status.st_size)
        except (OSError, DataFileError):
            times = None
        if times is None:
            kept.append(path)
        elif times.begin >= end:
            later.append((times, path))
        elif times.end > start or times.begin >= start:
            kept.append(path)
            last = times if last is None or times.end > last.end else last
    for times, path in sorted(later, key=lambda one: one[0].begin):
        if last is None or times.begin - last.end > _GOES_ON or times.source != last.source:
            break
        kept.append(path)
        last = times
    in_order = [path for path in source.paths if path in set(kept)]
    return source_of(in_order) if in_order else source


@lru_cache(maxsize=10_000)
def _times(path: Path, written: int, size: int) -> _Times | None:
    """Return a file's times, which stay while it does; None: its header has none.

    :param written: when it was, ns
    :param size: bytes
    :raises OSError: it cannot be read
    :raises DataFileError: its header is invalid, or not complete yet
    """
    layout = read_layout(path)
    begin = layout.header.arrival_reference.start
    if begin is None:
        return None
    length = count_samples(layout, path, size) * layout.header.tsamp
    return _Times(begin, begin + length, layout.header.source_name)
