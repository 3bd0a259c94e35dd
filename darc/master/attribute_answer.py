"""Answer of a service to ``get_attr``, as a value and as text for the command port."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any

from darc.config.records import Struct
from darc.config.typed import from_plain
from darc.model.counters import in_words
from darc.model.handover import HandoverState


class AnswerError(enum.StrEnum):
    """Reason why there is no value."""

    NOT_RESPONDING = "not_responding"
    NOT_RUNNING = "not_running"
    NO_SUCH_ATTRIBUTE = "no_such_attribute"


class AttributeAnswer(Struct, frozen=True):
    """Value of a service's attribute, or the reason why there is none.

    :param class_name: class of the service
    :param value: plain value (JSON types)
    """

    service: str
    attribute: str
    class_name: str = ""
    value: Any = None
    error: AnswerError | None = None

    def to_text(self) -> str:
        """Return the answer as text, for the command line and for legacy clients."""
        if self.error is None:
            text = attribute_text(self.attribute, self.value)
            return f"{{'{self.class_name}.{self.attribute}': {text}}}"
        if self.error is AnswerError.NO_SUCH_ATTRIBUTE:
            return f"No such attribute: {self.attribute}"
        does = "responding" if self.error is AnswerError.NOT_RESPONDING else "running"
        return f"Service not {does}: {self.service}"

    def to_plain(self) -> dict[str, Any]:
        """Return the answer as a plain value, for clients that parse it."""
        if self.error is None:
            return {"value": self.value}
        return {"error": str(self.error), "text": self.to_text()}


def attribute_text(attribute: str, value: Any) -> str:
    """Format an attribute's value for the command line."""
    show = _SHOWN.get(attribute, str)
    try:
        return str(show(value))
    except (AttributeError, TypeError, ValueError):  # a custom service may use the name differently
        return str(value)


def _handovers(plain: Mapping[str, Any]) -> dict[str, str]:
    return {
        service: str(from_plain(HandoverState, state, "handover"))
        for service, state in plain.items()
    }


def _measured(plain: Mapping[str, Any]) -> dict[str, Any]:
    counted = {name: in_words(plain[name]) for name in ("totals", "outcomes") if name in plain}
    return {name: counted.get(name, value) for name, value in plain.items()}


_SHOWN: Mapping[str, Callable[[Any], object]] = {
    "counts": lambda plain: {task_id: in_words(counts) for task_id, counts in plain.items()},
    "forwarding": _handovers,
    "metrics": _measured,
    "outcomes": in_words,
    "totals": in_words,
}
