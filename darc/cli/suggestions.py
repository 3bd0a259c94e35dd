"""Suggestions for mistyped names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from darc.cli.attribute_names import attributes, attributes_of_others
from darc.cli.interactive import load
from darc.cli.terminal_text import did_you_mean
from darc.config.config import ConfigError
from darc.master.master_attributes import NAMES


def hints(service: str | None, attribute: str | None) -> Iterator[str]:
    """Yield suggestions for the unknown names in a failed command."""
    known = attributes()
    services: tuple[str, ...] = tuple(known)
    with contextlib.suppress(ConfigError, OSError):  # reported by commands that need it
        services = tuple(dict.fromkeys((*load().services(), *services)))
    if service and (question := did_you_mean(service, (*services, "all"))):
        yield f"no service {service}: {question}"
        return
    if attribute:
        name = attribute.partition(" ")[0]
        if not service:
            of_it: Iterable[str] = NAMES
        elif service == "all":
            of_it = [one for some in known.values() for one in some]
        else:
            of_it = known.get(service, attributes_of_others())
        if question := did_you_mean(name, of_it):
            yield f"no attribute {name}{f' of {service}' if service else ''}: {question}"
