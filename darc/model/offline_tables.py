"""Tables of test pulsars and calibrators: conf/pulsars.yaml, conf/calibrators.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from darc.config.records import Struct
from darc.config.typed import Range, Value, read_strictly
from darc.config.yaml_tree import parse_yaml

T = TypeVar("T")


class TableError(ValueError):
    """A table is invalid; the text lists all problems with file and line."""


class Ephemeris(Struct, frozen=True):
    """Rotation of a pulsar at the barycentre of the solar system.

    :param spin: frequency and its derivatives, Hz, Hz/s, ...
    :param epoch: reference epoch of `spin`, MJD, TDB
    :param uncertainty: present uncertainty of the frequency, Hz
    :param dm: pc cm-3
    :param position: ICRS, deg
    """

    spin: tuple[float, ...]
    epoch: Annotated[float, Range(0, 1e6)]
    uncertainty: Annotated[float, Range(0, 1)]
    dm: Annotated[float, Range(0, 100_000)]
    position: tuple[float, float]


class Calibrator(Struct, frozen=True):
    """Flux density of a calibrator.

    :param coefficients: polynomial of log10 S (Jy) in log10 of the frequency in GHz
    :param valid: frequency range of the polynomial, MHz
    :param epoch: year of the coefficients; None: constant flux density
    :param change: percent per year
    :param size: arcmin; 0: unresolved
    """

    coefficients: tuple[float, ...]
    valid: tuple[float, float]
    epoch: Annotated[float, Range(1900, 2200)] | None = None
    change: Annotated[float, Range(-10, 10)] = 0.0
    size: Annotated[float, Range(0, 1000)] = 0.0


def parse_pulsars(text: str, name: str) -> dict[str, Ephemeris]:
    """Return the ephemerides of a table by name.

    :param name: the file's name, for messages
    :raises TableError: the table is invalid; lists all problems
    """
    found = _parse(Ephemeris, text, name)
    for pulsar, one in found.items():
        if not one.spin or one.spin[0] <= 0:
            raise TableError(f"{name}: {pulsar}.spin: {list(one.spin)}; allowed: a frequency, ...")
    return found


def parse_calibrators(text: str, name: str) -> dict[str, Calibrator]:
    """Return the calibrators of a table by name.

    :param name: the file's name, for messages
    :raises TableError: the table is invalid; lists all problems
    """
    found = _parse(Calibrator, text, name)
    for calibrator, one in found.items():
        if not one.coefficients:
            raise TableError(f"{name}: {calibrator}.coefficients: empty; allowed: at least one")
    return found


def _parse(kind: type[T], text: str, name: str) -> dict[str, T]:
    shape: Any = Mapping[str, kind]  # type: ignore[valid-type]
    try:
        tree = parse_yaml(text, name)
        found: dict[str, T] = read_strictly(
            shape, Value({}, name, 1) if tree.data is None else tree
        )
    except ValueError as error:
        raise TableError(str(error)) from error
    return found
