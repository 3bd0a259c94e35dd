"""Headers of DADA files, as PSRDADA and DSPSR write them.

A header has HDR_SIZE bytes (4096 where it does not say so) of lines ``KEY value``, remarks behind
``#``, filled up with zeros; samples follow. FREQ is the centre of the band, BW its width (MHz),
negative if the first channel is the highest; TSAMP is in µs.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from darc.config.records import Struct
from darc.config.typed import shown
from darc.data_files.data_file_error import DataFileError, IncompleteFileError
from darc.data_files.fits_header import read_at
from darc.data_files.translated_header import (
    LONGEST_OFFSET,
    TranslatedHeader,
    packed_angle,
    telescope_id,
)

_DEFAULT_SIZE, _LEAST_SIZE, _MAX_SIZE = 4096, 64, 1 << 20
_BITS = (8, 16, 32)
_UNKNOWN = ("", "unset", "unknown", "none")
_LOOKED_AT = 1 << 16
_FRACTION = re.compile(r"[0-9]{0,30}")  # of a second

#: STATE of DSPSR: polarisations that are added.
_STATES = {"INTENSITY": (0,), "STOKES": (0,), "PPQQ": (0, 1), "COHERENCE": (0, 1)}


class DadaLayout(Struct, frozen=True):
    """Where the samples of a file are.

    :param begin: first byte of the samples
    :param is_by_channel: the polarisations of a channel are side by side (TFP)
    :param used: polarisations to add, from 0
    """

    header: TranslatedHeader
    begin: int
    is_by_channel: bool
    used: tuple[int, ...]

    def n_samples(self, descriptor: int, size: int) -> int:
        """Return the number of whole time samples; see `DataLayout`."""
        return max(0, size - self.begin) // self.header.bytes_per_sample


class _Keys:
    """Values of a header by their keys."""

    def __init__(self, data: bytes, path: Path) -> None:
        self._path = path
        self._values: dict[str, str] = {}
        for line in data.partition(b"\0")[0].decode(errors="replace").splitlines():
            key, _, value = line.partition("#")[0].strip().replace("\t", " ").partition(" ")
            self._values.setdefault(key, value.strip())  # as PSRDADA, which finds the first

    def error(self, text: str) -> DataFileError:
        return DataFileError(f"{self._path}: {text}")

    def text(self, key: str) -> str:
        value = self._values.get(key, "")
        return "" if value.casefold() in _UNKNOWN else value

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        text = self.text(key)
        allowed = f"allowed: a number from {low:g} to {high:g}"
        if not text and default is not None:
            return default
        if not text:
            raise self.error(f"{key}: missing; {allowed}")
        try:
            value = float(text)
        except ValueError:
            raise self.error(f"{key}: {shown(text)} is no number; {allowed}") from None
        if not low <= value <= high:
            raise self.error(f"{key}: {shown(text)} is not allowed; {allowed}")
        return value

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self.number(key, low, high, default)
        if value != int(value):
            raise self.error(f"{key}: {shown(self.text(key))} is not a whole number")
        return int(value)


def read_dada(descriptor: int, path: Path) -> DadaLayout:
    """Read the header of a file.

    :param descriptor: of the open file
    :raises IncompleteFileError: the file ends before
    :raises DataFileError: a value is missing or not allowed, or the samples are not powers
    :raises OSError: it cannot be read
    """
    data = read_at(descriptor, _LOOKED_AT, 0)
    if len(data) < _LEAST_SIZE:
        raise IncompleteFileError(f"{path}: ends after {len(data)} bytes, within its header")
    # The last line may be half there.
    lines = data if b"\0" in data else data[: data.rfind(b"\n") + 1]
    size = _Keys(lines, path).whole("HDR_SIZE", _LEAST_SIZE, _MAX_SIZE, _DEFAULT_SIZE)
    if size > len(data):
        data = read_at(descriptor, size, 0)
    if len(data) < size:
        raise IncompleteFileError(f"{path}: ends after {len(data)} bytes; HDR_SIZE: {size}")
    for key in ("NBIT", "NCHAN", "TSAMP", "FREQ", "BW"):
        cut = re.compile(rb"^%s\s" % key.encode(), re.MULTILINE)
        if not cut.search(data[:size]) and (behind := cut.search(data)):
            raise DataFileError(
                f"{path}: HDR_SIZE: {size}, but {key} stands behind it, at byte {behind.start()};"
                " it is the size of the whole header"
            )
    return _layout(_Keys(data[:size], path), size)


def _layout(keys: _Keys, size: int) -> DadaLayout:
    n_dim = keys.whole("NDIM", 1, 4, 1)
    if n_dim != 1:
        raise keys.error(
            f"NDIM: {n_dim}: voltages as complex numbers, which are not powers; detect them first,"
            " as digifil of DSPSR does (a filterbank)"
        )
    n_bits = keys.whole("NBIT", -32, 32)
    n_bits = 32 if n_bits == -32 else n_bits  # float
    if n_bits not in _BITS:
        raise keys.error(
            f"NBIT: {n_bits} is not allowed; allowed: 8 and 16 (unsigned), and 32 (float)"
        )
    n_channels, n_pols = keys.whole("NCHAN", 1, 1_048_576), keys.whole("NPOL", 1, 16, 1)
    tsamp = keys.number("TSAMP", 1e-6, 1e12) * 1e-6
    frequency, width = keys.number("FREQ", 1e-6, 1e9), keys.number("BW", -1e9, 1e9)
    if not width or frequency <= abs(width) / 2:
        raise keys.error(f"BW: {width:g} MHz about {frequency:g} MHz; allowed: a band above 0")
    foff = width / n_channels
    header = TranslatedHeader(
        nchans=n_channels,
        nbits=n_bits,
        tsamp=tsamp,
        fch1=frequency - width / 2 + foff / 2,
        foff=foff,
        nifs=n_pols,
        source_name=keys.text("SOURCE") or None,
        src_raj=packed_angle(keys.text("RA")),
        src_dej=packed_angle(keys.text("DEC")),
        telescope_id=telescope_id(keys.text("TELESCOPE")),
        telescope_name=keys.text("TELESCOPE"),
        data_type=1,
    )
    since = _start(keys)
    offset = keys.whole("OBS_OFFSET", 0, 1 << 62, 0)
    if offset % header.bytes_per_sample:
        raise keys.error(
            f"OBS_OFFSET: {offset} is not a whole number of samples of"
            f" {header.bytes_per_sample} bytes"
        )
    before = offset // header.bytes_per_sample * tsamp
    if before > LONGEST_OFFSET:
        raise keys.error(
            f"OBS_OFFSET: {offset} bytes are {before:.6g} s; allowed: up to {LONGEST_OFFSET:g} s"
        )
    header = header.starting_at(since, before)
    state = keys.text("STATE").upper()
    if state and state not in _STATES:
        raise keys.error(
            f"STATE: {shown(keys.text('STATE'))} is not allowed: samples must be powers; allowed:"
            f" {', '.join(_STATES)}, or none"
        )
    used = _STATES.get(state, (0, 1) if n_pols == 2 else (0,))
    if max(used) >= n_pols:
        raise keys.error(f"STATE: {state} with NPOL {n_pols}")
    return DadaLayout(header, size, _is_by_channel(keys, n_pols), used)


def _is_by_channel(keys: _Keys, n_pols: int) -> bool:
    order = keys.text("ORDER").upper()
    if not order and n_pols > 1:
        raise keys.error(f"ORDER: missing, with NPOL {n_pols}; allowed: TFP, TPF")
    if order not in ("", "T", "TF", "TFP", "TPF") or (n_pols > 1 and "P" not in order):
        raise keys.error(
            f"ORDER: {shown(order)} is not allowed: time comes first, the slowest; allowed:"
            f" {'TFP, TPF' if n_pols > 1 else 'TF, TFP, TPF'}"
        )
    return order == "TFP"


def _start(keys: _Keys) -> float | None:
    """Return the start of the observation, Unix s; None: unknown."""
    text = keys.text("UTC_START")
    if not text:
        return None
    whole, _, part = text.partition(".")
    try:
        if _FRACTION.fullmatch(part) is None:
            raise ValueError(part)
        moment = datetime.strptime(whole, "%Y-%m-%d-%H:%M:%S").replace(tzinfo=UTC)
        fraction = float(f"0.{part}0")
    except ValueError:
        raise keys.error(
            f"UTC_START: {shown(text)} is not allowed; allowed: such as 2019-03-01-07:55:14"
        ) from None
    return moment.timestamp() + fraction + keys.number("PICOSECONDS", 0, 1e12, 0.0) * 1e-12
