"""The search of a filterbank file for a period, or for the DM of one that is known."""

from __future__ import annotations

import math

import numpy as np

from darc.filterbank.reader import Filterbank
from darc.offline.stream import blocks, n_samples
from darc.science.dedispersion import Band
from darc.science.downsample import channel_groups
from darc.science.folding import Floats
from darc.science.period_search import Periodicity, search_period, trial_dms

#: So many samples at most, of so many subbands.
_SAMPLES, _SUBBANDS = 2**18, 64
_FINEST = 0.25e-3  # s


def find_period(file: Filterbank, dm: float | None, dm_max: float) -> Periodicity | None:
    """Look for a period in the beginning of a file.

    :param dm: pc cm-3; None: looked for, up to `dm_max`
    :return: None: the file is too short
    """
    rows, band, tsamp = _searchable(file)
    dms = np.array([dm]) if dm is not None else trial_dms(band, tsamp, dm_max)
    return search_period(rows, band, tsamp, dms, max_frequency=0.125 / tsamp)


def _searchable(file: Filterbank) -> tuple[Floats, Band, float]:
    """The beginning of a file as rows of subbands, each of mean 0 and variance 1."""
    header = file.header
    factor = max(1, math.ceil(_FINEST / header.tsamp))
    # All of a long file at a lower resolution, but not below that of a slow pulsar.
    factor = max(factor, min(8 * factor, math.ceil(n_samples(file) / _SAMPLES)))
    total = min(n_samples(file), _SAMPLES * factor)
    n_out = total // factor
    n_rows = min(_SUBBANDS, header.nchans)
    starts = channel_groups(header.nchans, n_rows)
    rows = np.zeros((n_rows, n_out), np.float32)
    done = 0
    for _, data in blocks(file, 0, n_out * factor):
        ascending = np.asarray(data[:, :: -1 if header.descending else 1], dtype=np.float32)
        count = len(ascending) // factor
        if not count:
            continue
        means = ascending[: count * factor].reshape(count, factor, -1).mean(axis=1)
        means -= np.median(means, axis=0)
        groups = np.add.reduceat(np.nan_to_num(means), starts[:-1], axis=1)
        rows[:, done : done + count] = groups.T[:, : n_out - done]
        done += count
    rows = np.ascontiguousarray(rows[:, :done])
    for row in rows:
        spread = float(row.std())
        np.divide(row, spread if spread > 0 else 1.0, out=row)
    width = header.channel_width * header.nchans / n_rows
    low = header.f_lowest - header.channel_width / 2
    return rows, Band(low + width / 2, width, n_rows), header.tsamp * factor
