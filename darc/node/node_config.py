"""Reading the configuration of this node, and the last good one of a node that runs."""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from darc.config.config import Config, ConfigError, Layer, parse_config
from darc.config.file_kinds import no_text
from darc.node.endpoint import CopiedError, EndpointError, endpoint_file, read_endpoint
from darc.runtime.paths import (
    PlaceError,
    broken_link,
    darc_home,
    hostname,
    packaged,
    users_home,
    write_whole,
)
from darc.runtime.untrusted_files import MAX_TEXT, read_regular

log = logging.getLogger(__name__)


def config_file() -> Path:
    """The operator's configuration file, which may not exist: $DARC_CONFIG, or in the home.

    :raises ConfigError: the home cannot be one
    """
    try:
        return Path(os.environ.get("DARC_CONFIG") or darc_home() / "config.yaml")
    except PlaceError as error:
        raise ConfigError([str(error)]) from error


def load_config(path: Path | None = None) -> Config:
    """Read this node's configuration: the packaged default, and the operator's file over it.

    :param path: the operator's file; by default $DARC_CONFIG or else `config.yaml` in the
        node's home. Only the latter need not exist.
    :raises ConfigError: the configuration is wrong
    :raises OSError: a file that is named cannot be read
    """
    return read_sources(path).parse()


@dataclass(frozen=True, slots=True)
class ConfigSources:
    """The texts that a configuration is made of, beside the packaged default.

    :param instruments: by what `instrument.base` calls them; read where they are missing
    """

    operator: Layer | None
    instruments: dict[str, Layer] = field(default_factory=dict)

    def parse(self, *, of_a_node: bool = True) -> Config:
        """Make the configuration.

        :param of_a_node: without, neither home nor host name are needed
        :raises ConfigError: it is wrong
        """
        layers = [_layer(packaged("conf/default.yaml"))]
        if self.operator is not None:
            layers.append(self.operator)
        try:
            home, name = darc_home(), hostname()
        except PlaceError as error:
            if of_a_node:
                raise ConfigError([str(error)]) from error
            home, name = Path("/nowhere"), "nowhere"
        return parse_config(
            layers,
            home=users_home(),
            darc_home=str(home),
            hostname=name,
            instruments=self._instrument,
        )

    def _instrument(self, name: str) -> Layer:
        if name not in self.instruments:
            self.instruments[name] = _instrument(name)
        return self.instruments[name]

    def keep(self) -> None:
        """Leave the texts for the processes that are started while the files are broken."""
        path = _last_good_file()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(asdict(self)), mode=0o600)
        except OSError as error:
            log.error("the configuration is not kept for bad times: %s", error)


def read_sources(path: Path | None = None) -> ConfigSources:
    """Read the operator's file; see :func:`load_config`."""
    named = path is not None or bool(os.environ.get("DARC_CONFIG"))
    path = path or config_file()
    # A link that leads nowhere, as to a disk that is not mounted, is no reason to go by defaults.
    return ConfigSources(_layer(path) if named or os.path.lexists(path) else None)


def load_node_config(keep: bool = False) -> Config:
    """What a process of a running node goes by; it need not be what the files say now.

    Where these are broken, it is what the node's master read last without a mistake. run_dir is
    the running node's in any case.

    :param keep: a good one is what processes started later fall back to
    :raises ConfigError: the configuration is wrong, and there is no good one
    :raises OSError: likewise, a file cannot be read
    """
    try:
        sources = read_sources()
        config = sources.parse()
        if keep:
            sources.keep()
    except (ConfigError, OSError) as error:
        config = _last_good(error)
    try:
        endpoint = read_endpoint()
    except CopiedError:  # of no node that runs here
        return config
    except EndpointError as error:
        log.error("%s", error)
        return config
    if endpoint is None or endpoint.node_id != os.environ.get("DARC_NODE_ID"):
        return config
    return with_run_dir(config, endpoint.run_dir)


def with_run_dir(config: Config, run_dir: str) -> Config:
    """The same with another run_dir."""
    return replace(config, master=replace(config.master, run_dir=run_dir))


def _last_good_file() -> Path:
    # Where run_dir is, only a good configuration tells.
    return endpoint_file().with_name("last_good_config.json")


def _last_good(broken: ConfigError | OSError) -> Config:
    try:
        path = _last_good_file()
        kept = json.loads(path.read_text(encoding="utf-8"))
        operator = Layer(**kept["operator"]) if kept["operator"] else None
        instruments = {name: Layer(**layer) for name, layer in kept["instruments"].items()}
        config = ConfigSources(operator, instruments).parse()
        written = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(path.stat().st_mtime))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise broken from None
    log.error("the configuration is broken: %s", broken)
    log.error("used instead: the last good configuration, in force since %s UTC", written)
    return config


def _instrument(name: str) -> Layer:
    path = Path(name).expanduser()
    if path.is_absolute():
        return _layer(path)
    # A name, not a path: nothing relative to where a process happens to be started.
    if path.name != name:
        raise FileNotFoundError(f"{name} is neither a name nor an absolute path")
    return _layer(packaged(f"conf/{name}.yaml"))


def _layer(path: Path) -> Layer:
    try:
        data = b"" if str(path) == os.devnull else read_regular(path, MAX_TEXT)
    except FileNotFoundError as error:
        link = broken_link(path)
        if link is None:
            raise
        raise ConfigError([f"{link}: mount its disk, or mend the link"]) from error
    try:
        return Layer(str(path), data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: {no_text(data, error)}"]) from error
