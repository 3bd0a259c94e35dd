"""What each service is, declared once, in its folder: ``darc/services/NAME/traits.py``.

It is found by the service's name and without the service itself, whose libraries take time and
memory that the master does not have. A service that is not of this package has the usual traits.
"""

from __future__ import annotations

import enum
import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from darc.config.records import Struct, field
from darc.runtime.check_result import CheckResult

_SERVICES = "darc.services"


class ExternalSystem(Struct, frozen=True):
    """Something outside that a service sends to, and that commands switch on and off.

    :param prefix: of the commands, as in lofar_status
    :param title: the service, in their answers
    :param what: that is switched, likewise
    """

    prefix: str
    title: str
    what: str


class ListeningPort(Struct, frozen=True):
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


class Reach(enum.Enum):
    """How ``darc doctor`` finds out whether a system can be reached; it sends nothing."""

    CONNECTS = enum.auto()  # a TCP connection, closed again
    RESOLVES = enum.auto()  # its name, where whatever came (UDP) would be acted on
    LISTENS = enum.auto()  # a process of this machine, where a connection would be


class OutsideAddress(Struct, frozen=True):
    """Address of a system that a service sends to, for ``darc doctor``.

    :param title: of the check
    :param reach: how it is checked
    :param port_keys: keys of its ports in the service's settings
    :param remedy: what to do where it is not reached, with `{host}` for the host
    :param host_key: likewise of its host; empty: this machine
    :param sends_key: likewise of whether the service sends by default; empty: it does
    :param needs: a module that sending needs, and the extra of DARC that installs it
    """

    title: str
    reach: Reach
    port_keys: tuple[str, ...]
    remedy: str
    host_key: str = ""
    sends_key: str = ""
    needs: tuple[str, str] | None = None


class OwnCheck(Struct, frozen=True):
    """A check of ``darc doctor`` that needs to know the service.

    :param title: of the check
    :param function: in ``checks.py`` of the service's folder: takes the configuration, and yields
        results (:mod:`darc.runtime.check_result`)
    """

    title: str
    function: str


class CountedSeries(Struct, frozen=True):
    """A metric family made of what the service counts.

    :param name: of the family, without ``darc_``
    :param text: its help
    :param counters: in the service's attribute `totals`, by the value of the label
    :param label: name of the label; empty: there is none, and one counter
    """

    name: str
    text: str
    counters: Mapping[str, str]
    label: str = ""


class AttributeSeries(Struct, frozen=True):
    """A metric family of one number, which is an attribute of the service, or its length.

    :param name: of the family, without ``darc_``
    :param text: its help
    :param is_level: a gauge, which falls, too; otherwise a counter
    """

    name: str
    text: str
    attribute: str
    is_level: bool = False


class Shown(enum.StrEnum):
    """Number of an observation that ``darc observations`` lists."""

    CANDIDATES = "candidates"
    CLUSTERS = "clusters"
    TRIGGERS = "triggers"


class ServiceTraits(Struct, frozen=True):
    """What a service is.

    :param sections: its sections of the configuration, with the types of their settings
    :param observes: it takes part in observations
    :param unhurried: it may work on an observation long after its end
    :param keeps_queue: what an ended observation left in its queue is of use; what leaves the house
        has an age limit of its own
    :param stops_in_mixed_mode: a stop of an observation concerns it in mixed mode, too
    :param external: what it sends to, where that can be switched
    :param announces: it announces bursts, and takes orders about what it has announced
    :param port: that it listens on
    :param directory: key of its settings: where it keeps files for people
    :param mails: section of the configuration that says who gets its e-mails; empty: it sends none
    :param outside: what it sends to
    :param checks: what ``darc doctor`` checks beside that
    :param counted: what of its `totals` has a metric family of its own
    :param measured: its attributes with one
    :param shown: which of its counters are numbers of an observation that people are shown; where
        several services have a number, the largest is
    """

    sections: Mapping[str, type] = field(default_factory=dict)
    observes: bool = True
    unhurried: bool = False
    keeps_queue: bool = False
    stops_in_mixed_mode: bool = True
    external: ExternalSystem | None = None
    announces: bool = False
    port: ListeningPort | None = None
    directory: str = ""
    mails: str = ""
    outside: tuple[OutsideAddress, ...] = ()
    checks: tuple[OwnCheck, ...] = ()
    counted: tuple[CountedSeries, ...] = ()
    measured: tuple[AttributeSeries, ...] = ()
    shown: Mapping[Shown, tuple[str, ...]] = field(default_factory=dict)


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


def own_check(service: str, check: OwnCheck) -> Callable[[Any], Iterator[CheckResult]]:
    """Load a check of a service of this package."""
    found: Callable[[Any], Iterator[CheckResult]] = getattr(
        importlib.import_module(f"{_SERVICES}.{service}.checks"), check.function
    )
    return found


def built_in_sections() -> dict[str, type]:
    """Return the sections of all services of this package, with the types of their settings."""
    return {
        section: kind
        for traits in known_traits().values()
        for section, kind in traits.sections.items()
    }
