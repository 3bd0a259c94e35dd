"""Thresholds on clusters, such as amber_clustering.thresh_iquv: masks of CLUSTER records."""

from __future__ import annotations

import math

from darc.model.candidate import Records
from darc.science.arrays import Mask


def passing(
    clusters: Records,
    *,
    dm_min: float = 0.0,
    dm_max: float = math.inf,
    snr_min: float = 0.0,
    width_max: float = math.inf,
    count_max: float = math.inf,
) -> Mask:
    """Return a mask of the clusters that pass all thresholds; every limit is inclusive.

    :param clusters: CLUSTER records, shape (n,)
    :param dm_min: pc cm-3
    :param dm_max: pc cm-3
    :param snr_min: S/N
    :param width_max: boxcar width, samples
    :param count_max: number of candidates in the cluster; a larger number indicates interference
    :return: shape (n,)
    """
    return (
        (clusters["dm"] >= dm_min)
        & (clusters["dm"] <= dm_max)
        & (clusters["snr"] >= snr_min)
        & (clusters["downsampling"] <= width_max)
        & (clusters["count"] <= count_max)
    )
