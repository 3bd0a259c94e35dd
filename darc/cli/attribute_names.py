"""Names of the attributes of each service, for completion and suggestions."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import darc.services
from darc.services.base.service import Service


def attributes() -> dict[str, tuple[str, ...]]:
    """Return the attributes of each built-in service, of all its classes if it has several."""
    for module in pkgutil.walk_packages(darc.services.__path__, "darc.services."):
        if not module.name.endswith(".__main__"):  # which starts a service
            importlib.import_module(module.name)
    found: dict[str, dict[str, None]] = {}
    for one in _below(Service):
        name = getattr(one, "name", None)  # common base classes have none
        if name is not None:
            found.setdefault(name, {}).update(dict.fromkeys(one.declared()))
    return {name: tuple(known) for name, known in found.items()}


def attributes_of_others() -> tuple[str, ...]:
    """Return the attributes that every service has, for services that are not built in."""
    return Service.declared()


def _below(kind: type[Service[Any]]) -> Iterator[type[Service[Any]]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)
