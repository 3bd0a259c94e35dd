"""Boxes in time, DM and width in which candidates are clustered, on fixed grids.

A box is a time slot within a time window, a DM bin, and a width class: narrow or wide. Thus neither
a wide pulse nor a brighter pulse at another time hides a narrow one. A burst that is detected in
several boxes is listed once, at its highest S/N (:mod:`darc.science.same_burst`).
"""

from __future__ import annotations

import math

import numpy as np

from darc.config.config import Config
from darc.config.records import Struct
from darc.config.settings import AmberClusteringSettings, ProcessorClustering
from darc.model.candidate import Records
from darc.model.observation import Observation
from darc.science.arrays import Mask
from darc.science.clustering import cluster, fixed_dm_edges
from darc.science.same_burst import Scales, of_brighter
from darc.science.smearing import TOLERANCE

_WIDE = "w"  # at the end of a key


class ClusterBoxes(Struct, frozen=True):
    """Boxes of one observation.

    :param window: length of a time window, s
    :param dm_bin_top: upper edge of the highest finite DM bin, pc cm-3
    :param widest_narrow: largest width of the narrow class, samples
    :param scales: sampling time and delay across the band per DM
    """

    window: float
    dm_bin_top: float
    widest_narrow: float
    scales: Scales

    @property
    def moments(self) -> int:
        """Number of time slots in a window."""
        return math.ceil(self.window / TOLERANCE)

    def best(self, candidates: Records, snr_min: float) -> Records:
        """Return the candidate of highest S/N in each box.

        :param candidates: CANDIDATE records
        :param snr_min: lowest S/N used, inclusive
        :return: CLUSTER records; `window` is the number of the time slot
        """
        parts = [
            cluster(
                part,
                snr_min=snr_min,
                dm_edges=fixed_dm_edges(self.dm_bin_top),
                time_window=self.window / self.moments,
                time_origin=0.0,
            )
            for part in self.by_width(candidates)
        ]
        return np.concatenate(parts)

    def by_width(self, candidates: Records) -> tuple[Records, Records]:
        """Split candidates into narrow and wide ones."""
        wide = self._is_wide(candidates)
        return candidates[~wide], candidates[wide]

    def keys(self, candidates: Records) -> list[str]:
        """Return the key of each candidate's box: window, DM bin, time slot, and width class."""
        edges = fixed_dm_edges(self.dm_bin_top)
        dm_bin = np.searchsorted(edges, candidates["dm"], side="right") - 1
        number, within = self._slots(candidates)
        columns = (number, dm_bin, within, self._is_wide(candidates))
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [f"{n}.{dm}.{part}{_WIDE if wide else ''}" for n, dm, part, wide in rows]

    def doubles(self, faint: Records, bright: Records) -> Mask:
        """Return a mask of candidates of the same burst as a brighter one, which is listed instead.

        Start times that differ by more than a window's length are not compared.

        :param faint: CANDIDATE records, shape (n,)
        :param bright: candidates to compare with, shape (m,)
        :return: shape (n,)
        """
        return of_brighter(faint, bright, self.scales, self.window)

    def windows(self, candidates: Records) -> list[int]:
        """Return the number of the time window that each candidate's box is in."""
        number, _ = self._slots(candidates)
        numbers: list[int] = number.tolist()
        return numbers

    def _slots(self, candidates: Records) -> tuple[Records, Records]:
        """Return the time window of each candidate, and the slot in it."""
        moment = np.floor(candidates["time"] / (self.window / self.moments)).astype(np.int64)
        return np.divmod(moment, self.moments)

    def _is_wide(self, candidates: Records) -> Mask:
        wide: Mask = candidates["downsampling"] > self.widest_narrow
        return wide


def boxes_of(
    observation: Observation, settings: ProcessorClustering, config: Config
) -> ClusterBoxes:
    """Return the boxes of an observation; narrow is the width limit of lists, or of triggers."""
    widest = settings.width_max
    if widest < 0:
        widest = config.of(AmberClusteringSettings).thresh_iquv.width_max
    return ClusterBoxes(
        settings.clustering_window,
        config.of(AmberClusteringSettings).dm_bin_top,
        widest,
        Scales.of_band(observation.tsamp, observation.f_low, observation.f_high),
    )
