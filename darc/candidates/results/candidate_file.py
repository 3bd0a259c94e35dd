"""Candidate file (HDF5).

Source: the project's specification, processing.md (files of an observation). Datasets, float32:

- `data_freq_time`, shape (nfreq, ntime), the lowest frequency first
- `data_dm_time`, shape (ndm, ntime), the lowest DM first

Their dimensions are labelled (frequency, time) and (dm, time); the pulse is in bin ntime // 2.

The reference of times and widths is in additional attributes, if it is known: `toa_freq`, the
frequency of all arrival times (MHz); `toa_utc` (ISO 8601) and `toa_mjd` (in `toa_scale`: UTC, or
TDB of barycentric data), both of `toa`; `toa_frame`, topocentric or barycentric; `start`, time 0 as
Unix s; `tsamp_data`, sampling time of the data (s); `width_ms`, `downsamp` in ms; `dm_constant`, in
MHz2 pc-1 cm3 s; and `telescope`.

The names are those of `your` and FETCH, and the additional attributes that `your` needs are
present: cand_id, tcand, dm_opt, snr_opt, width, label, and fch1, foff, nchans if the band is known.
Differences for a reader of `your` files:

- `data_freq_time` is (time, frequency) in `your`, the highest frequency first:
  ``f["data_freq_time"][()][::-1].T`` is that. FETCH uses it transposed, as (frequency, time):
  ``f["data_freq_time"][()][::-1]``. `fch1` and `foff` describe the array of this file: the centre
  of the lowest row, and a positive step.
- `data_dm_time` has the same layout, but its DMs are `dms`, and not from 0 to twice the DM.
- Arrays have as many bins as the extraction produces (64); FETCH's models need 256. Files as it
  wants them: :mod:`darc.candidates.results.fetch_candidate_file`.
- `tsamp` is the length of a bin, and `width` (1) is in bins: a bin is about as wide as the pulse.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from darc.candidates.results.hdf5_file import write_hdf5
from darc.model.arrival import DISPERSION_CONSTANT, ArrivalReference
from darc.model.processing_outcome import (
    Detection,
    FrequencyRange,
    Measurement,
    ProcessedCandidate,
    Score,
)
from darc.science.arrays import Doubles, Floats

_NOT_KNOWN = -1
#: Labels of the dimensions of each dataset, and the attributes with their sizes.
_DATASETS = {
    "data_freq_time": (("frequency", "time"), ("nfreq", "ntime")),
    "data_dm_time": (("dm", "time"), ("ndm", "ntime")),
}


class CandidateFileError(ValueError):
    """A file is not a candidate file; the text names it and the problem."""


#: Pattern of the names of candidate files.
CANDIDATE_FILES = "TOA*_DM*_DS*_SNR*.hdf5"


def candidate_name(candidate: ProcessedCandidate) -> str:
    """Return the name of a candidate's file, which matches `CANDIDATE_FILES`."""
    measured = candidate.measured
    return (
        f"TOA{measured.time:.4f}_DM{candidate.pulse.dm:.2f}"
        f"_DS{measured.downsampling:.0f}_SNR{measured.snr:.0f}.hdf5"
    )


def write_candidate(directory: Path, candidate: ProcessedCandidate) -> Path:
    """Write a candidate into a directory, which is created, atomically.

    The file is synced to disk, so that it survives a power failure, like the row that refers to it.

    :return: the file
    :raises ValueError: the shapes of the arrays are inconsistent
    :raises OSError: the file cannot be written
    """
    _check(candidate)
    path = directory / candidate_name(candidate)
    arrays = candidate.freq_time, candidate.dm_time
    datasets = [
        (name, data, labels)
        for (name, (labels, _)), data in zip(_DATASETS.items(), arrays, strict=True)
    ]
    attributes = _attributes(candidate, path.stem)
    if (band := candidate.band) is not None:
        step = (band.high - band.low) / len(candidate.freq_time)
        attributes |= {"fch1": band.low + step / 2, "foff": step}
        attributes["nchans"] = len(candidate.freq_time)
    write_hdf5(path, datasets, attributes)
    return path


