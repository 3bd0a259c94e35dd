"""Reading the configuration of this node."""

from __future__ import annotations

import os
from pathlib import Path

from darc.model.config import Config, ConfigError, Layer, parse_config
from darc.node.files import darc_home, hostname, packaged


def config_file() -> Path:
    """The operator's configuration file, which may not exist: $DARC_CONFIG, or in the home."""
    return Path(os.environ.get("DARC_CONFIG") or darc_home() / "config.yaml")


def load_config(path: Path | None = None) -> Config:
    """Read this node's configuration: the packaged default, and the operator's file over it.

    :param path: the operator's file; by default $DARC_CONFIG or else `config.yaml` in the
        node's home. Only the latter need not exist.
    :raises ConfigError: the configuration is wrong
    :raises OSError: a file that is named cannot be read
    """
    layers = [_layer(packaged("conf/default.yaml"))]
    named = path is not None or bool(os.environ.get("DARC_CONFIG"))
    path = path or config_file()
    if named or path.exists():
        layers.append(_layer(path))
    return parse_config(
        layers,
        home=str(Path.home()),
        darc_home=str(darc_home()),
        hostname=hostname(),
        instruments=_instrument,
    )


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
        return Layer(str(path), path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 text (byte {error.start})"]) from error
