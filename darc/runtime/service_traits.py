"""What each service is, declared once, in its folder: ``darc/services/NAME/traits.py``.

It is found by the service's name and without the service itself, whose libraries take time and
memory that the master does not have. A service that is not of this package has the usual traits.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SERVICES = "darc.services"


@dataclass(frozen=True, slots=True)
class ExternalSystem:
    """Something outside that a service sends to, and that commands switch on and off.

    :param prefix: of the commands, as in lofar_status
    :param title: the service, in their answers
    :param what: that is switched, likewise
    """

    prefix: str
    title: str
    what: str


@dataclass(frozen=True, slots=True)
class ListeningPort:
    """A TCP port that a service listens on.

    :param what: for people: what is to be had there
    :param key: in the service's settings; where that is None, it does not listen
    :param bind_key: likewise, of the address; empty: that of the node
    :param needed: without it the service cannot start
    """

    what: str
    key: str
    bind_key: str = ""
    needed: bool = True


@dataclass(frozen=True, slots=True)
class ServiceTraits:
    """What a service is.

    :param observes: it takes part in observations
    :param unhurried: it may work on an observation long after its end
    :param keeps_queue: what an ended observation left in its queue is of use; what leaves the house
        has an age limit of its own
    :param stops_in_mixed_mode: a stop of an observation concerns it in mixed mode, too
    :param external: what it sends to, where that can be switched
    :param port: that it listens on
    :param directory: key of its settings: where it keeps files for people
    :param mails: section of the configuration that says who gets its e-mails; empty: it sends none
    """

    observes: bool = True
    unhurried: bool = False
    keeps_queue: bool = False
    stops_in_mixed_mode: bool = True
    external: ExternalSystem | None = None
    port: ListeningPort | None = None
    directory: str = ""
    mails: str = ""


@functools.cache
def traits_of(service: str) -> ServiceTraits:
    """The traits of a service; the usual ones of one that is not of this package."""
    return known_traits().get(service, ServiceTraits())


@functools.cache
def known_traits() -> Mapping[str, ServiceTraits]:
    """Those of all services of this package, by name."""
    package = importlib.import_module(_SERVICES)
    files = [file for root in package.__path__ for file in Path(root).glob("*/traits.py")]
    names = sorted(file.parent.name for file in files)
    return {name: importlib.import_module(f"{_SERVICES}.{name}.traits").TRAITS for name in names}
