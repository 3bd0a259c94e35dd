"""Functions on arrays that are compiled to machine code (numba).

Compiling takes seconds, so what was compiled is kept: beside the source where that can be
written, else in the user's cache directory (``NUMBA_CACHE_DIR`` names another one), once for each
kind of processor. Numba looks at the file of a function alone to see whether it has changed: so a
compiled function calls only such of its own module.

Loops that are to run for many values at a time (SIMD) count places: `for x in row` does not.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

#: Sums may be reordered, which lets them run side by side. NaN and infinity keep their meaning.
_FAST = {"reassoc", "contract", "nsz", "arcp"}


def compiled(function: F) -> F:
    """Compile a function at its first call; other threads run while it does.

    Division by zero gives infinity or NaN, as in numpy.
    """
    options: dict[str, Any] = {"nogil": True, "fastmath": _FAST, "error_model": "numpy"}
    try:
        return cast(F, numba.njit(cache=True, **options)(function))
    except RuntimeError as error:
        # There is nowhere to keep it.
        warnings.warn(f"compiled anew in each process: {error}", RuntimeWarning, stacklevel=2)
        return cast(F, numba.njit(**options)(function))
