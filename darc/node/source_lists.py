"""Lists of known sources, read from their files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from darc.model.psrcat import parse_psrcat
from darc.model.sources import SourceList, merge_lists, parse_source_list
from darc.runtime.paths import configured_file
from darc.runtime.untrusted_files import MAX_TEXT, read_regular

_PSRCAT = ".db"


def read_source_list(path: Path) -> SourceList:
    """Read a source list (YAML), or the ATNF catalogue's psrcat.db: what ends in `.db`.

    :raises OSError: it cannot be read
    :raises ValueError: it is invalid; the text names file, line and value
    """
    data = read_regular(path, MAX_TEXT)
    if path.suffix == _PSRCAT:
        return parse_psrcat(data.decode(errors="replace"), str(path))
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}:{line}: not UTF-8; save the list as UTF-8") from error
    return parse_source_list(text, str(path))


def read_lists_apart(names: Iterable[str]) -> tuple[SourceList, tuple[str, ...]]:
    """Read some lists as one, without those that are broken; return what is wrong with these.

    :param names: see `read_source_lists`
    """
    lists, problems = [], []
    for name in names:
        try:
            lists.append(read_source_lists((name,)))
        except (OSError, ValueError) as error:
            text = str(error)
            problems.append(text if name in text else f"{name}: {text}")
    return merge_lists(lists), tuple(problems)


def read_source_lists(names: Iterable[str]) -> SourceList:
    """Read some lists as one; a source of several counts once, as the first list has it.

    :param names: of packaged files, or paths
    :raises OSError: one cannot be read
    :raises ValueError: one is invalid; the text names file, line and value
    """
    return merge_lists(read_source_list(configured_file(name)) for name in names)
