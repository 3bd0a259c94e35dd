"""Return of freed memory to the system, after what a process does once and never again."""

from __future__ import annotations


def give_back_freed_memory() -> None:
    """Return to the system what was freed between other memory, as after compiling templates.

    glibc does that for the end of its heap only, unless asked (`malloc_trim(3)`); another C library
    without that function is left alone.
    """
    import ctypes  # noqa: PLC0415 - for few

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
