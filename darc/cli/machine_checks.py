"""Checks of a node's dependencies: Python, configuration, disks, permissions, the clock."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import stat
import struct
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from inotify_simple import INotify

from darc import __version__
from darc.cli.check_results import CheckedNode
from darc.cli.terminal_text import size
from darc.config.config import Role
from darc.monitor.rules import DISK_LEAST, DISK_LITTLE, DISK_SHARE
from darc.node.node_config import config_file
from darc.node.secret import SecretError, read_secret
from darc.runtime.check_result import CheckResult, good, warn, wrong
from darc.runtime.paths import broken_link
from darc.runtime.service_traits import traits_of

_REQUIREMENT = re.compile(r"([\w.-]+)\s*>=\s*([\d.]+)", re.ASCII)
_NUMBERS = re.compile(r"\d+(?:\.\d+)*", re.ASCII)
#: The kernel's state of an unsynchronised clock, and the fields of `struct timex` with its errors.
_TIME_ERROR = 5
_TIMEX_BYTES = 512


def python(checked: CheckedNode) -> Iterator[CheckResult]:
    here = ".".join(map(str, sys.version_info[:3]))
    needed = str(metadata.metadata("darc").json.get("requires_python", ""))
    match = _NUMBERS.search(needed)
    if match and sys.version_info[:2] < _version(match[0])[:2]:
        yield wrong(f"{here}, and {needed} is needed", "install DARC with another Python")
    else:
        yield good(f"{here} at {sys.executable}, DARC {__version__}")


def _version(text: str) -> tuple[int, ...]:
    match = _NUMBERS.match(text)
    return tuple(map(int, match[0].split("."))) if match else (0,)


def packages(checked: CheckedNode) -> Iterator[CheckResult]:
    requirements = [
        match
        for line in metadata.requires("darc") or []
        if ";" not in line and (match := _REQUIREMENT.fullmatch(line.strip()))
    ]
    bad = False
    for match in requirements:
        name, needed = match[1], match[2]
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            bad = True
            yield wrong(f"{name} is missing", f"pip install '{match[0]}'")
            continue
        if _version(found) < _version(needed):
            bad = True
            yield wrong(f"{name} is {found}, and {needed} is needed", f"pip install '{match[0]}'")
    if not bad:
        yield good(f"{len(requirements)} as they are needed")


def configuration(checked: CheckedNode) -> Iterator[CheckResult]:
    if checked.broken is not None:
        for problem in getattr(checked.broken, "problems", (str(checked.broken),)):
            yield wrong(str(problem), "darc edit")
        return
    for warning in checked.config.warnings:
        yield warn(warning, "darc edit")
    if not checked.config.warnings:
        path = config_file()
        yield good(str(path) if path.exists() else f"the default alone, as there is no {path}")


def place(checked: CheckedNode) -> Iterator[CheckResult]:
    """Check that this host is in the cluster."""
    config = checked.config
    if config.role is not Role.STANDALONE:
        yield good(f"{config.hostname} is a {config.role.value} of {len(config.nodes())} nodes")
    elif config.cluster.master or config.cluster.workers:
        yield warn(
            f"{config.hostname} is not in the cluster of {config.cluster.master}, and runs alone",
            "add it to cluster.workers, or set DARC_HOSTNAME to its name there",
        )
    else:
        yield good(f"{config.hostname} runs alone: no cluster is configured")


def _directories(checked: CheckedNode) -> dict[str, Path]:
    config = checked.config
    services = config.services()
    found = {
        "home": config.darc_home,
        "run_dir": config.master.run_dir,
        "log_dir": config.master.log_dir,
        "parset_dir": config.master.parset_dir,
    }
    for name in services:
        if key := traits_of(name).directory:
            found[key] = getattr(config.section(name), key)
    return {name: Path(path) for name, path in found.items()}


def _there(path: Path) -> Path:
    """Return a path, or its nearest existing parent."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def disks(checked: CheckedNode) -> Iterator[CheckResult]:
    by_disk: dict[int, list[str]] = {}
    places: dict[int, Path] = {}
    for name, path in _directories(checked).items():
        there = _there(path)
        device = there.stat().st_dev
        by_disk.setdefault(device, []).append(name)
        places[device] = there
    for device, names in by_disk.items():
        usage = shutil.disk_usage(places[device])
        nodes = os.statvfs(places[device])
        text = f"{size(usage.free)} of {size(usage.total)} free for {', '.join(names)}"
        command = f"df -h {places[device]}"
        if nodes.f_files and not nodes.f_favail:
            yield wrong(
                f"no more files can be created for {', '.join(names)}", f"df -i {command[6:]}"
            )
        elif usage.free < DISK_LEAST:
            yield wrong(text, command)
        elif usage.free < min(DISK_LITTLE, DISK_SHARE * usage.total):
            yield warn(text, command)
        else:
            yield good(text)


