"""Another machine, in namespaces: it has a node's home, but not its processes and network."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess

COMMAND_SECONDS = 20.0
#: What was started is left alone for so long, and then ended (s).
LEFT_ALONE_SECONDS = 0.5


def missing() -> str:
    """Why there can be none; empty: there can."""
    if os.geteuid() != 0:
        return "a second machine needs root"
    return "" if shutil.which("unshare") else "not installed: unshare"


def run_there(words: list[str], environment: dict[str, str], hostname: str) -> None:
    """Run a command, whatever comes of it; all that it starts ends with it.

    :param environment: with the node's home
    """
    # The shell is its first process: all others end when it does.
    inside = f'hostname "$0"; ip link set lo up; "$@"; sleep {LEFT_ALONE_SECONDS}'
    namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--mount-proc")
    command = ["unshare", *namespaces, "--fork", "--kill-child", "sh", "-c", inside, hostname]
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(
            [*command, *words],
            env={**environment, "DARC_HOSTNAME": hostname},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
            check=False,
        )
