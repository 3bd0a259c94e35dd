"""Mapping of synthesised beams (SBs) to tied-array beams (TABs), for each subband.

The pointing direction of a TAB depends on frequency, so an SB is composed of several TABs. Source:
the project's specification, processing.md, synthesised beams.
"""

from __future__ import annotations

import re

import numpy as np

from darc.config.file_kinds import BYTE_ORDER_MARK
from darc.config.typed import shown
from darc.science.arrays import Ints

#: TAB of each SB and subband, the lowest frequency first; shape (n_sbs, n_subbands).
SynthesisedBeams = Ints


#: int() also accepts signs, underscores, digits of other scripts, and thousands of digits.
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
    """Return the TABs of all SBs; the SB in the middle of the numbering uses TAB 0 in all subbands.

    SB s uses TAB round((n_sbs // 2 - s) * f / reference_freq) modulo n_tabs at frequency f.

    :param band_low: lower edge of the lowest subband, MHz
    :param bandwidth: bandwidth of all subbands together, MHz
    :param reference_freq: frequency at which neighbouring SBs are one TAB apart, MHz
    :return: shape (n_sbs, n_subbands)
    """
    subband_freq = band_low + (np.arange(n_subbands) + 0.5) * (bandwidth / n_subbands)
    from_centre = n_sbs // 2 - np.arange(n_sbs)
    shifts = np.rint(from_centre[:, np.newaxis] * subband_freq / reference_freq)
    return shifts.astype(np.int64) % n_tabs


def parse_synthesised_beams(
    text: str, file: str, *, n_sbs: int, n_subbands: int, n_tabs: int
) -> SynthesisedBeams:
    """Parse a table of TABs: one line per SB, one TAB per subband.

    Blank lines, and text after a '#', are ignored.

    :param file: file name, for messages
    :return: shape (n_sbs, n_subbands)
    :raises ValueError: too few or too many numbers, or an invalid TAB; the message names the file,
        and the line and value where one is wrong
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


def runs(tabs: Ints, n_channels: int) -> list[tuple[int, int, int]]:
    """Return the ranges of channels that an SB takes from one TAB each.

    :param tabs: TAB of each subband, the lowest frequency first, shape (n_subbands,)
    :param n_channels: number of channels of the band; if it is not a multiple of the number of
        subbands, some subbands have one channel more
    :return: (TAB, first channel, end of the range), the lowest frequency first
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
