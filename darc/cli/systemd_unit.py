"""``darc_systemd_unit``: a systemd unit that starts this node after a reboot."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import sysconfig
from pathlib import Path

from darc.config.config import Config, ConfigError
from darc.node.node_config import config_file, load_config
from darc.runtime.program import as_program

# Time beyond the scripts' own timeouts (s).
MARGIN_SECONDS = 60

_UNIT = """\
# Made by darc_systemd_unit for {hostname}. {where}
[Unit]
Description=DARC, Data Analysis of Real-time Candidates
Documentation=file:{home}
{order}
[Service]
# supervisord daemonizes, and systemd watches it. If it crashes, its services exit, and all of them
# are started again.
Type=forking
PIDFile={run_dir}/supervisord.pid
{user}{environment}ExecStart={scripts}/darc_start_all_services
ExecStop={scripts}/darc_stop_master
ExecStopPost=-{scripts}/darc_kill_all
KillMode=mixed
Restart=always
RestartSec=2
TimeoutStartSec={start_seconds}
TimeoutStopSec={stop_seconds}

[Install]
WantedBy={target}
"""
_WHERE = {
    True: "Goes to ~/.config/systemd/user/darc.service, then:\n"
    "#   systemctl --user daemon-reload && systemctl --user enable --now darc\n"
    "#   loginctl enable-linger     # or it would end with your last login",
    False: "Goes to /etc/systemd/system/darc.service, then:\n"
    "#   systemctl daemon-reload && systemctl enable --now darc",
}


def unit(config: Config, *, for_user: bool) -> str:
    """Return the text of the unit.

    :param for_user: for the user's systemd instance, not the system's
    :raises ValueError: a path contains characters that systemd interprets
    """
    run_dir, scripts = config.master.run_dir, sysconfig.get_path("scripts")
    values = {
        "DARC_HOME": config.darc_home,
        "DARC_CONFIG": str(config_file().absolute()),
        "DARC_HOSTNAME": config.hostname,
    }
    environment = {name: value for name, value in values.items() if os.environ.get(name)}
    for text in (run_dir, scripts, config.darc_home, *environment.values()):
        if not text.isprintable() or any(letter in text for letter in " \"'%\\$;"):
            raise ValueError(
                f"{text!r} cannot be used in a systemd unit: use a path of plain letters"
            )
    user = "" if for_user else f"User={_user()}\n"
    order = "" if for_user else "After=network-online.target\nWants=network-online.target\n"
    return _UNIT.format(
        hostname=config.hostname,
        where=_WHERE[for_user],
        home=config.darc_home,
        order=order,
        run_dir=run_dir,
        user=user,
        environment="".join(f"Environment={name}={value}\n" for name, value in environment.items()),
        scripts=scripts,
        start_seconds=round(2 * MARGIN_SECONDS),
        stop_seconds=round(config.master.stop_timeout + MARGIN_SECONDS),
        target="default.target" if for_user else "multi-user.target",
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # as in containers
        return str(os.getuid())


@as_program
def main() -> int:
    """Print the unit."""
    parser = argparse.ArgumentParser(
        prog=Path(sys.argv[0]).name,
        description="Print a systemd unit for this node, so that it comes back after a reboot.",
    )
    parser.add_argument("--user", action="store_true", help="for your own systemd")
    options = parser.parse_args()
    try:
        print(unit(load_config(), for_user=options.user), end="")
    except (ConfigError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0
