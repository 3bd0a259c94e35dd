"""Packed samples of PSRFITS to numbers: value = (raw - zero) * scale + offset, for each channel.

Each time sample is unpacked into a buffer that stays in the processor's cache, and scaled from
there: what is written is only the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from darc.science.compiled import compiled

Packed = npt.NDArray[np.uint8]
Factors = npt.NDArray[np.float32]


@compiled
def _unpack(
    packed: Packed, n_bits: int, flip: int, first: int, buffer: npt.NDArray[np.int32]
) -> None:
    """Unpack samples of one moment, counted over its polarisations; `flip` turns the sign bit."""
    n_samples = buffer.size
    if n_bits == 8:
        for number in range(n_samples):
            buffer[number] = packed[first + number] ^ flip
    elif n_bits == 16:
        for number in range(n_samples):
            place = 2 * (first + number)
            buffer[number] = ((np.int32(packed[place]) << 8) | packed[place + 1]) ^ flip
    elif n_bits == 4 and first % 2 == 0 and n_samples % 2 == 0:
        begin = first // 2
        for number in range(n_samples // 2):
            both = np.int32(packed[begin + number])
            buffer[2 * number] = (both >> 4) ^ flip
            buffer[2 * number + 1] = (both & 15) ^ flip
    else:
        per_byte, most = 8 // n_bits, (1 << n_bits) - 1
        for number in range(n_samples):
            place = first + number
            right = n_bits * (per_byte - 1 - place % per_byte)
            buffer[number] = ((np.int32(packed[place // per_byte]) >> right) & most) ^ flip


@compiled
def scale_samples(
    packed: Packed,
    n_bits: int,
    flip: int,
    zero: float,
    firsts: npt.NDArray[np.int64],
    scales: Factors,
    offsets: Factors,
    out: npt.NDArray[np.float32],
) -> None:
    """Unpack, scale and add polarisations.

    :param packed: shape (n_samples, bytes of a moment)
    :param flip: sign bit of signed samples, turned before `zero` is subtracted; 0: unsigned
    :param firsts: for each polarisation that is added, its first sample of a moment, shape (n,)
    :param scales: shape (n, n_channels), as `offsets`
    :param out: shape (n_samples, n_channels)
    """
    buffer = np.empty(out.shape[1], np.int32)
    shift = np.float32(zero)
    for moment in range(out.shape[0]):
        for number in range(firsts.size):
            _unpack(packed[moment], n_bits, flip, firsts[number], buffer)
            row, scale, offset = out[moment], scales[number], offsets[number]
            if number == 0:
                for channel in range(buffer.size):
                    value = np.float32(buffer[channel]) - shift
                    row[channel] = value * scale[channel] + offset[channel]
            else:
                for channel in range(buffer.size):
                    value = np.float32(buffer[channel]) - shift
                    row[channel] += value * scale[channel] + offset[channel]


@compiled
def copy_samples(
    packed: Packed,
    n_bits: int,
    flip: int,
    lowest: int,
    firsts: npt.NDArray[np.int64],
    used: npt.NDArray[np.bool_],
    out: npt.NDArray[Any],
) -> None:
    """Unpack and add polarisations of samples that need no scaling.

    :param lowest: value of the lowest sample
    :param used: channels that have a weight, shape (n_channels,); the others are 0
    :param out: integers, shape (n_samples, n_channels); for others see `scale_samples`
    """
    buffer = np.empty(out.shape[1], np.int32)
    for moment in range(out.shape[0]):
        for number in range(firsts.size):
            _unpack(packed[moment], n_bits, flip, firsts[number], buffer)
            row = out[moment]
            for channel in range(buffer.size):
                value = (buffer[channel] + lowest) * used[channel]
                row[channel] = value if number == 0 else row[channel] + value


def null_samples(
    packed: Packed, n_bits: int, null: int, firsts: npt.NDArray[np.int64], n_channels: int
) -> npt.NDArray[np.bool_]:
    """Return where a sample of any polarisation has the value of missing ones.

    :param packed: 8 or 16 bits; see `scale_samples`
    :return: shape (n_samples, n_channels)
    """
    values = packed if n_bits == 8 else np.ascontiguousarray(packed).view(">i2")
    found = np.zeros((len(packed), n_channels), np.bool_)
    for first in firsts:
        found |= values[:, first : first + n_channels] == null
    return found
