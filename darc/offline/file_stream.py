"""Sequential reading of data files in blocks, with little memory for any length."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from darc.data_files.data_file import DataFile, Samples

#: Size of an unpacked block (bytes).
BLOCK_BYTES = 8 * 2**20
_LOOK_EVERY = 1.0  # s
#: Time without growth before a file is read, and time limit for waiting (s).
QUIET, QUIET_LIMIT = 5.0, 300.0


def blocks(
    file: DataFile, begin: int, end: int, multiple: int = 1
) -> Iterator[tuple[int, Samples]]:
    """Yield blocks of a file: number of the first sample, and samples.

    :param begin: number of the first sample
    :param end: end of the range, exclusive
    :param multiple: the number of samples of each block but the last is a multiple of this
    :raises DataFileError: the range is outside the file
    """
    width = file.header.nchans * file.dtype.itemsize
    count = max(1, BLOCK_BYTES // (width * multiple)) * multiple
    for start in range(begin, end, count):
        yield start, file.read(start, min(count, end - start))


def n_samples(file: DataFile) -> int:
    """Return the number of samples in a file.

    :raises DataFileError: the file has no samples
    """
    found = file.n_samples()
    if not found:
        raise file.error("a header, but no samples")
    return found


def wait_until_quiet(paths: Iterable[Path]) -> None:
    """Wait until files have stopped growing; missing files are ignored.

    :raises ValueError: a file still grows at the time limit
    """
    watched = tuple(paths)
    began = since = time.monotonic()
    now = time.time()
    sizes = _sizes(watched)
    newest = max((path.stat().st_mtime for path in watched if path.exists()), default=0.0)
    # No waiting if the files have not changed for long.
    if now - newest >= QUIET and newest <= now:
        return
    while time.monotonic() - since < QUIET:
        time.sleep(min(_LOOK_EVERY, QUIET))
        if (found := _sizes(watched)) != sizes:
            sizes, since = found, time.monotonic()
        if since - began > QUIET_LIMIT:
            raise ValueError(f"{watched[0]} and others still grow after {QUIET_LIMIT:.0f} s")


def _sizes(paths: tuple[Path, ...]) -> list[int]:
    return [path.stat().st_size if path.exists() else 0 for path in paths]
