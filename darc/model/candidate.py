"""Candidates and clusters as exchanged between services: records of fixed layout."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: One line of an AMBER trigger file. Times are those of the start of the bin, at the centre of the
#: highest channel.
CANDIDATE = np.dtype(
    [
        ("beam", "<i4"),  # TAB or SB index
        ("downsampling", "<i4"),  # width in samples
        ("time", "<f8"),  # s since the observation's start
        ("dm", "<f8"),  # pc cm-3
        ("snr", "<f8"),
    ]
)

#: The best candidate of a (DM bin, time window), and the number of candidates in it.
CLUSTER = np.dtype(
    [
        *CANDIDATE.descr,
        ("count", "<i8"),
        ("window", "<i8"),  # index of the time window
        ("dm_bin", "<i8"),  # index of the DM bin, from the lowest DM up
    ]
)

Records = npt.NDArray[np.void]


def records_to_bytes(records: Records) -> bytes:
    """Encode records of one of the layouts above."""
    return records.tobytes()


def candidates_from_bytes(data: bytes) -> Records:
    """Decode candidates.

    :raises ValueError: the length is not a multiple of a record's
    """
    return np.frombuffer(data, dtype=CANDIDATE)
