"""Strict reading of the text files of results."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TypeVar

from darc.config.typed import Value, read_strictly
from darc.config.yaml_tree import parse_yaml
from darc.runtime.untrusted_files import NotRegularError, read_regular

T = TypeVar("T")

#: Maximum size of a file (bytes); a list with 50,000 candidates has some MB.
MAX_FILE = 16 * 2**20


class ResultFileError(ValueError):
    """A result file is invalid; the text names the file, the line and the value."""


def read_text(path: Path) -> str:
    """Read a text file, keeping its line ends.

    :raises ResultFileError: the file is not text, not a regular file, or too large
    :raises OSError: the file cannot be read
    """
    try:
        data = read_regular(path, MAX_FILE, path.parent)
    except OSError as error:
        if isinstance(error, NotRegularError) or error.errno == errno.EFBIG:
            raise ResultFileError(f"{path}: {error.strerror}") from error
        raise
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ResultFileError(f"{path}:{line}: byte {data[error.start]:#04x} is no text") from error


def read_yaml(kind: type[T], text: str, path: Path) -> tuple[T, dict[str, Value]]:
    """Create a record from a YAML mapping.

    :return: the object, and its values with their lines
    :raises ResultFileError: the text is invalid, or a key is missing or unknown
    """
    try:
        tree = parse_yaml(text, str(path))
        return read_strictly(kind, tree), tree.data
    except ValueError as error:
        raise ResultFileError(str(error)) from error


def read_rows(path: Path, header: str) -> list[tuple[str, dict[str, str]]]:
    """Read a text table with a header such as ``#cb snr dm``.

    :return: for each line its position in the file, and its words by column
    :raises ResultFileError: the header or the number of words differs, or the last line is
        incomplete
    :raises OSError: the file cannot be read
    """
    lines = read_text(path).split("\n")
    if lines[0] != header:
        raise ResultFileError(f"{path}:1: {lines[0][:100]!r} is not the header {header!r}")
    if lines.pop():
        raise ResultFileError(f"{path}:{len(lines) + 1}: the line has no end")
    names = header.lstrip("#").split(" ")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        words = line.split(" ")
        if len(words) != len(names):
            what = f"{line[:100]!r} has {len(words)} columns, not {len(names)}"
            raise ResultFileError(f"{path}:{number}: {what}")
        rows.append((f"{path}:{number}", dict(zip(names, words, strict=True))))
    return rows
