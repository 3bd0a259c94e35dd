"""supervisord's configuration of a node, made from the sections in ``supervisor/``."""

from __future__ import annotations

import configparser
import io
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template

from darc.model.config import Config, ConfigError
from darc.node.files import packaged
from darc.node.supervisor import MAX_SOCKET_PATH

MASTER = "darc_master"


def render(config: Config) -> dict[Path, str]:
    """Everything resolved: the text of each file below run_dir.

    :raises ConfigError: a section is missing or broken, or run_dir is too long for a socket
    """
    run_dir = Path(config.master.run_dir)
    longest = run_dir / "supervisord.sock"
    if len(str(longest).encode()) > MAX_SOCKET_PATH:
        raise ConfigError(
            [
                f"{longest}: this path of a socket has {len(str(longest).encode())} characters,"
                f" the system allows {MAX_SOCKET_PATH}; set darc_master.run_dir to a shorter one"
            ]
        )
    files = {run_dir / "supervisord.conf": _fill(config, "supervisord", MASTER)}
    for service in (MASTER, *config.services()):
        section = f"program:{service}"
        options = {
            **_section(config, "defaults", "defaults", service),
            **_section(config, service, section, service),
        }
        files[run_dir / "supervisor.d" / f"{service}.conf"] = _text(section, options)
    return files


def write(files: Mapping[Path, str]) -> None:
    """Write rendered files, and remove sections of services that are no more."""
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_text(text)
        temporary.replace(path)
    sections = {path.parent for path in files if path.parent.name == "supervisor.d"}
    for directory in sections:
        for path in directory.glob("*.conf"):
            if path not in files:
                path.unlink()


def _find(config: Config, name: str) -> Path:
    """A section of the operator's own wins over the packaged one."""
    own = Path(config.darc_home) / "supervisor" / f"{name}.conf"
    if own.exists():
        return own
    try:
        return packaged(f"supervisor/{name}.conf")
    except FileNotFoundError:
        raise ConfigError(
            [f"service {name} has no section: neither {own} nor a packaged one"]
        ) from None


def _fill(config: Config, name: str, service: str) -> str:
    path = _find(config, name)
    values = {
        "python": shlex.quote(sys.executable),
        "hostname": config.hostname,
        "run_dir": config.master.run_dir,
        "log_dir": config.master.log_dir,
        "log_file": config.log_file(service),
        "log_max_bytes": str(config.master.log_max_bytes),
        "log_backups": str(config.master.log_backups),
        "log_format": config.master.log_format,
        "stop_timeout": str(max(1, round(config.master.stop_timeout))),
    }
    # supervisord expands %(…)s itself
    escaped = {key: value.replace("%", "%%") for key, value in values.items()}
    try:
        return Template(path.read_text()).substitute(escaped)
    except KeyError as error:
        known = ", ".join(values)
        raise ConfigError([f"{path}: unknown ${{{error.args[0]}}}; known are {known}"]) from error
    except ValueError as error:
        raise ConfigError([f"{path}: {error}"]) from error


def _section(config: Config, name: str, section: str, service: str) -> dict[str, str]:
    path = _find(config, name)
    parser = configparser.RawConfigParser(strict=True, delimiters=("=",))
    try:
        parser.read_string(_fill(config, name, service), source=str(path))
        return dict(parser.items(section))
    except configparser.Error as error:
        raise ConfigError([f"{path}: {error}"]) from error


def _text(section: str, options: Mapping[str, str]) -> str:
    parser = configparser.RawConfigParser()
    parser[section] = dict(options)
    text = io.StringIO()
    parser.write(text, space_around_delimiters=False)
    return text.getvalue()
