"""What the stand-ins that receive triggers share: they keep what came, and can be waited for."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Generic, Self, TypeVar

HOST = "127.0.0.1"

T = TypeVar("T")


class Receiver(Generic[T]):
    """What came, in order: a thread of the receiver's own adds to it, others read it or wait."""

    def __init__(self) -> None:
        self._came: list[T] = []
        self._more = threading.Condition()

    @property
    def received(self) -> list[T]:
        """All that came until now."""
        with self._more:
            return list(self._came)

    def wait_for(self, n: int, timeout: float) -> list[T]:
        """All that came, once that is `n` or more.

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
        """Stop, and leave nothing open; what came can still be read."""
        raise NotImplementedError

    def _add(self, item: T) -> None:
        with self._more:
            self._came.append(item)
            self._more.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
