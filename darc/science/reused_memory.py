"""Memory that is used again: the system's new pages cost as much time as the sums in them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt


class ReusedMemory:
    """Memory of one array after the other."""

    def __init__(self) -> None:
        self._held = np.empty(0, np.uint8)

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return an array with arbitrary values, which is valid until the next is asked for."""
        size = math.prod(shape) * dtype.itemsize
        if size > self._held.size:
            self._held = np.empty(0, np.uint8)  # never both
            self._held = np.empty(size, np.uint8)
        return self._held[:size].view(dtype).reshape(shape)
