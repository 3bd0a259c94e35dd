"""Check of the requirements of a box."""

from __future__ import annotations

import os
import shutil

from simulator.box.namespaces import MACHINE, BoxError, Space, tools_environment
from simulator.box.network import Network

#: The programs of the system that a box needs, and the Debian packages they are in.
PROGRAMS = {
    "cat": "coreutils",
    "env": "coreutils",
    "mount": "mount",
    "ip": "iproute2",
    "tc": "iproute2",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}

_TRIAL = """
mount --make-rprivate /
mount -t proc proc /proc
ip link add name trial0 type veth peer name trial1
tc qdisc add dev trial0 root tbf rate 1mbit burst 3200 latency 1ms
"""


def unavailable() -> str | None:
    """Return why a box cannot be created here; None if it can."""
    if os.geteuid() != 0:
        return "a box can only be made by root"
    path = tools_environment()["PATH"]
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        packages = dict.fromkeys(PROGRAMS[name] for name in missing)
        return f"not installed: {', '.join(missing)} (Debian: {' '.join(packages)})"
    try:
        trial = Space(MACHINE)
    except BoxError as error:
        return str(error)
    try:
        trial.run("sh", "-ec", _TRIAL)
        Network().end()
    except BoxError as error:
        return f"a node's namespaces cannot be set up here: {error}"
    finally:
        trial.end()
    return None
