"""Thresholds on clusters, such as amber_clustering.thresh_iquv: masks over CLUSTER records."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from darc.model.candidate import Records


def passing(
    clusters: Records,
    *,
    dm_min: float = 0.0,
    dm_max: float = math.inf,
    snr_min: float = 0.0,
    width_max: float = math.inf,
    count_max: float = math.inf,
) -> npt.NDArray[np.bool_]:
    """Tell which clusters pass all thresholds. Every bound is inclusive.

    :param clusters: CLUSTER records, shape (n,)
    :param dm_min: pc cm-3
    :param dm_max: pc cm-3
    :param snr_min: S/N
    :param width_max: samples
    :param count_max: raw candidates in the cluster; more means interference
    :return: shape (n,)
    """
    return (
        (clusters["dm"] >= dm_min)
        & (clusters["dm"] <= dm_max)
        & (clusters["snr"] >= snr_min)
        & (clusters["downsampling"] <= width_max)
        & (clusters["count"] <= count_max)
    )


def strongest(clusters: Records) -> int:
    """Index of the cluster of highest S/N; of equal ones, the first.

    :param clusters: CLUSTER records, shape (n,)
    :raises ValueError: there are none
    """
    if not len(clusters):
        raise ValueError("no clusters to take the strongest of")
    return int(np.argmax(clusters["snr"]))
