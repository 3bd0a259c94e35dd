"""Search-mode PSRFITS as telescopes write it, by astropy; and its values by plain numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

START = {"STT_IMJD": 58543, "STT_SMJD": 28543, "STT_OFFS": 0.3605}
PRIMARY = {
    "FITSTYPE": "PSRFITS",
    "HDRVER": "6.1",
    "TELESCOP": "Parkes",
    "OBS_MODE": "SEARCH",
    "SRC_NAME": "J0534+2200",
    "RA": "05:34:31.9",
    "DEC": "-22:00:52.0",
}


def packed(codes: np.ndarray, n_bits: int) -> np.ndarray:
    """Codes of a row as bytes, the first in the most significant bits; 16 bits big-endian."""
    if n_bits == 16:
        return codes.astype(">u2").view(">i2").ravel()
    bits = (codes.ravel()[:, None] >> np.arange(n_bits - 1, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8))


def write_psrfits(
    path: Path,
    codes: np.ndarray,
    *,
    n_bits: int = 8,
    frequencies: np.ndarray | None = None,
    tsamp: float = 1e-3,
    scales: np.ndarray | float = 1.0,
    offsets: np.ndarray | float = 0.0,
    weights: np.ndarray | float = 1.0,
    frequency_form: str = "D",
    dimensions: str | None = None,
    without: tuple[str, ...] = (),
    history: bool = False,
    primary: dict[str, Any] | None = None,
    subint: dict[str, Any] | None = None,
) -> Path:
    """Write a file.

    :param codes: samples as stored, without their sign, shape (rows, n_samples, n_pols, n_channels)
    """
    n_rows, n_samples, n_pols, n_channels = codes.shape
    if frequencies is None:
        frequencies = 1500.0 - np.arange(n_channels)
    per_pol = (n_rows, n_pols * n_channels)
    shape = (n_rows, n_pols, n_channels)
    data = np.stack([packed(row, n_bits) for row in codes])
    if dimensions is None:
        shorter = n_samples * n_bits // 8 if n_bits < 8 else n_samples
        dimensions = f"({n_channels},{n_pols},{shorter})"
    rows = np.arange(n_rows)
    columns = [
        fits.Column("TSUBINT", "1D", array=np.full(n_rows, n_samples * tsamp)),
        fits.Column("OFFS_SUB", "1D", array=(rows + 0.5) * n_samples * tsamp),
        fits.Column(
            "DAT_FREQ",
            f"{n_channels}{frequency_form}",
            array=np.broadcast_to(frequencies, (n_rows, n_channels)),
        ),
        fits.Column(
            "DAT_WTS", f"{n_channels}E", array=np.broadcast_to(weights, (n_rows, n_channels))
        ),
        fits.Column(
            "DAT_OFFS",
            f"{n_pols * n_channels}E",
            array=np.broadcast_to(offsets, shape).reshape(per_pol),
        ),
        fits.Column(
            "DAT_SCL",
            f"{n_pols * n_channels}E",
            array=np.broadcast_to(scales, shape).reshape(per_pol),
        ),
        fits.Column("DATA", f"{data.shape[1]}{'I' if n_bits == 16 else 'B'}", array=data),
    ]
    columns = [column for column in columns if column.name not in without]
    table = fits.BinTableHDU.from_columns(columns, name="SUBINT")
    for number, column in enumerate(columns, start=1):
        if column.name == "DATA" and dimensions:
            table.header[f"TDIM{number}"] = dimensions
    table.header.update(
        {
            "NPOL": n_pols,
            "POL_TYPE": {1: "AA+BB", 2: "AABB"}.get(n_pols, "IQUV"),
            "TBIN": tsamp,
            "NBITS": n_bits,
            "NSUBOFFS": 0,
            "NCHAN": n_channels,
            "NSBLK": n_samples,
            "ZERO_OFF": 0.0,
            "SIGNINT": 0,
        }
    )
    for key, value in (subint or {}).items():
        if value is None:
            del table.header[key]
        else:
            table.header[key] = value
    first = fits.PrimaryHDU()
    first.header.update({**PRIMARY, **START, **(primary or {})})
    units: list[Any] = [first]
    if history:
        times = fits.Column("DATE_PRO", "24A", array=np.array(["2019-03-01"] * 3))
        units.append(fits.BinTableHDU.from_columns([times], name="HISTORY"))
    fits.HDUList([*units, table]).writeto(path, output_verify="silentfix", overwrite=True)
    return path


def data_begin(path: Path) -> tuple[int, int]:
    """First byte of the first row, and bytes of a row."""
    with fits.open(path) as file:
        return file["SUBINT"].fileinfo()["datLoc"], file["SUBINT"].header["NAXIS1"]


def values(path: Path) -> np.ndarray:
    """All values by the definition, shape (n_samples, n_pols, n_channels), float64."""
    with fits.open(path) as file:
        header, table = file["SUBINT"].header, file["SUBINT"].data
        n_bits, n_pols, n_channels = header["NBITS"], header["NPOL"], header["NCHAN"]
        rows = []
        for row in table:
            raw = np.asarray(row["DATA"]).ravel()
            if n_bits == 16:
                codes = raw.astype(">i2").view(">u2").astype(np.int64)
            else:
                bits = np.unpackbits(raw.view(np.uint8)).reshape(-1, n_bits)
                codes = bits.astype(np.int64) @ (1 << np.arange(n_bits - 1, -1, -1))
            if header.get("SIGNINT"):
                codes = np.where(codes >= 1 << (n_bits - 1), codes - (1 << n_bits), codes)
            samples = codes.reshape(-1, n_pols, n_channels).astype(np.float64)
            scales = np.asarray(row["DAT_SCL"], np.float64).reshape(n_pols, n_channels)
            offsets = np.asarray(row["DAT_OFFS"], np.float64).reshape(n_pols, n_channels)
            weights = np.asarray(row["DAT_WTS"], np.float64)
            scaled = (samples - header.get("ZERO_OFF", 0)) * scales + offsets
            rows.append(np.where(weights > 0, scaled * weights, 0.0))
    return np.concatenate(rows)
