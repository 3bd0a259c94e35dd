"""Paths of the data files of an observation, by the patterns of the configuration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from darc.data_files.data_source import DataSource, source_of

_DIGITS = re.compile(r"([0-9]+)")
_WILD = frozenset("*?[")


def data_sources(
    directory: Path, cb: int, n_tabs: int, patterns: Sequence[str]
) -> list[DataSource]:
    """Return the data of each TAB of a CB: those of the first pattern of which there are files.

    Several files of a pattern with wildcards are a sequence, in the order of the numbers in their
    names. If there is none of any pattern, the first path is returned that there could be.

    :param n_tabs: number of TABs of the observation
    :param patterns: names relative to the directory, with ``{cb}`` and ``{tab}``, see
        :class:`darc.config.instrument.Instrument`
    """
    return [_source(directory, cb, tab, n_tabs, patterns) for tab in range(n_tabs)]


def _source(directory: Path, cb: int, tab: int, n_tabs: int, patterns: Sequence[str]) -> DataSource:
    # Without the TAB in its name, a file is that of a single one.
    usable = [one for one in patterns if n_tabs == 1 or "{tab" in one] or list(patterns)
    names = [one.format(cb=cb, tab=tab) for one in usable]
    for name in names:
        if not _WILD & set(name):
            found = [path] if (path := directory / name).exists() else []
        else:
            found = sorted(directory.glob(name), key=_by_numbers)
        if found:
            return source_of(found)
    return directory / names[0]


def _by_numbers(path: Path) -> list[tuple[int, str]]:
    parts = _DIGITS.split(str(path))
    return [(int(part) if part.isdigit() else -1, part) for part in parts]
