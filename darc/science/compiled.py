"""Functions on arrays that are compiled to machine code (numba).

Compiling takes seconds, so the result is cached: beside the source where that directory is
writable, else in the user's cache directory (``NUMBA_CACHE_DIR`` names another one), separately for
each type of processor. Numba compares only the source file of the function itself to detect a
change: a compiled function must therefore call only compiled functions of its own module.

Loops that are to be vectorised (SIMD) iterate over indices: ``for x in row`` is not vectorised.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

#: Sums may be reordered, which allows vectorisation. NaN and infinity keep their meaning.
_FAST = {"reassoc", "contract", "nsz", "arcp"}


def compiled(function: F) -> F:
    """Compile a function at its first call, without holding the GIL while it runs.

    Division by zero gives infinity or NaN, as in numpy.
    """
    options: dict[str, Any] = {"nogil": True, "fastmath": _FAST, "error_model": "numpy"}
    try:
        return cast(F, numba.njit(cache=True, **options)(function))
    except RuntimeError as error:
        # No cache directory is writable.
        warnings.warn(f"compiled anew in each process: {error}", RuntimeWarning, stacklevel=2)
        return cast(F, numba.njit(**options)(function))
