"""Reading the configuration of this node, and the last good one of a running node."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from pathlib import Path

from darc.config.config import Config, ConfigError, Layer, parse_config
from darc.config.file_kinds import not_text_reason
from darc.config.records import Struct, convert, field, replace
from darc.config.typed import to_plain
from darc.node.endpoint import CopiedError, EndpointError, endpoint_file, read_endpoint
from darc.node.parsed_texts import KeptTrees, keep_trees
from darc.runtime.paths import (
    PlaceError,
    broken_link,
    darc_home,
    hostname,
    packaged,
    users_home,
    write_whole,
)
from darc.runtime.service_traits import built_in_sections
from darc.runtime.untrusted_files import MAX_TEXT, read_regular

log = logging.getLogger(__name__)


def config_file() -> Path:
    """Return the path of the operator's file: $DARC_CONFIG, or in the home; it may not exist.

    :raises ConfigError: the home is invalid
    """
    try:
        return Path(os.environ.get("DARC_CONFIG") or darc_home() / "config.yaml")
    except PlaceError as error:
        raise ConfigError(str(error)) from error


def load_config(path: Path | None = None) -> Config:
    """Read this node's configuration: the packaged default, overridden by the operator's file.

    :param path: the operator's file; default: $DARC_CONFIG, or `config.yaml` in the node's home,
        which need not exist
    :raises ConfigError: the configuration is invalid
    :raises OSError: a named file cannot be read
    """
    return read_sources(path).parse()


class ConfigSources(Struct, frozen=True):
    """Texts of a configuration, besides the packaged default.

    :param operator: the operator's file
    :param instruments: files of instruments by the value of `instrument.base`; read on demand
    """

    operator: Layer | None
    instruments: dict[str, Layer] = field(default_factory=dict)

    def parse(self, *, of_a_node: bool = True) -> Config:
        """Return the configuration.

        :param of_a_node: if false, home and host name may be unknown
        :raises ConfigError: it is invalid
        """
        layers = [_layer(packaged("conf/default.yaml"))]
        if self.operator is not None:
            layers.append(self.operator)
        try:
            home, name = darc_home(), hostname()
            parsed = KeptTrees(_parsed_file()).find
        except (PlaceError, EndpointError) as error:
            if of_a_node:
                raise ConfigError(str(error)) from error
            home, name, parsed = Path("/nowhere"), "nowhere", lambda layer: None
        return parse_config(
            layers,
            services=built_in_sections(),
            home=users_home(),
            darc_home=str(home),
            hostname=name,
            instruments=self._instrument,
            parsed=parsed,
        )

    def _instrument(self, name: str) -> Layer:
        if name not in self.instruments:
            self.instruments[name] = _instrument(name)
        return self.instruments[name]

    def keep(self) -> None:
        """Store the texts, for processes that are started while the files are invalid."""
        path = _last_good_file()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(to_plain(self)), mode=0o600)
        except OSError as error:
            log.error("the valid configuration cannot be stored as fallback: %s", error)
        self.keep_parsed()

    def keep_parsed(self) -> None:
        """Store the trees of the valid texts, for processes that are started later."""
        operator = () if self.operator is None else (self.operator,)
        try:
            default = _layer(packaged("conf/default.yaml"))
            keep_trees(_parsed_file(), (default, *operator, *self.instruments.values()))
        except OSError as error:
            log.debug("the parsed configuration is not stored: %s", error)


def share_parsed_config() -> None:
    """Store the trees of the configuration's texts for the processes of a node that starts."""
    with contextlib.suppress(ConfigError, OSError):
        sources = read_sources()
        sources.parse()
        sources.keep_parsed()


def read_sources(path: Path | None = None) -> ConfigSources:
    """Read the operator's file; see :func:`load_config`."""
    named = path is not None or bool(os.environ.get("DARC_CONFIG"))
    path = path or config_file()
    # A dangling link (to an unmounted disk, say) is an error, not a reason to use defaults.
    return ConfigSources(_layer(path) if named or os.path.lexists(path) else None)


def use_config_option(program: str, description: str) -> None:
    """Use the file of the option ``--config``, where a person starts a process of a node.

    supervisord starts it without, and a process that stays does without argparse: 0.4 MB.
    """
    if not sys.argv[1:]:
        return
    import argparse  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--config", metavar="FILE", help="the node's configuration file")
    path = parser.parse_args().config
    if path:
        os.environ["DARC_CONFIG"] = str(Path(path).absolute())


def load_node_config(keep: bool = False) -> Config:
    """Return the configuration for a process of a running node.

    If the files are invalid, it is the last good configuration that the node's master read.
    run_dir is always that of the running node.

    :param keep: store a valid configuration as fallback for processes started later
    :raises ConfigError: the configuration is invalid, and there is no earlier valid one
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
    except CopiedError:  # no node of this home is running
        return config
    except EndpointError as error:
        log.error("%s", error)
        return config
    if endpoint is None or endpoint.node_id != os.environ.get("DARC_NODE_ID"):
        return config
    return with_run_dir(config, endpoint.run_dir)


def with_run_dir(config: Config, run_dir: str) -> Config:
    """Return a copy of a configuration with another run_dir."""
    return replace(config, master=replace(config.master, run_dir=run_dir))


def _last_good_file() -> Path:
    # Not in run_dir, whose path only a valid configuration gives.
    return endpoint_file().with_name("last_good_config.json")


def _parsed_file() -> Path:
    return endpoint_file().with_name("parsed_config.json")


def _last_good(broken: ConfigError | OSError) -> Config:
    try:
        path = _last_good_file()
        config = convert(json.loads(path.read_text(encoding="utf-8")), ConfigSources).parse()
        written = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(path.stat().st_mtime))
    except (OSError, ValueError):
        raise broken from None
    log.error("the configuration is invalid: %s", broken)
    log.error("using the last good configuration instead, in force since %s UTC", written)
    return config


def _instrument(name: str) -> Layer:
    path = Path(name).expanduser()
    if path.is_absolute():
        return _layer(path)
    # A name or an absolute path: nothing relative to the working directory.
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
        raise ConfigError(f"{link}: mount its disk, or repair the link") from error
    try:
        return Layer(str(path), data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: {not_text_reason(data, error)}") from error
