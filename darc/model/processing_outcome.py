"""What becomes of a cluster: a candidate with arrays and scores, or why there is none.

Source: the project's specification, processing.md.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darc.model.arrival import ArrivalReference

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


class ClusterOutcome(enum.StrEnum):
    """What became of a cluster."""

    KEPT = "kept"
    TOO_WEAK = "too weak"  # in the data, its S/N is below the threshold
    STRONGER_AT_DM_0 = "stronger at DM 0"
    UNLIKELY = "unlikely"  # the classifier takes it for interference
    NOT_IN_DATA = "not in data"  # it lies beyond the end of the file
    FAILED = "failed"  # the data cannot be read, or nothing could be made of it
    OUT_OF_TIME = "out of time"  # the time limit of processing came first

    @property
    def passed_thresholds(self) -> bool:
        """Whether it was strong enough to be classified."""
        return self in (ClusterOutcome.KEPT, ClusterOutcome.UNLIKELY)


@dataclass(frozen=True, slots=True)
class Detection:
    """A pulse as the search found it: the best candidate of a cluster.

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


@dataclass(frozen=True, slots=True)
class Measurement:
    """A pulse as it is in the data.

    :param snr: of the best boxcar at the pulse's DM; likewise snr_dm0, at DM 0
    :param snr_best: at or near the pulse's DM, by the filter that fits best
    :param time: s since the observation's start, as of the pulse
    :param downsampling: width of the best boxcar, samples of the data
    :param bin_length: of the arrays, s
    :param best_dm: where S/N is highest, pc cm-3
    """

    snr: float
    snr_best: float
    snr_dm0: float
    time: float
    downsampling: int
    bin_length: float
    best_dm: float


@dataclass(frozen=True, slots=True)
class Score:
    """Probabilities that a candidate is a burst, 0 to 1."""

    freq_time: float
    dm_time: float


@dataclass(frozen=True, slots=True, eq=False)
class ProcessedCandidate:
    """A candidate to show to people.

    :param cb: compound beam; 0 where there is but one beam
    :param freq_time: the lowest frequency first, shape (nfreq, ntime), pulse in bin ntime // 2
    :param dm_time: shape (ndm, ntime)
    :param dms: trials, pc cm-3, shape (ndm,)
    :param arrival: what its times and widths refer to; None: not known, as of files from before
    """

    cb: int
    pulse: Detection
    measured: Measurement
    score: Score
    freq_time: Floats
    dm_time: Floats
    dms: Doubles
    arrival: ArrivalReference | None = None


@dataclass(frozen=True, slots=True)
class ListedCandidate:
    """A line of a list of candidates: numbers as measured, the DM as the search found it.

    :param downsampling: samples of the data
    :param probability: by frequency and time
    """

    cb: int
    snr: float
    dm: float
    time: float
    downsampling: int
    beam: int
    probability: float


@dataclass(frozen=True, slots=True)
class ProcessingSummary:
    """How many candidates of a compound beam were left after each step; -1 where not known."""

    ncand_raw: int
    ncand_post_clustering: int
    ncand_post_thresholds: int
    ncand_post_classifier: int


#: Of a beam whose trigger files never had a header.
NOTHING_SEARCHED = ProcessingSummary(-1, -1, -1, -1)
