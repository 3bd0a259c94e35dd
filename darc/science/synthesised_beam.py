"""Which tied-array beam (TAB) points the way of a synthesised beam (SB), for each subband.

A TAB points in a direction that depends on frequency, so that an SB is put together from several
TABs. Source: the project's specification, processing.md, synthesised beams.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from darc.config.file_kinds import BYTE_ORDER_MARK
from darc.config.typed import shown

#: TABs by SB and subband, the lowest frequency first; shape (n_sbs, n_subbands).
SynthesisedBeams = npt.NDArray[np.int64]


#: int() takes more: signs, underscores, digits of other scripts, thousands of them.
_NUMBER = re.compile("[0-9]{1,9}")


def synthesised_beams(
    *,
    n_sbs: int,
    n_subbands: int,
    n_tabs: int,
    band_low: float,
    bandwidth: float,
    reference_freq: float,
) -> SynthesisedBeams:
    """TABs of all SBs; the SB in the middle of the numbering takes TAB 0 throughout.

    :param band_low: low edge of the lowest subband, MHz
    :param bandwidth: of all subbands together, MHz
    :param reference_freq: where an SB is one TAB further on than its neighbour, MHz
    """
    subband_freq = band_low + (np.arange(n_subbands) + 0.5) * (bandwidth / n_subbands)
    from_centre = n_sbs // 2 - np.arange(n_sbs)
    shifts = np.rint(from_centre[:, np.newaxis] * subband_freq / reference_freq)
    return shifts.astype(np.int64) % n_tabs


def parse_synthesised_beams(
    text: str, file: str, *, n_sbs: int, n_subbands: int, n_tabs: int
) -> SynthesisedBeams:
    """Read a table as operators write it: a line for each SB, a TAB for each subband.

    Blank lines, and what follows a '#', are skipped.

    :param file: its name, for messages
    :raises ValueError: a number is missing, too many, or no TAB; names file, line and value
    """
    rows = []
    for number, line in enumerate(text.removeprefix(BYTE_ORDER_MARK).splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != n_subbands:
            raise ValueError(f"{file}:{number}: {len(words)} numbers; allowed: {n_subbands}")
        for word in words:
            if not (_NUMBER.fullmatch(word) and int(word) < n_tabs):
                raise ValueError(
                    f"{file}:{number}: {shown(word)} is no TAB; allowed: 0 to {n_tabs - 1}"
                )
        rows.append([int(word) for word in words])
    if len(rows) != n_sbs:
        raise ValueError(f"{file}: {len(rows)} SBs; allowed: {n_sbs}")
    return np.array(rows, dtype=np.int64)


def runs(tabs: npt.NDArray[np.int64], n_channels: int) -> list[tuple[int, int, int]]:
    """Stretches of channels that an SB takes from one TAB.

    :param tabs: of each subband, the lowest frequency first, shape (n_subbands,)
    :param n_channels: of the whole band; where they do not divide evenly, some subbands have one
        more than others
    :return: (TAB, first channel, one behind the last), the lowest frequency first
    :raises ValueError: there are fewer channels than subbands
    """
    n_subbands = len(tabs)
    if n_channels < n_subbands:
        raise ValueError(f"{n_subbands} subbands of {n_channels} channels")
    starts = np.flatnonzero(np.diff(tabs, prepend=-1))
    ends = np.append(starts[1:], n_subbands)
    return [
        (int(tabs[start]), start * n_channels // n_subbands, end * n_channels // n_subbands)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
