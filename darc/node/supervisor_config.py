"""supervisord's configuration of a node, rendered from the sections in ``supervisor/``."""

from __future__ import annotations

import configparser
import io
import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from darc.config.config import Config, ConfigError
from darc.node.process_names import MASTER, MONITOR
from darc.node.supervisor import MAX_SOCKET_PATH
from darc.runtime.paths import packaged, write_whole
from darc.runtime.untrusted_files import MAX_TEXT, read_regular

#: In supervisord's environment: a blank, for where it would be taken for another thing.
BLANK = "DARC_BLANK"

# supervisord expands the values of these options twice.
_EXPANDED_TWICE = {"stdout_logfile", "stderr_logfile", "supervisord environment"}
# supervisord replaces this everywhere, even if the % is doubled.
_HERE = "%(here)s"
_SECTION = re.compile(r"\[(?P<name>[^]]+)\]")
_OPTION = re.compile(r"(?P<name>[^\s=:;#][^=:]*?)\s*[=:]")
_REFERENCE = re.compile(r"\$(?:\$|\{(?P<name>\w+)\}|(?P<bare>\w+)|(?P<rest>))")


def render(config: Config) -> dict[Path, str]:
    """Return the rendered text of each configuration file below run_dir.

    :raises ConfigError: a section is missing or invalid, or a path cannot be used
    """
    check_paths(config)
    run_dir = Path(config.master.run_dir)
    files = {run_dir / "supervisord.conf": _fill(config, "supervisord", MASTER)}
    for service in (MASTER, MONITOR, *config.services()):
        section = f"program:{service}"
        options = {
            **_section(config, "defaults", "defaults", service),
            **_section(config, service, section, service),
        }
        _check_single(config, service, options)
        files[run_dir / "supervisor.d" / f"{service}.conf"] = _text(section, options)
    return files


def check_paths(config: Config) -> None:
    """Check for paths that cannot be written in supervisord's configuration.

    :raises ConfigError: a path has a line break, or is too long for a socket
    """
    longest = f"{config.master.run_dir}/supervisord.sock"
    length = len(os.fsencode(longest))
    if length > MAX_SOCKET_PATH:
        raise ConfigError(
            f"{longest}: this socket path has {length} characters, the system allows"
            f" {MAX_SOCKET_PATH}; set darc_master.run_dir to a shorter path"
        )
    paths = {
        "darc_master.run_dir": config.master.run_dir,
        "darc_master.log_dir": config.master.log_dir,
        **{
            f"{name}.log_file": config.log_file(name)
            for name in (MASTER, MONITOR, *config.services())
        },
        "Python's": sys.executable,
    }
    for name, path in paths.items():
        if not path.isprintable() or _HERE in path:
            raise ConfigError(
                f"{name} path {path!r} contains {_HERE}, a line break, or another character"
                " that supervisord's configuration cannot contain; use another path"
            )


def working_directory(config: Config) -> str:
    """Return supervisord's working directory: run_dir if its path is not usable as a pattern."""
    run_dir = config.master.run_dir
    return "/" if _is_plain_pattern(run_dir) else run_dir


def write(files: Mapping[Path, str]) -> None:
    """Write rendered files, and remove sections of services that no longer exist."""
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(
            path, os.fsencode(text), durable=False
        )  # in the encoding in which supervisord, with the same locale, reads it
    sections = {path.parent for path in files if path.parent.name == "supervisor.d"}
    for directory in sections:
        for path in directory.glob("*.conf"):
            if path not in files:
                path.unlink()


def _find(config: Config, name: str) -> Path:
    """Return the path of a section: the operator's own, or else the packaged one."""
    own = Path(config.darc_home) / "supervisor" / f"{name}.conf"
    if os.path.lexists(own):  # a dangling link is an error
        return own
    try:
        return packaged(f"supervisor/{name}.conf")
    except FileNotFoundError:
        raise ConfigError(
            f"service {name} has no section: neither {own} nor a packaged one"
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
    lines = []
    section = option = ""
    for number, line in enumerate(os.fsdecode(read_regular(path, MAX_TEXT)).splitlines(), 1):
        if found := _SECTION.match(line):
            section, option = found["name"], ""
        elif found := _OPTION.match(line):
            option = found["name"].lower()
        try:
            filled = _REFERENCE.sub(
                lambda match: _escaped_value(match, values, section, option),  # noqa: B023 - called at once
                line,
            )
        except ValueError as error:
            raise ConfigError(f"{path}:{number}: {error}") from error
        lines.append(filled)
    return "".join(f"{line}\n" for line in lines)


def _escaped_value(
    match: re.Match[str], values: Mapping[str, str], section: str, option: str
) -> str:
    """Return a value, escaped such that supervisord reads it unchanged in an option.

    :raises ValueError: there is no such value, or it cannot be used in this option
    """
    if match[0] == "$$":
        return "$"
    if match["rest"] is not None:
        raise ValueError("a $ that is not followed by a name in braces; write $$ for a literal $")
    name = match["name"] or match["bare"]
    if name not in values:
        raise ValueError(f"unknown ${{{name}}}; allowed are {', '.join(values)}")
    value = values[name]
    if section == "supervisorctl" and name == "run_dir" and value != shlex.quote(value):
        return _HERE  # here our environment variables are not available
    if (section, option) == ("include", "files") and not _is_plain_pattern(value):
        # split at spaces, and used as a pattern
        if name == "run_dir":
            return "/proc/self/cwd"
        raise ValueError(f"${{{name}}}, {value!r}, cannot be used in files of [include]")
    if option == "environment" and not {"'", '"', "\\"}.isdisjoint(value):
        raise ValueError(
            f"${{{name}}}, {value!r}, cannot be used in environment: it contains quotes"
        )
    twice = option in _EXPANDED_TWICE or f"{section} {option}" in _EXPANDED_TWICE
    escaped = value.replace("%", "%%%%" if twice else "%%")
    # After a space, these start a comment; a trailing space is stripped.
    return re.sub(r"^ | (?=[;#]|$)", f"%(ENV_{BLANK})s", escaped)


def _is_plain_pattern(path: str) -> bool:
    """Whether a path is a single pattern that only matches itself."""
    return not re.search(r"[\s*?\[\]%]", path)


def _section(config: Config, name: str, section: str, service: str) -> dict[str, str]:
    path = _find(config, name)
    parser = configparser.RawConfigParser(strict=True, delimiters=("=",))
    try:
        parser.read_string(_fill(config, name, service), source=str(path))
        return dict(parser.items(section))
    except configparser.Error as error:
        raise ConfigError(f"{path}: {error}") from error


def _check_single(config: Config, service: str, options: Mapping[str, str]) -> None:
    """Check that a section defines a single process with the name of the service.

    :raises ConfigError: it does not
    """
    allowed = {"numprocs": "1", "process_name": "%(program_name)s"}
    for option, value in allowed.items():
        if options.get(option, value) != value:
            path = _find(config, service)
            raise ConfigError(
                f"{path}: {option}={options[option]}: a service is one process; allowed: {value}"
            )


def _text(section: str, options: Mapping[str, str]) -> str:
    parser = configparser.RawConfigParser()
    parser[section] = dict(options)
    text = io.StringIO()
    parser.write(text, space_around_delimiters=False)
    return text.getvalue()
