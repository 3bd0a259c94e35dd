"""Packed samples of PSRFITS to numbers: value = (raw - zero) * scale + offset, for each channel.

Each time sample is unpacked into a buffer that stays in the processor's cache, and scaled from
there: what is written is only the result. Samples are unpacked as unsigned; of signed ones, which
are two's complement, the sign bit has to be turned before (`turn_signs`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from darc.science.arrays import Floats, Ints, Mask
from darc.science.compiled import compiled

Packed = npt.NDArray[np.uint8]
Codes = npt.NDArray[Any]


@compiled
def _unpack(packed: Packed, n_bits: int, first: int, buffer: Codes) -> None:
    """Unpack samples of one moment, counted over its polarisations."""
    n_samples = buffer.size
    if n_bits == 16:
        part = packed[2 * first : 2 * (first + n_samples)]
        for number in range(n_samples):
            buffer[number] = (np.int32(part[2 * number]) << 8) | part[2 * number + 1]
    elif n_bits == 8:
        part = packed[first : first + n_samples]
        for number in range(n_samples):
            buffer[number] = part[number]
    elif n_bits == 4 and first % 2 == 0 and n_samples % 2 == 0:
        part = packed[first // 2 : (first + n_samples) // 2]
        for number in range(n_samples // 2):
            both = part[number]
            buffer[2 * number] = both >> np.uint8(4)
            buffer[2 * number + 1] = both & np.uint8(15)
    else:
        per_byte, most = 8 // n_bits, (1 << n_bits) - 1
        for number in range(n_samples):
            place = first + number
            right = n_bits * (per_byte - 1 - place % per_byte)
            buffer[number] = (np.int32(packed[place // per_byte]) >> right) & most


@compiled
def scale_samples(
    packed: Packed,
    n_bits: int,
    zero: float,
    firsts: Ints,
    scales: Floats,
    offsets: Floats,
    buffer: Codes,
    out: Floats,
) -> None:
    """Unpack, scale and add polarisations.

    :param packed: shape (n_samples, bytes of a moment)
    :param firsts: for each polarisation that is added, its first sample of a moment, shape (n,)
    :param scales: shape (n, n_channels), as `offsets`
    :param buffer: of `code_buffer`
    :param out: shape (n_samples, n_channels)
    """
    shift, n_channels = np.float32(zero), out.shape[1]
    for moment in range(out.shape[0]):
        for number in range(firsts.size):
            _unpack(packed[moment], n_bits, firsts[number], buffer)
            if number == 0:
                for channel in range(n_channels):
                    value = np.float32(buffer[channel]) - shift
                    scaled = value * scales[number, channel] + offsets[number, channel]
                    out[moment, channel] = scaled
            else:
                for channel in range(n_channels):
                    value = np.float32(buffer[channel]) - shift
                    scaled = value * scales[number, channel] + offsets[number, channel]
                    out[moment, channel] += scaled


@compiled
def copy_samples(
    packed: Packed,
    n_bits: int,
    lowest: npt.NDArray[Any],
    firsts: Ints,
    used: npt.NDArray[Any],
    buffer: Codes,
    out: npt.NDArray[Any],
) -> None:
    """Unpack and add polarisations of samples that need no scaling.

    :param lowest: value of the sample 0, in the type of `out`, shape (1,)
    :param used: 1 for channels that have a weight, else 0: their samples are 0; in the type of
        `out`, shape (n_channels,)
    :param buffer: of `code_buffer`
    :param out: integers, shape (n_samples, n_channels); for others see `scale_samples`
    """
    shift, n_channels = lowest[0], out.shape[1]
    for moment in range(out.shape[0]):
        for number in range(firsts.size):
            _unpack(packed[moment], n_bits, firsts[number], buffer)
            if number == 0:
                for channel in range(n_channels):
                    out[moment, channel] = (buffer[channel] + shift) * used[channel]
            else:
                for channel in range(n_channels):
                    out[moment, channel] += (buffer[channel] + shift) * used[channel]


def code_buffer(n_bits: int, n_channels: int) -> Codes:
    """Return a buffer for the samples of one moment, as they are stored."""
    return np.empty(n_channels, np.uint16 if n_bits == 16 else np.uint8)


def null_samples(packed: Packed, n_bits: int, null: int, firsts: Ints, n_channels: int) -> Mask:
    """Return where a sample of any polarisation has the value of missing ones.

    :param packed: 8 or 16 bits; see `scale_samples`
    :return: shape (n_samples, n_channels)
    """
    values = packed if n_bits == 8 else np.ascontiguousarray(packed).view(">i2")
    found = np.zeros((len(packed), n_channels), np.bool_)
    for first in firsts:
        found |= values[:, first : first + n_channels] == null
    return found


def turn_signs(packed: Packed, n_bits: int) -> None:
    """Turn the sign bit of all samples in place, which adds half of their range to signed ones."""
    if n_bits == 16:
        packed[:, ::2] ^= np.uint8(128)
        return
    bits = sum(1 << place for place in range(n_bits - 1, 8, n_bits))
    packed ^= np.uint8(bits)
