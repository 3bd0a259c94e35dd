"""The boxes of time, DM and width in which candidates are clustered, on fixed grids.

A box is a moment of a time window, a DM bin, and a class of width: narrow or wide. So neither a
wide line nor a brighter pulse of another moment hides a narrow pulse. A burst that shows in several
boxes is listed once, at its brightest (:mod:`darc.science.same_burst`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darc.config.config import Config
from darc.config.settings import ProcessorClustering
from darc.model.candidate import Records
from darc.model.observation import Observation
from darc.science.clustering import cluster, fixed_dm_edges
from darc.science.same_burst import TOLERANCE, Scales, of_brighter

_WIDE = "w"  # at the end of a key


@dataclass(frozen=True, slots=True)
class ClusterBoxes:
    """The boxes of one observation.

    :param window: length of a time window, s
    :param dm_bin_top: upper edge of the highest DM bin, pc cm-3
    :param widest_narrow: the widest that counts as narrow, samples
    """

    window: float
    dm_bin_top: float
    widest_narrow: float
    scales: Scales

    @property
    def moments(self) -> int:
        """How many there are in a window."""
        return math.ceil(self.window / TOLERANCE)

    def best(self, candidates: Records, snr_min: float) -> Records:
        """The best candidate of each box.

        :return: CLUSTER records; `window` is the number of the moment
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
        """The narrow ones and the wide ones."""
        wide = self._is_wide(candidates)
        return candidates[~wide], candidates[wide]

    def keys(self, candidates: Records) -> list[str]:
        """The name of each one's box: window, DM bin, moment, and whether it is wide."""
        edges = fixed_dm_edges(self.dm_bin_top)
        dm_bin = np.searchsorted(edges, candidates["dm"], side="right") - 1
        moment = np.floor(candidates["time"] / (self.window / self.moments)).astype(np.int64)
        number, within = np.divmod(moment, self.moments)
        columns = (number, dm_bin, within, self._is_wide(candidates))
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [f"{n}.{dm}.{part}{_WIDE if wide else ''}" for n, dm, part, wide in rows]

    def doubles(self, faint: Records, bright: Records) -> npt.NDArray[np.bool_]:
        """Whether each is of the same burst as a brighter one, which is listed instead.

        Both have to begin within a window's length.
        """
        return of_brighter(faint, bright, self.scales, self.window)

    def _is_wide(self, candidates: Records) -> npt.NDArray[np.bool_]:
        wide: npt.NDArray[np.bool_] = candidates["downsampling"] > self.widest_narrow
        return wide


def window_of(key: str) -> int:
    """The number of a box's time window."""
    return int(key.split(".", maxsplit=1)[0])


def boxes_of(
    observation: Observation, settings: ProcessorClustering, config: Config
) -> ClusterBoxes:
    """The boxes of an observation; narrow is what may be listed, or may trigger."""
    widest = settings.width_max
    if widest < 0:
        widest = config.amber_clustering.thresh_iquv.width_max
    return ClusterBoxes(
        settings.clustering_window,
        config.amber_clustering.dm_bin_top,
        widest,
        Scales.of_band(observation.tsamp, observation.f_low, observation.f_high),
    )
