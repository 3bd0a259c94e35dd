"""The unit for systemd."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from nodes import SCRIPTS, Node, wait_for


def read(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser


@pytest.mark.parametrize("arguments", [(), ("--user",)])
def test_the_unit_is_one_that_systemd_takes(
    fresh_node: Node, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    text = fresh_node.run("darc_systemd_unit", *arguments, check=True).stdout
    unit = read(text)
    assert unit["Service"]["PIDFile"] == str(fresh_node.run_dir / "supervisord.pid")
    assert f"Environment=DARC_HOME={fresh_node.home}\n" in text
    assert f"Environment=DARC_HOSTNAME={fresh_node.hostname}\n" in text
    assert ("User" in unit["Service"]) is not bool(arguments)
    assert unit["Install"]["WantedBy"] == ("default.target" if arguments else "multi-user.target")
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    path = tmp_path / "darc.service"
    path.write_text(text)
    told = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False
    )
    mine = [line for line in told.stderr.splitlines() if "darc.service" in line]
    assert not mine, told.stderr


def test_what_systemd_would_run_starts_and_stops_the_node(
    make_node: Callable[..., Node],
) -> None:
    """As systemd does: the process in PIDFile is the one that it watches, and is there at once."""
    node = make_node(darc_master={"services_master_mix": [], "services_worker_mix": ["processor"]})
    unit = read(node.run("darc_systemd_unit", check=True).stdout)["Service"]
    for key in ("ExecStart", "ExecStop", "ExecStopPost"):
        assert Path(unit[key].removeprefix("-")).parent == SCRIPTS
    node.run(Path(unit["ExecStart"]).name, check=True)
    pid = int(Path(unit["PIDFile"]).read_text())
    assert pid in {process.pid for process in node.processes()}
    # After its death the same command brings everything back.
    node.run(Path(unit["ExecStopPost"]).name, check=True)
    wait_for(lambda: not node.processes())
    node.run(Path(unit["ExecStart"]).name, check=True)
    assert node.states() == {"processor": "running"}
    node.run(Path(unit["ExecStop"]).name, check=True)
    assert not node.processes()


def test_a_path_that_systemd_would_misread_is_refused(make_node: Callable[..., Node]) -> None:
    node = make_node(darc_master={"run_dir": "/tmp/with a blank"})
    told = node.run("darc_systemd_unit")
    assert told.returncode == 1
    assert "'/tmp/with a blank' cannot be used in a systemd unit" in told.stderr
