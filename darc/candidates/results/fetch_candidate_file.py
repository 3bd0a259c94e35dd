"""Candidate file (HDF5) as `your` writes it and FETCH reads it: docs/peers.md.

Source: `your.candidate.Candidate.save_h5`, 0.6.7. Datasets, float32: `data_freq_time`, shape (time,
frequency) = (256, 256), the highest frequency first, and `data_dm_time`, shape (dm, time) = (256,
256), DM 0 first. Attributes are those of `your`, and describe the filterbank, not the arrays.
`tcand` is the time of the middle of both arrays at the centre of the highest channel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from darc.candidates.results.hdf5_file import write_hdf5
from darc.config.records import Struct
from darc.data_files.filterbank_header import FilterbankHeader
from darc.model.processing_outcome import ProcessedCandidate
from darc.science.arrays import Mask
from darc.science.fetch_arrays import FetchArrays, FetchPlan
from darc.science.sky import galactic

_UNLABELLED = -1
_DAY = 86400.0  # s
_UNIX_EPOCH = 40587.0  # MJD


class FetchCandidate(Struct, frozen=True, eq=False):
    """A candidate for FETCH, and the filterbank it is of.

    :param n_samples: of the file
    :param position: ICRS right ascension and declination, deg; None: unknown
    :param mask: channels that were left out, the lowest first, shape (nchans,); None: none
    """

    candidate: ProcessedCandidate
    arrays: FetchArrays
    plan: FetchPlan
    files: Sequence[Path]
    header: FilterbankHeader
    n_samples: int
    position: tuple[float, float] | None
    mask: Mask | None


def write_fetch_candidate(path: Path, written: FetchCandidate) -> None:
    """Write a candidate for FETCH; the directory is created.

    :raises OSError: the file cannot be written
    """
    datasets = (
        ("data_freq_time", written.arrays.freq_time.T, ("time", "frequency")),
        ("data_dm_time", written.arrays.dm_time, ("dm", "time")),
    )
    write_hdf5(path, datasets, _attributes(path.stem, written))


def _attributes(name: str, written: FetchCandidate) -> dict[str, Any]:
    candidate, measured = written.candidate, written.candidate.measured
    of_candidate = {
        "cand_id": name,
        "tcand": written.plan.middle,
        "dm": candidate.pulse.dm,
        "dm_opt": measured.best_dm,
        "snr": measured.snr,
        "snr_opt": measured.snr_best,
        "width": measured.downsampling,
        "label": _UNLABELLED,
        # As `your` has masks: the first channel is the highest; one False: none.
        "rfi_mask": np.array([False]),
        "kill_mask": np.array([False]) if written.mask is None else written.mask[::-1],
    }
    return of_candidate | _of_file(written)


def _of_file(written: FetchCandidate) -> dict[str, Any]:
    header, band = written.header, written.plan.band
    file = written.files[0]
    ra, dec = written.position or (math.nan, math.nan)
    gl, gb = galactic(ra, dec) if written.position else (math.nan, math.nan)
    tstart, width = header.tstart or 0.0, band.channel_width
    return {
        "filelist": [str(path) for path in written.files],
        "filename": str(file),
        "basename": file.stem,
        "source_name": header.source_name or "TEMP",  # as `your` has it
        "ra_deg": ra,
        "dec_deg": dec,
        "gl": gl,
        "gb": gb,
        # Whatever the file's order, that of the arrays: the highest channel first.
        "fch1": band.f_reference,
        "foff": -width,
        "nchans": band.n_channels,
        "bw": -width * band.n_channels,
        "center_freq": band.f_centre,
        "tsamp": header.tsamp,
        "nspectra": written.n_samples,
        "tstart": tstart,
        "tstart_utc": str(np.datetime64(round((tstart - _UNIX_EPOCH) * _DAY * 1000), "ms")),
        "nbits": max(header.nbits, 8),
        "npol": header.nifs,
        "nifs": header.nifs,
        "poln_order": "IQUV" if header.nifs == 4 else "I",
        "format": "fil",
        "dtype": "float32",
        "native_nbits": header.nbits,
        "native_tsamp": header.tsamp,
        "native_foff": -width,
        "native_nchans": band.n_channels,
        "native_nspectra": float(written.n_samples),
        "time_decimation_factor": 1,
        "frequency_decimation_factor": 1,
    }
