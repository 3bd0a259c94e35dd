"""Table SUBINT of search-mode PSRFITS: its columns, and the shape of what is in a row.

Source: the PSRFITS definition 6 (ATNF), and what telescopes write. A row is a sub-integration of
NSBLK samples; DATA has them as (NSBLK, NPOL, NCHAN) of NBITS, below 8 bits packed, the first in the
most significant bits.
"""

from __future__ import annotations

import re

from darc.config.records import Struct
from darc.config.typed import shown
from darc.data_files.fits_header import FitsUnit

BITS = (1, 2, 4, 8, 16)
DATA, FREQUENCY, WEIGHT, OFFSET, SCALE = "DATA", "DAT_FREQ", "DAT_WTS", "DAT_OFFS", "DAT_SCL"

_FORM = re.compile(r"(\d*)([LXBIJKAEDCMPQ])(\(\d*\))?")
_SIZES = {"L": 1, "B": 1, "A": 1, "I": 2, "J": 4, "K": 8, "E": 4, "D": 8, "C": 8, "M": 16}
_SIZES |= {"P": 8, "Q": 16}
_FLOATS = ("E", "D")
_MAX_CHANNELS, _MAX_POLARISATIONS, _MAX_BLOCK = 1_048_576, 16, 1 << 40

#: POL_TYPE of which the first polarisation is used.
_FIRST = ("AA+BB", "INTEN", "I", "IQUV", "STOKE", "STOKES")
#: POL_TYPE of which the first two are added, and NPOL.
_FIRST_TWO = {"AABB": 2, "XXYY": 2, "LLRR": 2, "AABBCRCI": 4, "XXYYCRCI": 4, "LLRRCRCI": 4}


