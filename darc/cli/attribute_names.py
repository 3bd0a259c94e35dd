"""Which attributes can be asked, by service: for who types them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import darc.services
from darc.master.master_attributes import NAMES
from darc.services.base.service import Service

#: Of darc_master, which is asked by naming no service.
OF_MASTER = NAMES


def attributes() -> dict[str, tuple[str, ...]]:
    """What each service of this package declares; of one that has several classes, by role, all."""
    for module in pkgutil.walk_packages(darc.services.__path__, "darc.services."):
        if not module.name.endswith(".__main__"):  # which starts one
            importlib.import_module(module.name)
    found: dict[str, dict[str, None]] = {}
    for one in _below(Service):
        name = getattr(one, "name", None)  # bases of several services have none
        if name is not None:
            found.setdefault(name, {}).update(dict.fromkeys(one.declared()))
    return {name: tuple(known) for name, known in found.items()}


def of_others() -> tuple[str, ...]:
    """Of a service that is not of this package: what every service has."""
    return Service.declared()


def _below(kind: type[Service[Any]]) -> Iterator[type[Service[Any]]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)
