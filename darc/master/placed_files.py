"""Store a configuration of an observation that a command contains as a file."""

from __future__ import annotations

import re
from pathlib import Path

from darc.model.observation import ObservationError
from darc.model.observation_build import made_datetimesource
from darc.model.parset import PARSERS
from darc.model.parset_values import to_datetimesource
from darc.node.read_observation import UnknownConfigType
from darc.runtime.paths import write_whole

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")


class FileNameError(ValueError):
    """Name that is not a plain file name."""


def place(parset_dir: Path, name: str, text: str) -> Path:
    """Write a configuration to `<parset_dir>/<datetimesource>/<name>` atomically.

    An existing file of that name is replaced.

    :return: path of the file
    :raises FileNameError: the name has other characters than letters, digits and . _ + -
    :raises UnknownConfigType: the file type is unknown
    :raises ObservationError: the configuration is damaged, or its datetimesource invalid
    :raises OSError: the file cannot be written
    :raises ValueError: the content is not text
    """
    if not _PLAIN.fullmatch(name):
        raise FileNameError(f"{name[:100]!r} is not a plain file name")
    parse = PARSERS.get(Path(name).suffix.lower())
    if parse is None:
        raise UnknownConfigType(f"{name} is neither .parset nor .yaml")
    data = text.encode()
    parset = parse(text, name)
    key = "datetimesource"
    try:
        name_of_it = parset.values.get(key) or made_datetimesource(parset.values) or ""
        directory = parset_dir / to_datetimesource(name_of_it)
    except ValueError as error:
        allowed = "a time such as 2019-05-18-23:51:13.<source>, without /; or start and"
        allowed += " task.source.name"
        raise ObservationError(parset.problem(key, allowed)) from error
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(directory / name, data)
    return directory / name
