"""Parsets: key = value files that describe an observation, and the same keys in YAML."""

from __future__ import annotations

import bz2
import io
from collections.abc import Callable, Mapping

from darc.config.file_kinds import BYTE_ORDER_MARK
from darc.config.records import Struct
from darc.config.typed import shown
from darc.config.yaml_error import YAMLTextError
from darc.config.yaml_tree import parse_yaml
from darc.model.observation import ObservationError, ObservationProblem
from darc.model.parset_values import BOOLEAN, INTEGER, NUMBER, to_integers

ParsetValue = str | int | float | bool | tuple[int, ...]

#: Largest size of the telescope's parset, decompressed (bytes).
MAX_EMBEDDED = 4 * 2**20
#: Most keys of a parset; a telescope's has some thousands.
MAX_KEYS = 50_000
_MAX_WARNINGS = 20

_TYPES: dict[str, tuple[Callable[[str], ParsetValue], str]] = {
    "startpacket": INTEGER,
    "beam": INTEGER,
    "ntabs": INTEGER,
    "nsynbeams": INTEGER,
    "network_port_event_i": INTEGER,
    "network_port_event_iquv": INTEGER,
    "duration": NUMBER,
    "history_i": NUMBER,
    "history_iquv": NUMBER,
    "snrmin": NUMBER,
    "min_freq": NUMBER,
    "proctrigger": BOOLEAN,
    "enable_iquv": BOOLEAN,
    "beams": (to_integers, "a list of whole numbers"),
}


class Parset(Struct, frozen=True):
    """A parset: values by key, the line of each, and `warnings` about skipped lines."""

    name: str
    values: Mapping[str, ParsetValue]
    lines: Mapping[str, int]
    warnings: tuple[str, ...] = ()

    def problem(self, key: str, allowed: str) -> ObservationProblem:
        """Return the problem of an invalid or missing value of a key."""
        value = self.values.get(key)
        text = None if value is None else str(value)
        return ObservationProblem(self.name, self.lines.get(key, 0), key, text, allowed)


def parse_parset(text: str, name: str) -> Parset:
    """Parse a parset.

    A line that is not `key = value` is skipped with a warning. The last of several values of a key
    counts.

    :param name: the file's name, for messages
    :raises ObservationError: a value is not of its key's type
    """
    texts: dict[str, str] = {}
    lines: dict[str, int] = {}
    warnings = []
    skipped = 0
    text = text.removeprefix(BYTE_ORDER_MARK)
    for number, line in enumerate(io.StringIO(text, newline="\n"), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        key, equals, value = entry.partition("=")
        key = key.strip()
        if not equals or not key:
            skipped += 1
            if skipped <= _MAX_WARNINGS:
                warnings.append(f"{name}:{number}: {shown(entry)} is not key = value; skipped")
            continue
        texts[key] = value.partition("#")[0].strip()
        lines[key] = number
        if len(texts) > MAX_KEYS:
            allowed = f"at most {MAX_KEYS} keys"
            raise ObservationError(
                ObservationProblem(name, number, "file", None, allowed, "too many keys")
            )
    if skipped > _MAX_WARNINGS:
        warnings.append(f"{name}: {skipped - _MAX_WARNINGS} more lines are not key = value")
    return _typed(name, texts, lines, tuple(warnings))


def parse_yaml_observation(text: str, name: str) -> Parset:
    """Parse an observation in YAML, a mapping with the keys of a parset.

    :param name: the file's name, for messages
    :raises ObservationError: not YAML of this form, or a value is not of its key's type
    """
    allowed = "keys of a parset, each with a value or a list of values"
    try:
        tree = parse_yaml(text, name, as_text=True)
    except YAMLTextError as error:
        problems = [
            ObservationProblem(name, one.line or 0, "file", None, allowed, one.what)
            for one in error.problems
        ]
        raise ObservationError(*problems) from error
    if not isinstance(tree.data, dict):
        what = f"{shown(tree.data)} is not a mapping"
        raise ObservationError(ObservationProblem(name, tree.line, "file", None, allowed, what))
    texts = {}
    for key, value in tree.data.items():
        entries = value.data if isinstance(value.data, list) else [value]
        if any(isinstance(entry.data, list | dict) for entry in entries):
            what = "a mapping, or a nested list"
            raise ObservationError(ObservationProblem(name, value.line, key, None, allowed, what))
        if isinstance(value.data, list):
            texts[key] = "[" + ", ".join(str(entry.data) for entry in entries) + "]"
        elif value.data is not None:
            texts[key] = value.data.strip()
    return _typed(name, texts, {key: value.line for key, value in tree.data.items()}, ())


def embedded_parset(parset: Parset) -> Parset | None:
    """Decode the telescope's parset in the key `parset`; None if there is none.

    :raises ObservationError: not UTF-8 text, compressed with bzip2, in hexadecimal, or too large
    """
    if not parset.values.get("parset"):
        return None
    allowed = "a parset, compressed with bzip2, in hexadecimal"
    name = f"{parset.name}:{parset.lines.get('parset', 0)} (parset)"
    try:
        decompressor = bz2.BZ2Decompressor()
        data = decompressor.decompress(bytes.fromhex(str(parset.values["parset"])), MAX_EMBEDDED)
        if not decompressor.eof and len(data) >= MAX_EMBEDDED:
            allowed += f", of at most {MAX_EMBEDDED} bytes"
            raise ObservationError(parset.problem("parset", allowed))
        if not decompressor.eof:
            raise EOFError
        text = data.decode("utf-8")
    except (ValueError, OSError, EOFError) as error:
        if isinstance(error, ObservationError):
            raise
        raise ObservationError(parset.problem("parset", allowed)) from error
    return parse_parset(text, name)


def _typed(
    name: str, texts: Mapping[str, str], lines: Mapping[str, int], warnings: tuple[str, ...]
) -> Parset:
    values: dict[str, ParsetValue] = {}
    problems = []
    for key, text in texts.items():
        convert, allowed = _TYPES.get(key, (str, "a text"))
        try:
            values[key] = convert(text)
        except ValueError:
            problems.append(ObservationProblem(name, lines[key], key, text, allowed))
    if problems:
        raise ObservationError(*problems)
    return Parset(name, values, lines, warnings)


#: What reads the configuration of an observation, by the end of its file's name.
PARSERS = {".parset": parse_parset, ".yaml": parse_yaml_observation, ".yml": parse_yaml_observation}
