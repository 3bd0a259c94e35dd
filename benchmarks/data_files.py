"""What it costs to read data of each format: python -m benchmarks.data_files [--seconds S].

The same samples, 1024 channels of 64 µs, as SIGPROC filterbank, PSRFITS and DADA, from the page
cache, in stretches as the search and folding read them. PSRFITS once with scales, and once without,
where its samples are the values. It is CPU time, of which the shortest counts: other work on the
machine makes it longer. Target: PSRFITS of 4 bits within 2 times the filterbank.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.filterbank_writer import FilterbankWriter
from darc.data_files.open_data_file import open_data_file

N_CHANNELS, TSAMP, PER_ROW = 1024, 64e-6, 4096
STRETCHES = {"search": 1 << 15, "fold": 1 << 11}  # samples
TARGET = 2.0

Codes = npt.NDArray[np.uint8]


def write_filterbank(path: Path, codes: Codes, n_bits: int) -> None:
    """Write samples, shape (n, n_ifs, N_CHANNELS)."""
    header = FilterbankHeader(
        nchans=N_CHANNELS, nbits=n_bits, tsamp=TSAMP, fch1=1500.0, foff=-0.25, nifs=codes.shape[1]
    )
    with FilterbankWriter(path, header) as file:
        for begin in range(0, len(codes), PER_ROW):
            part = codes[begin : begin + PER_ROW]
            file.append(part if codes.shape[1] > 1 else part[:, 0])


def write_psrfits(path: Path, codes: Codes, n_bits: int, *, scaled: bool) -> None:
    """Write samples, with scales as an observation has them, or none."""
    n_rows, n_pols = len(codes) // PER_ROW, codes.shape[1]
    rows = codes.reshape(n_rows, -1)
    if n_bits == 4:
        rows = rows[:, ::2] << 4 | rows[:, 1::2]
    rng = np.random.default_rng(1)
    scales = rng.uniform(1, 100, (n_rows, n_pols * N_CHANNELS)) if scaled else np.ones(1)
    offsets = scales * 1000 if scaled else np.zeros(1)
    shape = (n_rows, n_pols * N_CHANNELS)
    columns = [
        fits.Column("DAT_FREQ", f"{N_CHANNELS}D", array=np.tile(_frequencies(), (n_rows, 1))),
        fits.Column("DAT_WTS", f"{N_CHANNELS}E", array=np.ones((n_rows, N_CHANNELS))),
        fits.Column("DAT_OFFS", f"{shape[1]}E", array=np.broadcast_to(offsets, shape)),
        fits.Column("DAT_SCL", f"{shape[1]}E", array=np.broadcast_to(scales, shape)),
        fits.Column("DATA", f"{rows.shape[1]}B", array=rows),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="SUBINT")
    table.header.update(
        NBITS=n_bits, NCHAN=N_CHANNELS, NPOL=n_pols, NSBLK=PER_ROW, TBIN=TSAMP, ZERO_OFF=0.0
    )
    table.header["POL_TYPE"] = "AA+BB" if n_pols == 1 else "AABB"
    first = fits.PrimaryHDU()
    first.header.update(FITSTYPE="PSRFITS", OBS_MODE="SEARCH")
    fits.HDUList([first, table]).writeto(path)


def write_dada(path: Path, codes: Codes) -> None:
    """Write samples of 8 bits."""
    keys = {"HDR_SIZE": 4096, "NBIT": 8, "NCHAN": N_CHANNELS, "NPOL": codes.shape[1], "NDIM": 1}
    keys |= {"TSAMP": TSAMP * 1e6, "FREQ": 1372.125, "BW": -0.25 * N_CHANNELS, "ORDER": "TPF"}
    text = "".join(f"{key} {value}\n" for key, value in keys.items())
    path.write_bytes(text.encode().ljust(4096, b"\0") + codes.tobytes())


def _frequencies() -> npt.NDArray[np.float64]:
    return 1500.0 - 0.25 * np.arange(N_CHANNELS, dtype=np.float64)


def read_all(path: Path, stretch: int) -> float:
    """Read a file in stretches, and look at each value's page once; return CPU time, s."""
    began = time.process_time()
    with open_data_file(path) as file:
        total = file.n_samples()
        for start in range(0, total, stretch):
            data = file.read(start, min(stretch, total - start))
            # What is mapped is read only when it is touched.
            data[:, ::64].max()
    return time.process_time() - began


def compare(paths: dict[str, Path], n_values: int, repeats: int) -> bool:
    """Measure all files in turns, and print; return whether the target is met."""
    met = True
    for what, stretch in STRETCHES.items():
        times: dict[str, list[float]] = {name: [] for name in paths}
        for repeat in range(repeats + 1):
            for name, path in paths.items():
                seconds = read_all(path, stretch)
                if repeat:  # the first compiles, and fills the cache
                    times[name].append(seconds)
        base = min(times["filterbank"])
        for name, measured in times.items():
            best = min(measured)
            print(
                f"  {what:<7} {name:<16} {best:6.3f} s (median"
                f" {statistics.median(measured):.3f} s)  {n_values / best / 1e6:5.0f} million"
                f" samples a second, {best / base:.2f} times the filterbank"
            )
            met &= not name.startswith("PSRFITS") or best <= TARGET * base
    return met


def main() -> None:
    """Run the benchmark."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--seconds", type=float, default=4.0, help="length of the data (4)")
    words.add_argument("--repeats", type=int, default=7)
    given = words.parse_args()
    n_rows = max(1, round(given.seconds / TSAMP / PER_ROW))
    rng = np.random.default_rng(1)
    met = True
    with tempfile.TemporaryDirectory() as name:
        for n_bits in (4, 8):
            for n_ifs in (1, 2):
                directory = Path(name) / f"{n_bits}_{n_ifs}"
                directory.mkdir()
                shape = (n_rows * PER_ROW, n_ifs, N_CHANNELS)
                codes = rng.integers(0, 2**n_bits, shape, dtype=np.uint8)
                paths = {
                    "filterbank": directory / "a.fil",
                    "PSRFITS, scaled": directory / "scaled.sf",
                    "PSRFITS, plain": directory / "plain.sf",
                }
                write_filterbank(paths["filterbank"], codes, n_bits)
                write_psrfits(paths["PSRFITS, scaled"], codes, n_bits, scaled=True)
                write_psrfits(paths["PSRFITS, plain"], codes, n_bits, scaled=False)
                if n_bits == 8:
                    paths["DADA"] = directory / "a.dada"
                    write_dada(paths["DADA"], codes)
                print(f"{n_bits} bits, {n_ifs} polarisation{'s added' if n_ifs > 1 else ''}:")
                fine = compare(paths, codes.size, given.repeats)
                met &= fine or n_bits != 4
                for path in paths.values():
                    path.unlink()
    print(f"target, at 4 bits: {'met' if met else 'NOT met'}")


if __name__ == "__main__":
    main()