class FitsColumn(Struct, frozen=True):
    """Column of a table.

    :param begin: first byte in a row
    :param n_values: number of values in a row
    :param code: type of a value, by the letter of FITS
    """

    number: int
    begin: int
    n_values: int
    code: str

    @property
    def size(self) -> int:
        """Bytes in a row."""
        if self.code == "X":
            return -(-self.n_values // 8)
        return self.n_values * _SIZES[self.code]


class SubintTable(Struct, frozen=True):
    """What the header of SUBINT says of its rows.

    :param n_samples: NSBLK, time samples in a row
    :param used: polarisations to add, from 0; None: POL_TYPE does not say
    :param signed: samples are signed, as two's complement of their bits
    :param shift: added to the samples as they are stored, to have them as FITS means them
    :param null: value of samples that are missing; None: none is
    """

    row_bytes: int
    n_bits: int
    n_channels: int
    n_polarisations: int
    n_samples: int
    used: tuple[int, ...] | None
    pol_type: str
    zero_off: float
    signed: bool
    shift: int
    null: int | None
    columns: dict[str, FitsColumn]

    @property
    def moment_bytes(self) -> int:
        """Bytes of one time sample."""
        return self.n_channels * self.n_polarisations * self.n_bits // 8


def subint_table(unit: FitsUnit) -> SubintTable:
    """Return what a header of SUBINT says.

    :raises DataFileError: it is not that of search-mode data, or contradicts itself
    """
    if unit.get("ZTABLE") or unit.get("ZIMAGE"):
        raise unit.error("SUBINT is compressed: funpack it first")
    if unit.text("XTENSION") != "BINTABLE":
        raise unit.error(f"SUBINT is no table, but {shown(unit.text('XTENSION'))}")
    n_bits = unit.whole("NBITS", 1, 32)
    if n_bits not in BITS:
        allowed = ", ".join(map(str, BITS))
        raise unit.error(f"NBITS: {n_bits} is not allowed; allowed: one of {allowed}")
    n_channels = unit.whole("NCHAN", 1, _MAX_CHANNELS)
    n_pols = unit.whole("NPOL", 1, _MAX_POLARISATIONS)
    n_samples = unit.whole("NSBLK", 1, _MAX_BLOCK)
    if n_channels * n_pols * n_bits % 8:
        raise unit.error(
            f"NCHAN: {n_channels} channels, {n_pols} polarisations, of {n_bits} bits; allowed:"
            " whole bytes for each sample in time"
        )
    columns = _columns(unit)
    _check_shapes(unit, columns, n_bits, (n_channels, n_pols, n_samples))
    default = int(n_bits == 16 and f"TZERO{columns[DATA].number}" not in unit.cards)
    signed = bool(unit.whole("SIGNINT", 0, 1, default))
    shift, signed = _shift(unit, columns[DATA], n_bits, signed)
    null = unit.get(f"TNULL{columns[DATA].number}")
    return SubintTable(
        row_bytes=unit.whole("NAXIS1", 1, 1 << 50),
        n_bits=n_bits,
        n_channels=n_channels,
        n_polarisations=n_pols,
        n_samples=n_samples,
        used=_used(unit, n_pols),
        pol_type=unit.text("POL_TYPE"),
        zero_off=unit.number("ZERO_OFF", -1e9, 1e9, 0.0),
        signed=signed,
        shift=shift,
        null=None if null is None else _null(unit, columns[DATA], n_bits),
        columns=columns,
    )


def _columns(unit: FitsUnit) -> dict[str, FitsColumn]:
    """Return the columns by name.

    :raises DataFileError: one is missing, of an unknown type, or they are not as wide as a row
    """
    found: dict[str, FitsColumn] = {}
    begin = 0
    for number in range(1, unit.whole("TFIELDS", 1, 999) + 1):
        form = unit.text(f"TFORM{number}")
        match = _FORM.fullmatch(form.strip())
        if match is None:
            raise unit.error(f"TFORM{number}: {shown(form)} is not a type of FITS")
        column = FitsColumn(number, begin, int(match[1] or 1), match[2])
        begin += column.size
        name = unit.text(f"TTYPE{number}").strip().upper()
        if name in found:
            raise unit.error(f"TTYPE{number}: {name} is column {found[name].number}, too")
        found[name] = column
    missing = [name for name in (FREQUENCY, WEIGHT, OFFSET, SCALE, DATA) if name not in found]
    if missing:
        raise unit.error(f"SUBINT has no column {', '.join(missing)}")
    row_bytes = unit.whole("NAXIS1", 1, 1 << 50)
    if begin != row_bytes:
        raise unit.error(f"NAXIS1: {row_bytes} bytes in a row, but its columns have {begin}")
    return found


def _check_shapes(
    unit: FitsUnit, columns: dict[str, FitsColumn], n_bits: int, shape: tuple[int, int, int]
) -> None:
    """Check columns against NCHAN, NPOL and NSBLK.

    :raises DataFileError: they contradict one another
    """
    n_channels, n_pols, n_samples = shape
    # Some write scales and offsets per channel alone, which are those of all polarisations.
    per_pol = (n_channels * n_pols, n_channels)
    wanted = {FREQUENCY: (n_channels,), WEIGHT: (n_channels,), OFFSET: per_pol, SCALE: per_pol}
    for name, allowed in wanted.items():
        column = columns[name]
        what = f"TFORM{column.number}: {name} has {column.n_values} values of type {column.code}"
        if column.n_values not in allowed or column.code not in _FLOATS:
            raise unit.error(
                f"{what}; {n_channels} channels, {n_pols} polarisations: {allowed[0]} of E or D"
            )
        for key in (f"TSCAL{column.number}", f"TZERO{column.number}"):
            if unit.get(key) not in (None, 1 if "SCAL" in key else 0):
                raise unit.error(f"{key}: {shown(unit.get(key))} for {name} is not allowed")
    data = columns[DATA]
    size = n_channels * n_pols * n_samples * n_bits // 8
    if data.code not in ("B", "I") or data.size != size or (data.code == "I") != (n_bits == 16):
        raise unit.error(
            f"TFORM{data.number}: DATA has {data.n_values} values of type {data.code}; NCHAN"
            f" {n_channels}, NPOL {n_pols}, NSBLK {n_samples} and NBITS {n_bits} make"
            f" {size // (2 if n_bits == 16 else 1)} of {'I' if n_bits == 16 else 'B'}"
        )
    shapes = {(n_channels, n_pols, n_samples)}
    if n_bits < 8:
        # Which axis is shorter by the packing is written in either way; the bytes are the same.
        shapes.add((n_channels, n_pols, n_samples * n_bits // 8))
        shapes.add((n_channels * n_bits // 8, n_pols, n_samples))
    text = unit.text(f"TDIM{data.number}")
    given = _dimensions(text)
    # Of folded data the first axis are phase bins; search mode has one.
    if text and given not in shapes and not (given[:1] == (1,) and given[1:] in shapes):
        choices = " or ".join(str(one).replace(" ", "") for one in sorted(shapes, reverse=True))
        raise unit.error(f"TDIM{data.number}: {text} of DATA; allowed: {choices}")


def _dimensions(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.strip().strip("()").split(","))
    except ValueError:
        return ()


def _shift(unit: FitsUnit, data: FitsColumn, n_bits: int, signed: bool) -> tuple[int, bool]:
    """Return what is added to stored samples, and whether these are signed.

    FITS has no unsigned integers of 16 bits, nor signed ones of 8: TZERO shifts the others.
    """
    if unit.get(f"TSCAL{data.number}") not in (None, 1):
        raise unit.error(
            f"TSCAL{data.number}: {shown(unit.get(f'TSCAL{data.number}'))} for DATA is not"
            " allowed; scales are in DAT_SCL"
        )
    key = f"TZERO{data.number}"
    zero = unit.get(key)
    if zero in (None, 0):
        return 0, signed
    usual = {8: -128, 16: 32768}.get(n_bits)
    if zero != usual:
        raise unit.error(
            f"{key}: {shown(zero)} for DATA of {n_bits} bits is not allowed; offsets are in"
            " ZERO_OFF and DAT_OFFS"
        )
    return usual, n_bits == 16


def _null(unit: FitsUnit, data: FitsColumn, n_bits: int) -> int:
    key = f"TNULL{data.number}"
    if n_bits < 8:
        raise unit.error(
            f"{key}: {shown(unit.get(key))} for DATA of {n_bits} bits is not allowed: no value of"
            " packed samples is free for missing ones"
        )
    return unit.whole(key, -32768 if n_bits == 16 else 0, 32767 if n_bits == 16 else 255)


def _used(unit: FitsUnit, n_pols: int) -> tuple[int, ...] | None:
    """Return the polarisations to add; None: of several, POL_TYPE does not say, or is of others."""
    name = unit.text("POL_TYPE").strip().upper()
    needed = _FIRST_TWO.get(name)
    if n_pols == 1 or name in _FIRST:
        return (0,)
    return (0, 1) if needed == n_pols else None
