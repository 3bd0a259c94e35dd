"""Search of a data file for a period, or for the DM of a known period."""

from __future__ import annotations

import math

import numpy as np

from darc.data_files.data_file import DataFile
from darc.offline.file_stream import blocks, n_samples
from darc.science.arrays import Doubles, Floats
from darc.science.dedispersion import Band
from darc.science.downsample import channel_groups
from darc.science.period_search import Periodicity, search_dm, search_period, trial_dms
from darc.science.periodicity import FALSE_ALARM, Trials

#: Maximum number of samples, and of subbands.
_SAMPLES, _SUBBANDS = 2**18, 64
_FINEST = 0.25e-3  # s


def find_period(
    file: DataFile, dm: float | None, dm_max: float
) -> tuple[Periodicity, Trials] | None:
    """Search for a period in the beginning of a file.

    :param dm: pc cm-3; None: searched for, up to `dm_max`
    :param dm_max: pc cm-3
    :return: the best period, and the search range; None: the file is too short
    """
    rows, band, tsamp = _searchable(file)
    dms = np.array([dm]) if dm is not None else trial_dms(band, tsamp, dm_max)
    highest = 0.125 / tsamp
    # For the whole file, which is folded: its frequency resolution is higher.
    drift = highest * n_samples(file) * file.header.tsamp
    limit = math.log(FALSE_ALARM) - math.log(Trials(drift).count(1) * len(dms))
    found = search_period(rows, band, tsamp, dms, max_frequency=highest, limit=limit)
    if found is None:
        return None
    return found, Trials(drift, dm=turns_across(band, dms, found.frequency))


def find_dm(file: DataFile, frequency: float, dm_max: float) -> tuple[Periodicity, Trials] | None:
    """Search for the DM of a known period.

    :param frequency: Hz
    :param dm_max: pc cm-3
    :return: as of `find_period`
    """
    rows, band, tsamp = _searchable(file)
    dms = trial_dms(band, tsamp, dm_max)
    found = search_dm(rows, band, tsamp, dms, frequency)
    return None if found is None else (found, Trials(dm=turns_across(band, dms, frequency)))


def turns_across(band: Band, dms: Doubles, frequency: float) -> float:
    """Return the difference of the delay across the band between the first and last DM, turns."""
    return float(np.ptp(band.delays([np.ptp(dms)])[0])) * frequency


def _searchable(file: DataFile) -> tuple[Floats, Band, float]:
    """Return the beginning of a file as subbands, each of mean 0 and variance 1."""
    header = file.header
    factor = max(1, math.ceil(_FINEST / header.tsamp))
    # A lower time resolution for long files, sufficient for a slow pulsar.
    factor = max(factor, min(8 * factor, math.ceil(n_samples(file) / _SAMPLES)))
    total = min(n_samples(file), _SAMPLES * factor)
    n_out = total // factor
    n_rows = min(_SUBBANDS, header.nchans)
    starts = channel_groups(header.nchans, n_rows)
    rows = np.zeros((n_rows, n_out), np.float32)
    for begin, data in blocks(file, 0, n_out * factor, factor):
        ascending = np.asarray(data[:, :: -1 if header.descending else 1], dtype=np.float32)
        means = ascending.reshape(-1, factor, header.nchans).mean(axis=1)
        means -= np.median(means, axis=0)
        groups = np.add.reduceat(np.nan_to_num(means), starts[:-1], axis=1)
        first = begin // factor
        rows[:, first : first + len(groups)] = groups.T
    for row in rows:
        spread = float(row.std())
        np.divide(row, spread if spread > 0 else 1.0, out=row)
    width = header.channel_width * header.nchans / n_rows
    return rows, Band(file.band.f_low + width / 2, width, n_rows), header.tsamp * factor
