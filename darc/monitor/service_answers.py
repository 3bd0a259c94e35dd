"""What services tell of themselves that belongs into an overview, read from their answers."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from darc.config import typed
from darc.model.overview import Handover, LossSummary, StageLatency
from darc.monitor.metrics.node_measurements import read_measured

#: As darc.services.base.forwarding says it.
_NOT_REACHED = re.compile(r"\S+ NOT REACHED since (\S+): (.*); \d+ handed in, .*", re.DOTALL)
_WAITING = re.compile(r"(\d+) waiting")


def read_answer(attribute: str, text: str) -> Any:
    """Read an attribute's value.

    :raises ValueError: a service means something else by that name
    """
    try:
        return READERS[attribute](ast.literal_eval(text))
    except (SyntaxError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _read_handovers(plain: Mapping[str, str]) -> tuple[Handover, ...]:
    return tuple(_handover(str(service), str(text)) for service, text in plain.items())


def _handover(service: str, text: str) -> Handover:
    waiting = _WAITING.search(text)
    number = int(waiting[1]) if waiting else 0
    match = _NOT_REACHED.fullmatch(text)
    if match is None:
        return Handover(service, True, None, number, "")
    return Handover(service, False, datetime.fromisoformat(match[1]).timestamp(), number, match[2])


def _read_outcomes(plain: Mapping[str, int]) -> dict[str, int]:
    return {str(outcome): int(number) for outcome, number in plain.items()}


def _read_latency(plain: Mapping[str, Mapping[str, float]]) -> tuple[StageLatency, ...]:
    return tuple(
        StageLatency(
            str(name), int(of["n"]), float(of["median"]), float(of["p99"]), float(of["max"])
        )
        for name, of in plain.items()
    )


def _read_losses(plain: Mapping[str, Mapping[str, Any]]) -> tuple[LossSummary, ...]:
    return tuple(
        typed.from_plain(LossSummary, {"kind": str(kind), **of}, "losses")
        for kind, of in plain.items()
    )


#: What services are asked for, where they have it.
READERS: Mapping[str, Callable[[Any], Any]] = {
    "send_events": bool,
    "outcomes": _read_outcomes,
    "latency": _read_latency,
    "forwarding": _read_handovers,
    "losses": _read_losses,
    "metrics": read_measured,
}
