"""A disk that is full keeps nothing from coming back, and leaves nothing half written."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nodes import Node, only, wait_for

from darc.node.secret import SecretError, make_secret, read_secret, replace_secret
from darc.runtime import paths
from darc.runtime.paths import write_new, write_whole

SMALL = only("lofar_trigger")


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """The mount point of a file system of 256 kB."""
    directory = Path(tempfile.mkdtemp(prefix="darc-disk-", dir="/tmp"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0755", "tmpfs", str(directory)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        directory.rmdir()
        pytest.skip("no file system can be mounted: this takes root")
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)
    directory.rmdir()


def fill(disk: Path) -> None:
    """Leave not one block."""
    with (disk / "filling").open("ab", buffering=0) as file:
        while os.statvfs(disk).f_bavail:
            file.write(b"x" * 4096)


def make_room(disk: Path) -> None:
    (disk / "filling").unlink()


def replace_home(node: Node, home: Path) -> None:
    """Have the node live there."""
    shutil.copy(node.home / "config.yaml", home)
    node.environment["DARC_HOME"] = str(home)


def test_a_first_start_on_a_full_disk_works_once_there_is_room(
    small_disk: Path, make_node: Callable[..., Node]
) -> None:
    node = make_node(darc_master=SMALL)
    node.run_dir = small_disk / "run"
    node.run_dir.mkdir(mode=0o700)
    node.configure(darc_master={"run_dir": str(node.run_dir)})
    fill(small_disk)
    result = node.call("darc_start_master")
    assert result.returncode == 1
    assert "No space left on device" in result.stderr
    assert str(node.run_dir) in result.stderr
    assert "Traceback" not in result.stderr
    assert not (node.run_dir / "secret").exists()
    assert not list(node.run_dir.glob(".*.new"))
    # What the version before left.
    (node.run_dir / "secret").touch(0o600)
    with pytest.raises(SecretError):
        read_secret(node.run_dir / "secret")
    assert "No space left on device" in node.call("darc_start_master").stderr

    make_room(small_disk)
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    result = node.call("darc_start_master")
    assert result.returncode == 0, result.stderr
    assert f"{node.run_dir}/secret: was empty" in result.stdout
    assert len(read_secret(node.run_dir / "secret")) == 64
    assert node.darc("reload").returncode == 0


def test_a_master_comes_back_while_its_home_is_full(
    small_disk: Path, make_node: Callable[..., Node]
) -> None:
    node = make_node(darc_master=SMALL)
    replace_home(node, small_disk)
    run_dir = node.home / "local"
    node.run_dir = run_dir
    (small_disk / "config.yaml").unlink()
    node.configure(darc_master={"run_dir": str(run_dir), "log_dir": str(node.home / "log")})
    shutil.copy(node.home / "config.yaml", small_disk)
    result = node.call("darc_start_all_services")
    assert result.returncode == 0, result.stdout + result.stderr
    endpoint = small_disk / "run" / node.hostname / "endpoint.json"

    for damage in ("", "removed"):
        fill(small_disk)
        if damage:
            endpoint.unlink()
            fill(small_disk)
        before = node.pid("darc_master")
        os.kill(before, signal.SIGKILL)
        port = ("--port", str(node.port), "--service", "all", "status")
        wait_for(
            lambda: node.pid("darc_master") not in (0, before) and not node.darc(*port).returncode,  # noqa: B023
            60.0,
            "the master is back",
        )
        master = node.pid("darc_master")
        if damage:
            assert not endpoint.exists()
        make_room(small_disk)
        wait_for(endpoint.exists, 30.0, "the endpoint file is back")
        wait_for(lambda: node.states() == {"lofar_trigger": "running"})
        assert node.pid("darc_master") == master
    assert node.call("darc_stop_master").returncode == 0
    assert not endpoint.exists()


def test_a_secret_is_whole_or_not_there(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    assert make_secret(secret) is False
    first = read_secret(secret)
    assert make_secret(secret) is False
    assert read_secret(secret) == first
    # One that is cut off may be somebody's: it is refused, and kept.
    secret.write_text("0123")
    assert make_secret(secret) is False
    assert secret.read_text() == "0123"
    secret.write_text("")
    assert make_secret(secret) is True
    assert len(read_secret(secret)) == 64
    replace_secret(secret, "0" * 64)
    assert read_secret(secret) == b"0" * 64
    assert list(tmp_path.iterdir()) == [secret]
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_whole_files_on_a_full_disk(small_disk: Path) -> None:
    kept = small_disk / "kept"
    write_whole(kept, "before", durable=True)
    fill(small_disk)
    for write in (write_whole, write_new):
        for path in (kept, small_disk / "new"):
            if write is write_new and path is kept:
                continue
            with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
                write(path, "x" * 8192)
    assert kept.read_text() == "before"
    assert {path.name for path in small_disk.iterdir()} == {"kept", "filling"}


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_the_mode_of_a_whole_file_is_there_from_its_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    seen = []

    def noted(descriptor: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))

    monkeypatch.setattr(paths.os, "fsync", noted)
    before = os.umask(0)
    try:
        write_whole(tmp_path / "file", "x", durable=True, mode=mode)
    finally:
        os.umask(before)
    assert seen[0] == mode  # of the file; then the directory's
    assert len(seen) == 2


def test_a_name_that_is_taken_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert write_new(path, "first")
    assert not write_new(path, "second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match=str(tmp_path / "away")) as caught:
        write_new(tmp_path / "away" / "file", "x")
    assert caught.value.errno == errno.ENOENT
