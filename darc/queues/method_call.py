"""Calls of methods with what a client has sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from darc.queues.messages import CallError


def call_method(method: Callable[..., Any], name: str, arguments: Any, keywords: Any) -> Any:
    """Call a method with a client's arguments.

    :raises CallError: the arguments are invalid
    """
    # With the first client: a service that none has called does without.
    import inspect  # noqa: PLC0415

    try:
        bound = inspect.signature(method).bind(*arguments, **keywords)
    except TypeError as error:
        raise CallError(f"{name}(): {error}") from None
    return method(*bound.args, **bound.kwargs)
