"""What is known of test pulsars and of calibrators: conf/pulsars.yaml, conf/calibrators.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from darc.config.typed import Range, Reader, Value
from darc.config.yaml_tree import YAMLTextError, parse_yaml

T = TypeVar("T")


class TableError(ValueError):
    """A table is wrong; the text names file and line of everything that is."""


@dataclass(frozen=True, slots=True)
class Ephemeris:
    """A pulsar's rotation at the barycentre of the solar system.

    :param spin: frequency and its derivatives, Hz, Hz/s, ...
    :param epoch: of these, MJD, TDB
    :param uncertainty: of the frequency at present, Hz
    :param dm: pc cm-3
    :param position: ICRS, deg
    """

    spin: tuple[float, ...]
    epoch: Annotated[float, Range(0, 1e6)]
    uncertainty: Annotated[float, Range(0, 1)]
    dm: Annotated[float, Range(0, 100_000)]
    position: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Calibrator:
    """The flux density of a source.

    :param coefficients: of log10 S (Jy) in powers of log10 of the frequency in GHz
    :param valid: MHz
    :param epoch: year of the coefficients; None: it does not change
    :param change: percent per year
    :param size: arcmin; 0: a point to all beams
    """

    coefficients: tuple[float, ...]
    valid: tuple[float, float]
    epoch: Annotated[float, Range(1900, 2200)] | None = None
    change: Annotated[float, Range(-10, 10)] = 0.0
    size: Annotated[float, Range(0, 1000)] = 0.0


def parse_pulsars(text: str, name: str) -> dict[str, Ephemeris]:
    """Parse a table of ephemerides by name.

    :param name: the file's name, for messages
    :raises TableError: with everything that is wrong
    """
    found = _parse(Ephemeris, text, name)
    for pulsar, one in found.items():
        if not one.spin or one.spin[0] <= 0:
            raise TableError(f"{name}: {pulsar}.spin: {list(one.spin)}; allowed: a frequency, ...")
    return found


def parse_calibrators(text: str, name: str) -> dict[str, Calibrator]:
    """Parse a table of calibrators by name.

    :param name: the file's name, for messages
    :raises TableError: with everything that is wrong
    """
    found = _parse(Calibrator, text, name)
    for calibrator, one in found.items():
        if not one.coefficients:
            raise TableError(f"{name}: {calibrator}.coefficients: none")
    return found


def _parse(kind: type[T], text: str, name: str) -> dict[str, T]:
    try:
        tree = parse_yaml(text, name)
    except YAMLTextError as error:
        raise TableError(str(error)) from error
    if tree.data is None:
        tree = Value({}, name, 1)
    reader = Reader()
    shape: Any = Mapping[str, kind]  # type: ignore[valid-type]
    found = reader.read(shape, tree, "")
    problems = [*reader.problems]
    problems += [f"{one.value.place}: {one.path}: unknown" for one in reader.unknown]
    if found is None or problems:
        raise TableError("\n".join(problems))
    return dict(found)
