"""Types of the arrays that functions take and return."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Shorts = npt.NDArray[np.int16]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

#: Dedispersed series, of 16 or 32 bits.
Series = npt.NDArray[np.int16] | npt.NDArray[np.int32]

#: Data in file order: samples in time one after another, each with all channels. Integers or floats
#: of any size, shape (n_samples, n_channels).
TimeMajor = npt.NDArray[Any]