def _check(candidate: ProcessedCandidate) -> None:
    freq_time, dm_time, dms = candidate.freq_time, candidate.dm_time, candidate.dms
    shapes = f"freq_time {freq_time.shape}, dm_time {dm_time.shape}, dms {dms.shape}"
    if not (
        freq_time.ndim == dm_time.ndim == 2
        and freq_time.size
        and dm_time.size
        and freq_time.shape[1] == dm_time.shape[1]
        and dms.shape == dm_time.shape[:1]
    ):
        raise ValueError(f"arrays that do not belong together: {shapes}")


def _attributes(candidate: ProcessedCandidate, name: str) -> dict[str, Any]:
    pulse, measured, score = candidate.pulse, candidate.measured, candidate.score
    nfreq, ntime = candidate.freq_time.shape
    specified = {
        "nfreq": nfreq,
        "ntime": ntime,
        "ndm": len(candidate.dms),
        "tsamp": measured.bin_length,
        "sb": pulse.beam,
        "dms": candidate.dms,
        "dm": pulse.dm,
        "snr": measured.snr,
        "toa": measured.time,
        "downsamp": measured.downsampling,
        "dm_amber": pulse.dm,
        "snr_amber": pulse.snr,
        "toa_amber": pulse.time,
        "downsamp_amber": pulse.downsampling,
        "prob_freqtime": score.freq_time,
        "prob_dmtime": score.dm_time,
    }
    own = {"cb": candidate.cb, "snr_dm0": measured.snr_dm0, "snr_best": measured.snr_best}
    if candidate.arrival is not None:
        own |= _reference(candidate.arrival, measured)
    for_your = {
        "cand_id": name,
        "tcand": measured.time,
        "dm_opt": measured.best_dm,
        "snr_opt": measured.snr_best,
        "width": 1,
        "label": _NOT_KNOWN,
    }
    return specified | own | for_your


