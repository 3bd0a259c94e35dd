"""Single-pulse search of a data file, in parts that a pool runs in parallel.

A part is a time range of the file, which is read and cleaned once for all of its trial DMs: it
takes a few 100 MB and some seconds. Where their delay would need much more of the file, higher DMs
are parts of their own.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from darc.candidates.search_data import SearchData, longest_pulse, read_search_data
from darc.config.records import Struct
from darc.data_files.data_file import DataFile
from darc.data_files.data_source import DataSource
from darc.data_files.open_data_file import open_data_file
from darc.model.candidate import CANDIDATE, Records
from darc.science.baseline import LevelWindow, sparse_noise
from darc.science.boxcar_search import pulse_widths
from darc.science.channel_mask import parse_channel_mask
from darc.science.dedispersion import Band
from darc.science.dispersion import delay
from darc.science.isolated import forget_impulses, outlier_thresholds, sharp_edge
from darc.science.reused_memory import ReusedMemory
from darc.science.search_levels import downsample_levels
from darc.science.single_pulse import SearchStage, dm_stages, find_pulses

#: Values of a part and its sums: target; and maximum of a part where the dispersion delay needs
#: more.
_VALUES, _MOST_VALUES = 9 << 24, 1 << 29
#: Rows of sums of subbands, at most: 64 for each group of trials that are summed together.
_SUMS = 13 * 64
_LEAST_OUT = 4096
#: Stages share a part if the delay of each is at most this fraction of the part, and their longest
#: pulses differ by at most this factor.
_PART_OF_SAMPLES, _LONGEST_ALIKE = 0.5, 1.25
#: Trials between two searches for impulses, which differ from pulses the more, the higher the DM.
_TRIALS = 1024
#: Minimum variance of the sum over a boxcar, levels^2.
_LEAST_VARIANCE = 4.0
#: Raises the threshold of outliers, which are examined for each group of DMs: noise must have few
#: (standard deviations).
_CLEARER = 1.0

#: Of this process, for one part after the other: of its data, of sums, and of series.
_for_data, _for_sums, _for_series = ReusedMemory(), ReusedMemory(), ReusedMemory()


class SearchJob(Struct, frozen=True, eq=False):
    """Part of a search.

    :param stages: trial DMs by downsampling factor, ascending; each factor is a multiple of the one
        before
    :param start: first sample of the time range
    :param n_out: number of samples, downsampled by the first factor, in which a pulse may start
    :param count: samples of the time range, likewise downsampled
    :param snr_min: lowest S/N, inclusive
    :param mask: channel-mask file; None: all channels are used
    :param clip: threshold (standard deviations) and iterations of
        :func:`darc.science.rfi_cleaning.replace_outliers`
    :param isolated: outliers that belong to a pulse are kept (:mod:`darc.science.isolated`)
    :param ifs: see `open_data_file`
    """

    observation: str
    file: DataSource
    stages: tuple[SearchStage, ...]
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
            f" DM {self.stages[0].dms[0]:.1f} to {self.stages[-1].dms[-1]:.1f}"
        )

    def run(self) -> Records | None:
        """Search the part.

        :return: CANDIDATE records of beam 0; None: all channels are constant
        :raises OSError: the file or the mask cannot be read
        :raises ValueError: the file or the mask is invalid, or all channels are masked
        """
        factor = self.stages[0].factor
        with open_data_file(self.file, self.ifs) as file:
            n_channels = file.header.nchans
            used = np.ones(n_channels, dtype=np.bool_)
            if self.mask is not None:
                text = self.mask.read_text(encoding="utf-8", errors="replace")
                used &= ~parse_channel_mask(text, str(self.mask), n_channels)
            channels = np.flatnonzero(used)
            if not len(channels):
                raise ValueError(f"{self.mask}: no channel is left: all are masked")
            clip = None if self.isolated else self.clip
            memory = _for_data, _for_sums
            data = read_search_data(file, channels, self.start, self.count, factor, clip, memory)
            band, tsamp = file.band, file.header.tsamp
        data.late = band.delays([1.0])[0, channels] / tsamp
        data.smearing = band.channel_smearing(1.0)[channels] / tsamp
        found = [np.zeros(0, CANDIDATE)]
        for stage in self.stages:
            records = _search_stage(self, stage, data, tsamp, factor)
            factor = stage.factor
            if records is None:
                return None
            found.append(records)
        return np.concatenate(found)


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
    band, n_samples = file.band, file.n_samples()
    jobs = []
    for stages in _together(dm_stages(band, file.header.tsamp, dm_min, dm_max), file):
        first, last = stages[0].factor, stages[-1].factor
        total = n_samples // first
        more = min(max(_more(stage, file) * stage.factor // first for stage in stages), total)
        wanted = max(_samples(file) - more, more, _LEAST_OUT)
        # Parts of equal length: the noise of a short one at the end would be uncertain.
        n_out = math.ceil(total / max(1, total // wanted)) if total else 0
        n_out = -(-n_out // (last // first)) * (last // first)
        if (n_out + more) * band.n_channels > _MOST_VALUES:
            raise ValueError(
                f"{file.path}: DM {stages[-1].dms[-1]:.1f} is a delay of {more} samples in"
                f" {band.n_channels} channels, more than fits into memory; a lower highest DM does"
            )
        jobs += [
            SearchJob(
                observation=observation,
                file=file.source,
                stages=tuple(stages),
                start=start * first,
                n_out=min(n_out, total - start),
                count=min(n_out + more, total - start),
                snr_min=snr_min,
                mask=mask,
                clip=clip,
                isolated=isolated,
                ifs=file.ifs,
            )
            for start in range(0, total, max(n_out, 1))
        ]
    return jobs


def _samples(file: DataFile) -> int:
    """Return the number of samples of a part, the delay included."""
    return _VALUES // (file.band.n_channels + _SUMS)


def _more(stage: SearchStage, file: DataFile) -> int:
    """Return the number of samples that a stage needs after the last start of a pulse."""
    tsamp = file.header.tsamp * stage.factor
    delay_across = float(file.band.delays([stage.dms[-1]]).max())
    return math.ceil(delay_across / tsamp) + 1 + longest_pulse(tsamp)


def _together(stages: list[SearchStage], file: DataFile) -> list[list[SearchStage]]:
    """Group stages that share parts, in which the data are read and cleaned once."""
    most = _PART_OF_SAMPLES * _samples(file)
    groups: list[list[SearchStage]] = []
    for stage in stages:
        longest = longest_pulse(file.header.tsamp * stage.factor) * stage.factor
        if groups:
            first = groups[-1][0].factor
            alike = longest <= _LONGEST_ALIKE * longest_pulse(file.header.tsamp * first) * first
            if alike and _more(stage, file) * stage.factor <= most * first:
                groups[-1].append(stage)
                continue
        groups.append([stage])
    return groups


def _search_stage(
    job: SearchJob,
    stage: SearchStage,
    data: SearchData,
    tsamp: float,
    before: int,
) -> Records | None:
    """Search for pulses at the trial DMs of a stage.

    :param data: changed in place
    :param tsamp: before downsampling, s
    :param before: factor by which the data are downsampled, which becomes the stage's
    :return: None: all channels are constant
    """
    factor = stage.factor
    longest = longest_pulse(tsamp * factor)
    window = LevelWindow.of_search(longest)
    if factor > 1:  # else the noise is that of the samples, of unit variance
        sparse = sparse_noise(data.levels * math.sqrt(factor), window)
        data.rows, data.varies = downsample_levels(data.rows, factor // before, window, sparse)
    data.forget_constant()
    if not len(data.rows):
        return None
    n_out = min(job.n_out * job.stages[0].factor // factor, data.rows.shape[1])
    late, levels = data.late / factor, data.levels
    widths = pulse_widths(longest)
    # Sums of less variance are not Gaussian: a pulse would be some of the few values that differ.
    widths = widths[widths * factor * np.sum(levels * levels) >= _LEAST_VARIANCE]
    thresholds = outlier_thresholds(levels, factor, job.clip[0] + _CLEARER)
    found = [np.zeros(0, CANDIDATE)]
    for first in range(0, len(stage.dms) if len(widths) else 0, _TRIALS):
        dms = stage.dms[first : first + _TRIALS]
        if job.isolated:
            forget_impulses(data.rows, sharp_edge(late * dms[0]))
        pulses = find_pulses(
            data.rows,
            late,
            dms,
            n_out,
            widths,
            job.snr_min,
            thresholds if job.isolated else None,
            data.smearing / factor,
            (_for_sums, _for_series),
        )
        records = np.zeros(len(pulses.snr), CANDIDATE)
        records["downsampling"] = pulses.width * factor
        records["time"] = (job.start + pulses.start * factor) * tsamp
        records["dm"] = pulses.dm
        records["snr"] = pulses.snr
        found.append(records)
    return np.concatenate(found)
