"""Filterbank files read from begin to end in blocks, so that any length needs little memory."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from darc.data_files.filterbank_header import FilterbankError
from darc.data_files.filterbank_reader import Filterbank, Samples

#: Of a block, unpacked (bytes).
BLOCK_BYTES = 8 * 2**20
_LOOK_EVERY = 1.0  # s


class GrowingFileError(ValueError):
    """A file still grows long after the observation has ended."""


def blocks(file: Filterbank, begin: int, end: int) -> Iterator[tuple[int, Samples]]:
    """Some samples of a file: numbers of the first of each block, and the block.

    :param begin: number of the first sample
    :param end: one behind the last
    :raises FilterbankError: they are not in the file
    """
    width = file.header.nchans * file.dtype.itemsize
    count = max(1, BLOCK_BYTES // width)
    for start in range(begin, end, count):
        yield start, file.read(start, min(count, end - start))


def n_samples(file: Filterbank) -> int:
    """Number of samples in a file.

    :raises FilterbankError: there are none
    """
    found = file.n_samples()
    if not found:
        raise FilterbankError(f"{file.path}: a header, but no samples")
    return found


def wait_until_quiet(paths: Iterable[Path], *, quiet: float, limit: float) -> None:
    """Wait until files have not grown for a while; those that are missing are none of it.

    :param quiet: for so long, s
    :param limit: then it is given up, s
    :raises GrowingFileError: they still grow
    """
    watched = tuple(paths)
    began = since = time.monotonic()
    now = time.time()
    sizes = _sizes(watched)
    newest = max((path.stat().st_mtime for path in watched if path.exists()), default=0.0)
    # What has not been written to for long needs no waiting.
    if now - newest >= quiet and newest <= now:
        return
    while time.monotonic() - since < quiet:
        time.sleep(min(_LOOK_EVERY, quiet))
        if (found := _sizes(watched)) != sizes:
            sizes, since = found, time.monotonic()
        if since - began > limit:
            raise GrowingFileError(f"{watched[0]} and others still grow after {limit:.0f} s")


def _sizes(paths: tuple[Path, ...]) -> list[int]:
    return [path.stat().st_size if path.exists() else 0 for path in paths]