def inotify(checked: CheckedNode) -> Iterator[CheckResult]:
    """Check that an inotify instance and a watch can be created."""
    limits = Path("/proc/sys/fs/inotify")
    try:
        with INotify() as instance:
            instance.add_watch("/", 0x100)  # IN_CREATE
    except OSError as error:
        name = "max_user_watches" if error.errno == 28 else "max_user_instances"
        yield wrong(
            f"no more files can be watched: {error.strerror}",
            f"sysctl fs.inotify.{name}={2 * int((limits / name).read_text())}",
        )
        return
    instances = (limits / "max_user_instances").read_text().strip()
    watches = (limits / "max_user_watches").read_text().strip()
    yield good(f"{instances} instances, {watches} watches for each user")


def permissions(checked: CheckedNode) -> Iterator[CheckResult]:
    bad = False
    directories = _directories(checked)
    for name, path in directories.items():
        for problem in _no_directory(name, path):
            bad = True
            yield problem
    run_dir = directories["run_dir"]
    if run_dir.is_dir():
        status = run_dir.stat()
        if status.st_uid != os.getuid():
            bad = True
            yield wrong(f"run_dir {run_dir} belongs to another user", "set darc_master.run_dir")
        elif stat.S_IMODE(status.st_mode) & 0o077 and (run_dir / "node.json").exists():
            bad = True
            yield wrong(f"others can read run_dir {run_dir}", f"chmod 700 {run_dir}")
    if not bad:
        yield good(f"{', '.join(directories)} can be written")


def _no_directory(name: str, path: Path) -> Iterator[CheckResult]:
    there = _there(path)
    if link := broken_link(path):
        yield wrong(f"{name}: {link}", "mount its disk, or repair the link")
    elif not there.is_dir():
        yield wrong(f"{name} {path}: {there} is not a directory", f"ls -ld {there}")
    elif not os.access(there, os.W_OK | os.X_OK):
        yield wrong(f"{name} {path}: {there} cannot be written", f"ls -ld {there}")


def secret(checked: CheckedNode) -> Iterator[CheckResult]:
    path = checked.run_dir / "secret"
    if not path.exists():
        yield good("none yet: the first start makes one")
        return
    try:
        read_secret(path)
    except SecretError as error:
        otherwise = "start_full_pipeline, which places the master node's"
        yield wrong(error.why, error.remedy or otherwise)
    else:
        yield good(f"{path}, for this user alone")


def clock(checked: CheckedNode) -> Iterator[CheckResult]:
    """Check the clock's synchronisation, as reported by chrony, ntpd and the like."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes 0: read only
    state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    if state < 0:
        yield warn(f"not known: {os.strerror(ctypes.get_errno())}", "timedatectl")
    elif state == _TIME_ERROR:
        yield warn("nothing keeps this machine's clock", "timedatectl, chronyc tracking")
    else:
        (most,) = struct.unpack_from("l", buffer, 3 * struct.calcsize("l"))
        yield good(f"kept by NTP, off by at most {most / 1000:.0f} ms")
