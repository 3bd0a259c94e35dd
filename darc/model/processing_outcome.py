"""Outcome of processing a cluster: a candidate with arrays and scores, or why there is none.

Source: the project's specification, processing.md.
"""

from __future__ import annotations

import enum

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct
from darc.model.arrival import ArrivalReference

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


class ClusterOutcome(enum.StrEnum):
    """Outcome of processing a cluster."""

    KEPT = "kept"
    TOO_WEAK = "too weak"  # its S/N in the data is below the threshold
    STRONGER_AT_DM_0 = "stronger at DM 0"
    UNLIKELY = "unlikely"  # interference, by the classifier
    NOT_IN_DATA = "not in data"  # it lies beyond the file's end, or before its first sample
    FAILED = "failed"  # its data could not be read or processed
    OUT_OF_TIME = "out of time"  # not processed within the time limit

    @property
    def passed_thresholds(self) -> bool:
        """Whether it was strong enough to be classified."""
        return self in (ClusterOutcome.KEPT, ClusterOutcome.UNLIKELY)


class Detection(Struct, frozen=True):
    """A pulse as the search detected it: the best candidate of a cluster.

    :param beam: index of the SB or TAB
    :param downsampling: width, samples of the data
    :param time: start of its bin at the centre of the highest channel, s since the observation's
        start
    :param dm: pc cm-3
    """

    beam: int
    downsampling: int
    time: float
    dm: float
    snr: float


class Measurement(Struct, frozen=True):
    """A pulse as measured in the data.

    :param snr: S/N of the best boxcar at the pulse's DM
    :param snr_best: S/N of the best filter, at or near the pulse's DM
    :param snr_dm0: S/N of the best boxcar at DM 0
    :param time: arrival time, s since the observation's start
    :param downsampling: width of the best boxcar, samples of the data
    :param bin_length: time bin of the arrays, s
    :param best_dm: DM of the highest S/N, pc cm-3
    """

    snr: float
    snr_best: float
    snr_dm0: float
    time: float
    downsampling: int
    bin_length: float
    best_dm: float


class Score(Struct, frozen=True):
    """Probabilities that a candidate is a burst, 0 to 1."""

    freq_time: float
    dm_time: float


class FrequencyRange(Struct, frozen=True):
    """Edges of a band, MHz."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high < float("inf"):
            raise ValueError(f"not a frequency band: {self.low} to {self.high} MHz")


class ProcessedCandidate(Struct, frozen=True, eq=False):
    """A candidate with its arrays, measurements and scores.

    :param cb: compound beam; 0 for data of a single beam
    :param freq_time: the lowest frequency first, shape (nfreq, ntime), pulse in bin ntime // 2
    :param dm_time: shape (ndm, ntime)
    :param dms: trial DMs, pc cm-3, shape (ndm,)
    :param arrival: reference of its times and widths; None: unknown, in old files
    :param band: of `freq_time`; None: unknown
    """

    cb: int
    pulse: Detection
    measured: Measurement
    score: Score
    freq_time: Floats
    dm_time: Floats
    dms: Doubles
    arrival: ArrivalReference | None = None
    band: FrequencyRange | None = None


class ListedCandidate(Struct, frozen=True):
    """A line of a list of candidates: values as measured, but the DM as detected.

    :param downsampling: width, samples of the data
    :param probability: score of the frequency-time array
    """

    cb: int
    snr: float
    dm: float
    time: float
    downsampling: int
    beam: int
    probability: float


class ProcessingSummary(Struct, frozen=True):
    """Number of candidates of a compound beam after each step; -1: unknown."""

    ncand_raw: int
    ncand_post_clustering: int
    ncand_post_thresholds: int
    ncand_post_classifier: int


#: Of a beam whose trigger files never had a header.
NOTHING_SEARCHED = ProcessingSummary(-1, -1, -1, -1)
