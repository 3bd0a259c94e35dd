"""Parsing of the attributes of services that an overview contains."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from darc.config import typed
from darc.config.records import convert
from darc.model.handover import HandoverState
from darc.model.overview import Handover, LogLine, StageLatency, read_losses, shortened
from darc.monitor.metrics.node_measurements import read_measured

log = logging.getLogger(__name__)


def read_answer(attribute: str, value: Any) -> Any:
    """Parse an attribute's value.

    :raises ValueError: the value is invalid, as of a service that uses the name differently
    """
    try:
        return READERS[attribute](value)
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def read_report(report: object) -> dict[str, Any]:
    """Parse the attribute `REPORT`; what is invalid, as of a service that uses a name differently,
    is left out."""
    answers: dict[str, Any] = {}
    for attribute, value in report.items() if isinstance(report, Mapping) else ():
        try:
            answers[attribute] = read_answer(attribute, value)
        except ValueError as error:
            log.debug("%s: %s", attribute, error)
    return answers


def _read_handovers(plain: Mapping[str, Any]) -> tuple[Handover, ...]:
    states = {
        str(service): typed.from_plain(HandoverState, state, "handover")
        for service, state in plain.items()
    }
    return tuple(
        Handover(
            service,
            reached=state.gone_since is None,
            since=state.gone_since,
            waiting=state.waiting,
            text="" if state.gone_since is None else state.error,
        )
        for service, state in states.items()
    )


def _read_latency(plain: Mapping[str, Mapping[str, float]]) -> tuple[StageLatency, ...]:
    return tuple(convert({"name": name, **of}, StageLatency) for name, of in plain.items())


def _read_line(plain: tuple[float, str] | None) -> LogLine | None:
    if plain is None:
        return None
    time, text = plain
    return LogLine(float(time), shortened(str(text)))


#: Parsers of the attributes that services are asked for, where they have them.
READERS: Mapping[str, Callable[[Any], Any]] = {
    "send_events": bool,
    "outcomes": partial(convert, type=dict[str, int]),
    "latency": _read_latency,
    "forwarding": _read_handovers,
    "losses": read_losses,
    "metrics": read_measured,
    "last_error": _read_line,
    "last_trigger": _read_line,
}
