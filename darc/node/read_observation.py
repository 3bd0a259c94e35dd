"""Reading the files that describe an observation."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

from darc.config.file_kinds import known_kind
from darc.config.instrument import Instrument
from darc.model.observation import Observation, ObservationError, ObservationProblem
from darc.model.observation_build import PATH, build_observation
from darc.model.parset import PARSERS, Parset
from darc.model.parset_values import to_path
from darc.runtime.untrusted_files import read_regular

_log = logging.getLogger(__name__)

#: Largest size of a parset, bytes; they have some kilobytes.
MAX_FILE = 4 * 2**20


class UnknownConfigType(ValueError):  # noqa: N818 - the answer is "Failed: unknown config file type"
    """The file name does not end in .parset, .yaml or .yml."""


def read_observation(path: Path, instrument: Instrument) -> Observation:
    """Read an observation from a parset or YAML file, and the files that it refers to.

    These are AMBER's configuration, and the master's parset if that exists and describes the same
    observation.

    :raises FileNotFoundError: there is no such file
    :raises UnknownConfigType: its file type is unknown
    :raises ObservationError: a key is missing or a value invalid
    :raises OSError: it cannot be read
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    parset = _read(path)
    amber_text = None
    if amber_config := str(parset.values.get("amber_config", "")):
        try:
            amber_text = _text(path.parent / to_path(amber_config))
        except OSError as error:
            allowed = f"a file that can be read ({error.strerror})"
            raise ObservationError(parset.problem("amber_config", allowed)) from error
        except ObservationError:
            raise
        except ValueError as error:
            raise ObservationError(parset.problem("amber_config", PATH)) from error
    return build_observation(parset, _master_parset(path, parset), amber_text, instrument)


def _master_parset(path: Path, parset: Parset) -> Parset | None:
    try:
        directory = to_path(parset.values.get("master_dir", ""))
    except ValueError as error:
        raise ObservationError(parset.problem("master_dir", PATH)) from error
    file = path.parent / directory / "parset" / "darc_master.parset"
    if not directory or not file.exists() or file.samefile(path):
        return None
    master = _read(file)
    here, there = (entry.values.get("datetimesource") for entry in (parset, master))
    # If the master wrote no parset, the previous one is still there, with other pointings.
    if here and there and here != there:
        _log.warning("%s is not used: it describes %s, not %s", file, there, here)
        return None
    return master


def _read(path: Path) -> Parset:
    parse = PARSERS.get(path.suffix.lower())
    if parse is None:
        raise UnknownConfigType(f"{path} is neither .parset nor .yaml")
    parset = parse(_text(path), str(path))
    for warning in parset.warnings:
        _log.warning("%s", warning)
    return parset


def _text(path: Path) -> str:
    try:
        data = read_regular(path, MAX_FILE)
    except OSError as error:
        if error.errno == errno.EFBIG:
            allowed = f"at most {MAX_FILE} bytes"
            problem = ObservationProblem(str(path), 0, "file", None, allowed, "too large")
            raise ObservationError(problem) from error
        raise
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = known_kind(data) or "not UTF-8"
        raise ObservationError(
            ObservationProblem(str(path), line, "file", None, "text in UTF-8", what)
        ) from error
