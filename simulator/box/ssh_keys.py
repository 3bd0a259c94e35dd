"""Keys and configuration of OpenSSH for a box, independent of those of the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from simulator.box.hosts import Host
from simulator.box.namespaces import BoxError, finish, tools_environment

PORT = 22
_LISTENS = "0A"

_SSH_CONFIG = """\
Host *
    User root
    Port {port}
    AddressFamily inet
    IdentityFile {directory}/id_ed25519
    IdentitiesOnly yes
    UserKnownHostsFile {directory}/ssh_known_hosts
    GlobalKnownHostsFile none
    StrictHostKeyChecking yes
    UpdateHostKeys no
    BatchMode yes
"""

_SSHD_CONFIG = """\
AddressFamily inet
Port {port}
HostKey {directory}/{name}.key
AuthorizedKeysFile {directory}/authorized_keys
AuthenticationMethods publickey
PermitRootLogin prohibit-password
# The directory may be below /tmp, to which everybody can write.
StrictModes no
UsePAM no
UseDNS no
PidFile none
PrintMotd no
PrintLastLog no
MaxStartups 200
MaxSessions 200
Subsystem sftp internal-sftp
SetEnv {environment}
"""


def write_keys(directory: Path, hosts: Sequence[Host]) -> None:
    """Create a key for the box and one for every host, and write ssh's configuration.

    It is what a node has as /etc/ssh: `ssh worker01` works there without `-F`, too.

    :raises BoxError: ssh-keygen failed
    """
    directory.mkdir(mode=0o700, parents=True)
    box_key = _make_key(directory / "id_ed25519", "box")
    (directory / "authorized_keys").write_text(box_key)
    known = [
        f"{host.name},{host.address} {_make_key(directory / f'{host.name}.key', host.name)}"
        for host in hosts
    ]
    (directory / "ssh_known_hosts").write_text("".join(known))
    (directory / "ssh_config").write_text(_SSH_CONFIG.format(port=PORT, directory=directory))


def write_sshd_config(directory: Path, host: Host, environment: Mapping[str, str]) -> Path:
    """Write the configuration of a host's sshd.

    :param environment: of every session
    """
    path = directory / f"sshd_config.{host.name}"
    variables = " ".join(f'"{name}={value}"' for name, value in environment.items())
    path.write_text(
        _SSHD_CONFIG.format(port=PORT, directory=directory, name=host.name, environment=variables)
    )
    return path


def sshd_command(config: Path, log: Path) -> list[str]:
    """Return the command of an sshd in the foreground.

    :raises BoxError: it is not installed
    """
    sshd = shutil.which("sshd", path=tools_environment()["PATH"])
    if sshd is None:
        raise BoxError("sshd is not installed (Debian: openssh-server)")
    # It starts itself again for every connection, and wants its whole path for that.
    return [os.path.realpath(sshd), "-D", "-f", str(config), "-E", str(log)]


def listens(pid: int) -> bool:
    """Whether sshd is listening.

    :param pid: a process in its network namespace
    """
    with open(f"/proc/{pid}/net/tcp") as table:  # noqa: PTH123
        rows = [line.split() for line in table]
    return any(row[1].endswith(f":{PORT:04X}") and row[3] == _LISTENS for row in rows)


def _make_key(path: Path, comment: str) -> str:
    """Create a pair of keys; return the public one, as a line."""
    finish(
        subprocess.Popen(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)],
            env=tools_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    )
    return path.with_name(f"{path.name}.pub").read_text()
