"""Base of open files that are closed at the end of a ``with``."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self


class ClosedOnExit:
    """Open file, or several, for use in a ``with``; arrays read from them stay valid behind it."""

    _opened: ExitStack  # closes them

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open."""
        self._opened.close()
