"""Single-pulse search of a data file, in parts that a pool runs in parallel.

A part is a time range of the file and several trial DMs: it takes a few 100 MB and some seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darc.data_files.data_file import DataFile
from darc.data_files.data_source import DataSource
from darc.data_files.open_data_file import open_data_file
from darc.model.candidate import CANDIDATE, Records
from darc.science.baseline import (
    BandSeries,
    LevelWindow,
    fill,
    forget_stuck,
    silent_moments,
    sparse_noise,
    take_levels,
    take_scales,
)
from darc.science.channel_mask import parse_channel_mask
from darc.science.dedispersion import Band
from darc.science.dispersion import delay
from darc.science.downsample import downsample_time
from darc.science.isolated import forget_impulses, outlier_thresholds, sharp_edge
from darc.science.moments import channel_rows
from darc.science.rfi_cleaning import replace_outliers
from darc.science.single_pulse import dm_stages, find_pulses, pulse_widths

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

#: Longest pulse of the search, s.
LONGEST_PULSE = 0.05

#: Values in a part: target, and maximum where the dispersion delay needs more.
_VALUES, _MOST_VALUES = 1 << 25, 1 << 28
_LEAST_OUT = 4096
_TRIALS = 1024
#: Bytes of the file read at a time.
_PIECE = 1 << 27
_CHANNELS = 16
#: Window of the baseline in units of the longest pulse.
_WINDOW = 32
#: Minimum variance of the sum over a boxcar, levels^2.
_LEAST_VARIANCE = 4.0
#: Raises the threshold of outliers, which are examined for each group of DMs: noise must have few
#: (standard deviations).
_CLEARER = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class SearchJob:
    """Part of a search.

    :param factor: downsampling factor before dedispersion
    :param dms: trial DMs, pc cm-3, ascending
    :param start: first sample of the time range
    :param n_out: number of downsampled samples in which a pulse may start
    :param count: downsampled samples of the time range
    :param snr_min: lowest S/N, inclusive
    :param mask: channel-mask file; None: all channels are used
    :param clip: threshold (standard deviations) and iterations of
        :func:`darc.science.rfi_cleaning.replace_outliers`
    :param isolated: outliers that belong to a pulse are kept (:mod:`darc.science.isolated`)
    :param ifs: see `open_data_file`
    """

    observation: str
    file: DataSource
    factor: int
    dms: npt.NDArray[np.float64]
    start: int
    n_out: int
    count: int
    snr_min: float
    mask: Path | None
    clip: tuple[float, int]
    isolated: bool = True
    ifs: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return (
            f"the search of {self.file} from sample {self.start},"
            f" DM {self.dms[0]:.1f} to {self.dms[-1]:.1f}"
        )

    def run(self) -> Records | None:
        """Search the part; return CANDIDATE records, None where all channels are constant."""
        return search_part(self)


def dm_limit(band: Band, length: float) -> float:
    """Return the DM at which the delay across the band is `length` (s), pc cm-3."""
    return length / delay(1.0, band.f_lowest, band.f_high)


def plan_search(
    file: DataFile,
    *,
    observation: str,
    dm_min: float,
    dm_max: float,
    snr_min: float,
    mask: Path | None,
    clip: tuple[float, int],
    isolated: bool,
) -> list[SearchJob]:
    """Split a search into parts.

    :param dm_min: pc cm-3
    :param dm_max: pc cm-3
    :param snr_min: lowest S/N, inclusive
    :param mask: channel-mask file; None: all channels are used
    :param clip: see `SearchJob`, as for isolated
    :raises ValueError: the range of DMs is invalid, or needs too much memory
    """
    band, tsamp, n_samples = file.band, file.header.tsamp, file.n_samples()
    longest = float(band.delays([1.0]).max())
    jobs = []
    for stage in dm_stages(band, tsamp, dm_min, dm_max):
        total = n_samples // stage.factor
        more = math.ceil(stage.dms[-1] * longest / (tsamp * stage.factor)) + 1
        more = min(more + _longest(tsamp * stage.factor), total)
        wanted = max(_VALUES // band.n_channels - more, more, _LEAST_OUT)
        # Parts of equal length: the noise of a short one at the end would be uncertain.
        n_out = math.ceil(total / max(1, total // wanted)) if total else 0
        if (n_out + more) * band.n_channels > _MOST_VALUES:
            raise ValueError(
                f"{file.path}: DM {stage.dms[-1]:.1f} is a delay of {more} samples in"
                f" {band.n_channels} channels, more than fits into memory; a lower highest DM does"
            )
        for start in range(0, total, max(n_out, 1)):
            for first in range(0, len(stage.dms), _TRIALS):
                jobs.append(
                    SearchJob(
                        observation=observation,
                        file=file.source,
                        factor=stage.factor,
                        dms=stage.dms[first : first + _TRIALS],
                        start=start * stage.factor,
                        n_out=min(n_out, total - start),
                        count=min(n_out + more, total - start),
                        snr_min=snr_min,
                        mask=mask,
                        clip=clip,
                        isolated=isolated,
                        ifs=file.ifs,
                    )
                )
    return jobs


def _longest(tsamp: float) -> int:
    return max(32, min(round(LONGEST_PULSE / tsamp), 2048))


def search_part(job: SearchJob) -> Records | None:
    """Run a part of a search.

    :return: CANDIDATE records of beam 0; None: all channels are constant
    :raises OSError: the file or the mask cannot be read
    :raises ValueError: the file or the mask is invalid, or all channels are masked
    """
    with open_data_file(job.file, job.ifs) as file:
        n_channels = file.header.nchans
        used = np.ones(n_channels, dtype=np.bool_)
        if job.mask is not None:
            text = job.mask.read_text(encoding="utf-8", errors="replace")
            used &= ~parse_channel_mask(text, str(job.mask), n_channels)
        channels = np.flatnonzero(used)
        if not len(channels):
            raise ValueError(f"{job.mask}: no channel is left: all are masked")
        rows = np.empty((len(channels), job.count), dtype=np.float32)
        levels = np.full(len(channels), np.inf)
        for begin, end in _pieces(file, job):
            noise = _read(file, job, channels, (begin, end), rows[:, begin:end])
            levels = np.minimum(levels, noise)
        band, tsamp = file.band, file.header.tsamp * job.factor
    window = LevelWindow.beside(_longest(tsamp), _WINDOW)
    varies = take_scales(rows, window, sparse=sparse_noise(levels * math.sqrt(job.factor), window))
    late = band.delays([1.0])[0, channels] / tsamp
    if job.isolated:
        forget_impulses(rows, sharp_edge(late * job.dms[0]))
    fill(rows)
    channels, rows, late, levels = channels[varies], rows[varies], late[varies], levels[varies]
    if not len(channels):
        return None
    widths = pulse_widths(_longest(tsamp))
    # Sums of less variance are not Gaussian: a pulse would be some of the few values that differ.
    enough = widths * job.factor * np.sum(levels * levels) >= _LEAST_VARIANCE
    if not enough.any():
        return np.zeros(0, CANDIDATE)
    widths = widths[enough]
    thresholds = None
    if job.isolated:
        thresholds = outlier_thresholds(levels, job.factor, job.clip[0] + _CLEARER)
    found = find_pulses(rows, late, job.dms, job.n_out, widths, job.snr_min, thresholds)
    records = np.zeros(len(found.snr), CANDIDATE)
    records["downsampling"] = found.width * job.factor
    records["time"] = job.start * tsamp / job.factor + found.start * tsamp
    records["dm"] = job.dms[found.trial]
    records["snr"] = found.snr
    return records


def _pieces(file: DataFile, job: SearchJob) -> Iterator[tuple[int, int]]:
    size = file.sample_bytes * job.factor
    length = max(1, _PIECE // size)
    for begin in range(0, job.count, length):
        yield begin, min(begin + length, job.count)


def _read(
    file: DataFile,
    job: SearchJob,
    channels: npt.NDArray[np.int64],
    piece: tuple[int, int],
    rows: Floats,
) -> Doubles:
    """Read the time range, subtract baselines, clean and downsample; NaN: missing data.

    :return: noise of the channels, levels; infinite for floats, shape (n,)
    """
    longest = _longest(file.header.tsamp * job.factor) * job.factor
    window = LevelWindow.beside(longest, _WINDOW)
    begin, end = (job.start + place * job.factor for place in piece)
    first = max(0, begin - window.reach)
    data = file.read(first, min(file.n_samples(), end + window.reach) - first).view()
    data.setflags(write=False)
    inside = slice(begin - first, end - first)
    columns = file.header.nchans - 1 - channels if file.header.descending else channels
    silent = silent_moments(data, columns)
    unusable = silent

    def take(some: slice) -> Floats:
        part = channel_rows(data, columns[some])
        part[~np.isfinite(part)] = np.nan
        forget_stuck(part, file.highest)
        part[:, unusable] = np.nan
        return part

    groups = [slice(first, first + _CHANNELS) for first in range(0, len(channels), _CHANNELS)]
    series = BandSeries(len(data))
    for some in groups:
        series.add(take(some))
    # What all channels share may drift faster: the window of the band is shorter.
    band = series.level(LevelWindow.beside(longest), data, columns)
    unusable = silent | band.jumps
    for some, noise in zip(groups, series.noise, strict=True):
        part = take(some)
        part -= noise[:, np.newaxis].astype(np.float32) * band.level
        sparse = sparse_noise(noise, window) if file.dtype.kind != "f" else None
        take_levels(part, window, band.cuts, sparse)
        take_scales(part, window, band.cuts, sparse)
        if not job.isolated:
            missing = np.isnan(part)
            part[missing] = 0
            replace_outliers(part, *job.clip)
            part[missing] = np.nan
        rows[some] = downsample_time(np.ascontiguousarray(part[:, inside]), job.factor)
    noises = np.concatenate(series.noise)
    return noises if file.dtype.kind != "f" else np.full(len(noises), np.inf)
