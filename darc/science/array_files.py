"""Files of several arrays (``.npz``)."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from darc.runtime.python_literals import tree_lock


def arrays_of(content: bytes) -> dict[str, npt.NDArray[Any]]:
    """Return all arrays of such a file, by name.

    :param content: of the whole file: what is slow to read, or hangs, holds up nobody else
    :raises Exception: of many types, where it is damaged or of another format
    """
    with tree_lock, np.load(BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)