def _reference(arrival: ArrivalReference, measured: Measurement) -> dict[str, Any]:
    found = {
        "toa_freq": arrival.frequency,
        "toa_frame": arrival.frame,
        "toa_scale": arrival.scale,
        "toa_utc": arrival.utc(measured.time),
        "toa_mjd": arrival.mjd(measured.time),
        "start": arrival.start,
        "tsamp_data": arrival.tsamp,
        "width_ms": arrival.width_ms(measured.downsampling),
        "dm_constant": DISPERSION_CONSTANT,
        "telescope": arrival.telescope or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def read_candidate(path: Path) -> ProcessedCandidate:
    """Read a candidate.

    :raises CandidateFileError: the file is not a candidate file, or incomplete
    :raises OSError: the file cannot be read
    """
    with _CandidateReader(path) as reader:
        cb, beam = reader.whole("cb"), reader.whole("sb")
        pulse = Detection(
            beam=beam,
            downsampling=reader.whole("downsamp_amber"),
            time=reader.number("toa_amber"),
            dm=reader.number("dm_amber"),
            snr=reader.number("snr_amber"),
        )
        snr = reader.number("snr")
        measured = Measurement(
            snr=snr,
            snr_best=reader.number("snr_best") if reader.has("snr_best") else snr,
            snr_dm0=reader.number("snr_dm0"),
            time=reader.number("toa"),
            downsampling=reader.whole("downsamp"),
            bin_length=reader.number("tsamp"),
            best_dm=reader.number("dm_opt"),
        )
        score = Score(reader.number("prob_freqtime"), reader.number("prob_dmtime"))
        freq_time, dm_time = map(reader.dataset, _DATASETS)
        return ProcessedCandidate(
            cb,
            pulse,
            measured,
            score,
            freq_time,
            dm_time,
            reader.dms(len(dm_time)),
            arrival=reader.arrival(),
            band=reader.band(),
        )


def read_cb(path: Path) -> int:
    """Read a candidate's compound beam, without the arrays.

    :raises CandidateFileError: the file is not a candidate file, or incomplete
    :raises OSError: the file cannot be read
    """
    with _CandidateReader(path) as reader:
        return reader.whole("cb")


def read_rank(path: Path) -> tuple[float, float]:
    """Read probability and S/N of a candidate, without the arrays.

    :raises CandidateFileError: the file is not a candidate file, or incomplete
    :raises OSError: the file cannot be read
    """
    with _CandidateReader(path) as reader:
        return reader.number("prob_freqtime"), reader.number("snr")


class _CandidateReader:
    """Open candidate file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened = path.open("rb")
        try:
            self._file = h5py.File(self._opened, "r")
        except (OSError, RuntimeError) as error:
            self._opened.close()
            raise self._error(f"no HDF5 file, or not all of it: {error}") from error

    def __enter__(self) -> _CandidateReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._opened.close()

    def _error(self, what: str) -> CandidateFileError:
        return CandidateFileError(f"{self._path}: {what}")

    def _attribute(self, name: str) -> npt.NDArray[Any]:
        try:
            if not self.has(name):
                raise self._error(f"the attribute {name} is missing")
            return np.asarray(self._file.attrs[name])
        except (OSError, RuntimeError, TypeError) as error:
            raise self._error(f"the attribute {name} cannot be read: {error}") from error

    def has(self, name: str) -> bool:
        """Whether the file has this attribute; files of earlier versions have fewer."""
        return name in self._file.attrs

    def number(self, name: str) -> float:
        value = self._attribute(name)
        if value.ndim or value.dtype.kind not in "iuf":
            raise self._error(f"{name} = {value!s:.60} is no number")
        return float(value)

    def whole(self, name: str) -> int:
        value = self._attribute(name)
        if value.ndim or value.dtype.kind not in "iu":
            raise self._error(f"{name} = {value!s:.60} is no whole number")
        return int(value)

    def dms(self, ndm: int) -> Doubles:
        dms = self._attribute("dms")
        if dms.shape != (ndm,) or dms.dtype.kind not in "iuf":
            raise self._error(f"dms is of shape {dms.shape}, not {ndm} numbers")
        return dms.astype(np.float64)

    def dataset(self, name: str) -> Floats:
        try:
            if not isinstance(self._file.get(name), h5py.Dataset):
                raise self._error(f"the dataset {name} is missing")
            dataset = self._file[name]
            wanted = tuple(self.whole(number) for number in _DATASETS[name][1])
            if dataset.shape != wanted or dataset.dtype.kind not in "iuf" or 0 in wanted:
                raise self._error(f"{name} is {dataset.dtype} {dataset.shape}, not {wanted}")
            return np.asarray(dataset[()], dtype=np.float32)
        except (OSError, RuntimeError, KeyError) as error:
            raise self._error(f"the dataset {name} cannot be read: {error}") from error

    def text(self, name: str) -> str:
        value = self._attribute(name)
        if value.ndim or not isinstance(value.item(), str):
            raise self._error(f"{name} = {value!s:.60} is no text")
        return str(value.item())

    def arrival(self) -> ArrivalReference | None:
        if not self.has("toa_freq"):
            return None  # a file of an earlier version
        return ArrivalReference(
            frequency=self.number("toa_freq"),
            start=self.number("start") if self.has("start") else None,
            tsamp=self.number("tsamp_data"),
            frame=self.text("toa_frame"),
            telescope=self.text("telescope") if self.has("telescope") else "",
        )

    def band(self) -> FrequencyRange | None:
        if not self.has("fch1"):
            return None
        centre, step = self.number("fch1"), self.number("foff")
        low = centre - step / 2
        try:
            return FrequencyRange(low, low + step * self.whole("nfreq"))
        except ValueError as error:
            raise self._error(str(error)) from None
