"""Common base of receivers: they store arrivals, which can be waited for."""

from __future__ import annotations

import threading
from typing import Generic, Self, TypeVar

HOST = "127.0.0.1"

T = TypeVar("T")


class Receiver(Generic[T]):
    """Arrivals in order: added by the receiver's thread, read or awaited by others."""

    def __init__(self) -> None:
        self._came: list[T] = []
        self._more = threading.Condition()

    @property
    def received(self) -> list[T]:
        """Return all arrivals until now."""
        with self._more:
            return list(self._came)

    def wait_for(self, n: int, timeout: float) -> list[T]:
        """Wait for `n` arrivals, and return all.

        :param timeout: s
        :raises TimeoutError: it was less; says what came
        """
        with self._more:
            if not self._more.wait_for(lambda: len(self._came) >= n, timeout):
                raise TimeoutError(
                    f"{len(self._came)} of {n} came to {type(self).__name__} within {timeout} s:"
                    f" {self._came}"
                )
            return list(self._came)

    def close(self) -> None:
        """Stop and close everything; arrivals can still be read."""
        raise NotImplementedError

    def _add(self, item: T) -> None:
        with self._more:
            self._came.append(item)
            self._more.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
