"""Channel masks, such as AMBER's ``zapped_channels_<freq>.conf``."""

from __future__ import annotations

import re

import numpy as np

from darc.config.file_kinds import BYTE_ORDER_MARK
from darc.config.typed import shown
from darc.science.arrays import Mask

#: int() also accepts signs, underscores, digits of other scripts, and thousands of digits.
_NUMBER = re.compile("[0-9]{1,9}")


def parse_channel_mask(text: str, file: str, n_channels: int) -> Mask:
    """Parse a list of channels, numbered from the lowest frequency, one or more in a line.

    Blank lines, and text after a '#', are ignored.

    :param file: file name, for messages
    :return: True for each listed channel, the lowest frequency first, shape (n_channels,)
    :raises ValueError: a channel is out of range or not a number; the message names file, line and
        value
    """
    mask = np.zeros(n_channels, dtype=np.bool_)
    for number, line in enumerate(text.removeprefix(BYTE_ORDER_MARK).splitlines(), 1):
        for word in line.partition("#")[0].split():
            if not _NUMBER.fullmatch(word):
                raise ValueError(f"{file}:{number}: {shown(word)} is not a channel's number")
            if int(word) >= n_channels:
                raise ValueError(
                    f"{file}:{number}: there is no channel {word}; allowed: 0 to {n_channels - 1}"
                )
            mask[int(word)] = True
    return mask
