"""The configuration of a node: layers of YAML text, merged and checked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from darc.config import settings
from darc.config.config_checks import check
from darc.config.config_layers import expand_hosts, fill_placeholders, merge, unknown_key, value_at
from darc.config.host_names import same_host
from darc.config.instrument import Instrument
from darc.config.records import Struct, replace
from darc.config.typed import Reader, Unknown, Value, shown
from darc.config.yaml_error import YAMLTextError
from darc.config.yaml_tree import parse_yaml

T = TypeVar("T")
_log = logging.getLogger(__name__)

_MODES = {"real-time": "rt", "offline": "off", "mixed": "mix"}
_SERVICES = [f"services_{role}_{mode}" for role in ("master", "worker") for mode in _MODES.values()]


class ConfigError(ValueError):
    """The configuration is invalid. `problems` has a message per error, with file and line."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Role(Enum):
    """Role of a host in its cluster."""

    MASTER = "master"
    WORKER = "worker"
    STANDALONE = "standalone"


class Layer(Struct, frozen=True):
    """The text of a configuration file, and its name for messages."""

    name: str
    text: str


class Config(Struct, frozen=True):
    """Configuration of this node, made by `parse_config`."""

    hostname: str
    darc_home: str
    warnings: tuple[str, ...]
    master: settings.MasterSettings
    control: settings.ControlSettings
    cluster: settings.ClusterSettings
    instrument: Instrument
    mail: settings.MailSettings
    chat: settings.ChatSettings
    metrics: settings.MetricsSettings
    alarms: settings.AlarmSettings
    of_services: Mapping[str, Any]  # settings of the built-in services, by section
    further: Mapping[str, Value]  # blocks of services that are not built in

    if not TYPE_CHECKING:  # a name that is misspelt is found; of() knows the types of sections

        def __getattr__(self, name: str) -> Any:
            """Return the settings of a built-in service's section."""
            if name == "of_services" or name not in self.of_services:
                raise AttributeError(f"the configuration has no {name}")
            return self.of_services[name]

    @property
    def role(self) -> Role:
        """Role of this host: standalone if it is neither master nor worker."""
        if self.cluster.master is not None and self.is_here(self.cluster.master):
            return Role.MASTER
        if any(map(self.is_here, self.cluster.workers)):
            return Role.WORKER
        return Role.STANDALONE

    @property
    def master_host(self) -> str:
        """Host name of the node that runs the master's services."""
        cluster_master = self.cluster.master
        return cluster_master if self.role is Role.WORKER and cluster_master else "localhost"

    @property
    def bind_address(self) -> str:
        """Address that the command port listens on."""
        standalone = self.role is Role.STANDALONE
        return self.control.bind or ("127.0.0.1" if standalone else "0.0.0.0")

    def services(self) -> tuple[str, ...]:
        """Return the services of this host, in the order of replies."""
        of_master, of_worker = self._services_by_role()
        by_role = {Role.MASTER: of_master, Role.WORKER: of_worker}
        return by_role.get(self.role, self.all_services())

    def all_services(self) -> tuple[str, ...]:
        """Return the services of all hosts; a worker keeps queues for those of the master, too."""
        of_master, of_worker = self._services_by_role()
        return tuple(dict.fromkeys(of_master + of_worker))

    def _services_by_role(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        mode = _MODES[self.master.mode]
        of_master: tuple[str, ...] = getattr(self.master, f"services_master_{mode}")
        of_worker: tuple[str, ...] = getattr(self.master, f"services_worker_{mode}")
        return of_master, of_worker

    def nodes(self) -> tuple[str, ...]:
        """Return the host names of the cluster, master first; a standalone host: its own name."""
        return (self.hostname,) if self.role is Role.STANDALONE else self.cluster_hosts()

    def cluster_hosts(self) -> tuple[str, ...]:
        """Return all hosts of the configured cluster, whether this host is one of them or not."""
        masters = () if self.cluster.master is None else (self.cluster.master,)
        return (*masters, *self.cluster.workers)

    def log_file(self, service: str) -> str:
        """Return the log file of a service: its `log_file`, by default in the master's log_dir."""
        default = f"{self.master.log_dir}/{service}.{self.hostname}.log"
        if service in self.further:
            data = self.further[service].data
            entry = data.get("log_file") if isinstance(data, dict) else None
            return entry.data if entry and isinstance(entry.data, str) and entry.data else default
        section: object = getattr(self, _field_of(service), None)
        return str(getattr(section, "log_file", default))

    def section(self, name: str) -> Any:
        """Return the settings of a built-in section.

        :raises AttributeError: there is no such section
        """
        return getattr(self, _field_of(name))

    def of(self, kind: type[T]) -> T:
        """Return the settings of this class, which one section of a built-in service has.

        :raises LookupError: no section has it
        """
        for ready in self.of_services.values():
            if type(ready) is kind:
                return ready
        raise LookupError(f"no section has the class {kind.__name__}")

    def block(self, section: str, kind: type[T]) -> T:
        """Return the settings of a section; for services that are not built in.

        :param section: name of the section, which is the name of the service
        :param kind: a Struct or dataclass, its fields typed as in darc.config.settings; they may
            have defaults. For a built-in section, its own class.
        :raises ConfigError: a value is wrong or missing
        :raises TypeError: a built-in section has another class
        """
        if section in NODE_SECTIONS or section in self.of_services:
            ready = self.section(section)
            if not isinstance(ready, kind):
                raise TypeError(f"{section} is a {type(ready).__name__}, not a {kind.__name__}")
            return ready
        reader = Reader()
        value = self.further.get(section, Value(None, "the configuration", 0))
        if value.data is None:
            value = Value({}, value.file, value.line)
        found = reader.read(kind, value, section)
        if found is None or reader.problems:
            raise ConfigError(*reader.problems)
        for unknown in reader.unknown:
            _log.warning("%s", unknown_key(unknown))
        return found

    def is_here(self, host: str) -> bool:
        """Whether `host` is a name of this host."""
        return same_host(self.hostname, host)


#: Sections of the node itself, with their classes. Services have theirs in their traits.
NODE_SECTIONS: Mapping[str, Any] = {
    "darc_master": settings.MasterSettings,
    "control": settings.ControlSettings,
    "cluster": settings.ClusterSettings,
    "instrument": Instrument,
    "mail": settings.MailSettings,
    "chat": settings.ChatSettings,
    "metrics": settings.MetricsSettings,
    "alarms": settings.AlarmSettings,
}


def _field_of(section: str) -> str:
    return "master" if section == "darc_master" else section


def parse_config(
    layers: Sequence[Layer],
    *,
    services: Mapping[str, type],
    home: str | None,
    darc_home: str,
    hostname: str,
    instruments: Callable[[str], Layer],
    parsed: Callable[[Layer], Value | None] = lambda layer: None,
) -> Config:
    """Parse, merge and check the layers of a configuration.

    :param layers: the packaged default first; each overrides those before it
    :param services: the sections of built-in services, with the types of their settings
    :param home: value of the placeholder {home}, None if unknown
    :param darc_home: value of the placeholder {darc_home}
    :param hostname: name of this host, and value of the placeholder {hostname}
    :param instruments: function that reads the file of an instrument, given its name or path;
        its OSError is reported as a wrong `instrument.base`
    :param parsed: function that returns the tree of a layer, where that is known
    :raises ConfigError: with all problems
    """
    places = {"darc_home": darc_home, "hostname": hostname}
    if home is not None:
        places["home"] = home
    tree = Value({}, layers[0].name if layers else "the configuration", 1)
    problems: list[str] = []
    for layer in layers:
        top = parsed(layer) or _parse(layer, problems, from_package=layer is layers[0])
        tree = merge(tree, fill_placeholders(top, places))

    def tree_of_instrument(name: str) -> Value:
        layer = instruments(name)
        return parsed(layer) or _parse(layer, problems)

    instrument = _instrument(value_at(tree, "instrument"), tree_of_instrument, problems)
    reader = Reader()
    reader.problems += problems
    found: dict[str, Any] = {}
    for name, kind in NODE_SECTIONS.items():
        if name != "instrument":
            found[_field_of(name)] = reader.read(kind, value_at(tree, name), name)
    of_services = {
        name: reader.read(kind, value_at(tree, name), name) for name, kind in services.items()
    }
    # Without its base, every key of the instrument would be reported as missing.
    if instrument:
        found["instrument"] = reader.read(
            Instrument, fill_placeholders(instrument, places), "instrument"
        )
    check(reader, tree, found)
    if reader.problems:
        raise ConfigError(*reader.problems)
    if found["cluster"].workers:
        workers = expand_hosts(found["cluster"].workers)
        found["cluster"] = replace(found["cluster"], workers=workers)
    built_in = {**NODE_SECTIONS, **services}
    others = {name: value for name, value in tree.data.items() if name not in built_in}
    listed = {name for key in _SERVICES for name in getattr(found["master"], key)}
    for name, value in others.items():
        if name not in listed:
            reader.unknown.append(Unknown(value, name, name, tuple(built_in)))
    return Config(
        hostname=hostname,
        darc_home=darc_home,
        warnings=tuple(unknown_key(entry) for entry in reader.unknown),
        of_services=of_services,
        further={name: value for name, value in others.items() if name in listed},
        **found,
    )


def _parse(layer: Layer, problems: list[str], *, from_package: bool = False) -> Value:
    empty = Value(None, layer.name, 1)
    try:
        tree = parse_yaml(layer.text, layer.name, from_package=from_package)
    except YAMLTextError as error:
        problems += map(str, error.problems)
        tree = error.tree or empty
    if not isinstance(tree.data, dict | None):
        problems.append(
            f"{tree.place}: {shown(tree.data)} is not a mapping; allowed: sections with their keys"
        )
        return empty
    return tree


def _instrument(
    block: Value, instruments: Callable[[str], Value], problems: list[str]
) -> Value | None:
    """Merge the layers' instrument section over its base file; None if that is unusable."""
    if not isinstance(block.data, dict) or "base" not in block.data:
        return block
    keys = dict(block.data)
    base = keys.pop("base")
    allowed = "the name of a packaged instrument, or an absolute path"
    what = f"{base.place}: instrument.base: {shown(base.data)}"
    if not isinstance(base.data, str) or not base.data:
        problems.append(f"{what} is not a name; allowed: {allowed}")
        return None
    try:
        found = instruments(base.data)
    except OSError as error:
        problems.append(f"{what} cannot be read ({error}); allowed: {allowed}")
        return None
    below = value_at(found, "instrument")
    return merge(below, Value(keys, block.file, block.line))
