"""The same work for several items at once, such as a question to every node of a cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def fan_out(
    work: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    timeout: float | None = None,
    parallel: int | None = None,
) -> dict[_Item, _Result]:
    """Return the results by item, in the items' order.

    Each item has a thread of its own, which does not keep the process from exiting.

    :param items: each of them hashable, and there once
    :param timeout: s; items whose work takes longer are missing in what is returned. None: wait
    :param parallel: at most so many at the same time; None: all
    :raises Exception: the first that `work` raised, after the others have ended or timed out
    """
    results: dict[_Item, _Result] = {}
    errors: list[Exception] = []
    slots = nullcontext() if parallel is None else threading.BoundedSemaphore(parallel)

    def run(item: _Item) -> None:
        try:
            with slots:
                results[item] = work(item)
        except Exception as error:  # raised again below, in the caller's thread
            errors.append(error)

    items = list(items)
    threads = [threading.Thread(target=run, args=(item,), daemon=True) for item in items]
    deadline = None if timeout is None else time.monotonic() + timeout
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
    if errors:
        raise errors[0]
    ready = dict(results)  # a thread that comes too late changes nothing any more
    return {item: ready[item] for item in items if item in ready}
