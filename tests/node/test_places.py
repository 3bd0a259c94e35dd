"""Homes and host names of every kind: they work, or are refused by name and leave nothing."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from nodes import SCRIPTS, Node, only
from supervisor.options import ClientOptions, ServerOptions

from darc.config.config import Config, ConfigError, Layer, parse_config
from darc.node import supervisor_config
from darc.node.node_identity import NodeError
from darc.node.parent_directories import check_above
from darc.runtime.paths import PlaceError, darc_home, hostname, packaged
from darc.runtime.service_traits import built_in_sections

SMALL = only("lofar_trigger")
#: Whatever supervisord's configuration, its patterns, shells or formats take for something else.
ODD = "my home %(x)s ;a #b [c] * ? 'q' \"d\" $e \\ {f} ~ é&="


@pytest.fixture
def odd_home(make_node: Callable[..., Node]) -> Iterator[Callable[[str], Node]]:
    """Make a node of one service whose home has a name of that kind."""
    parent = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))

    def make(name: str) -> Node:
        node = make_node(darc_master=SMALL)
        home = parent / name
        home.mkdir()
        shutil.copy(node.home / "config.yaml", home)
        node.environment["DARC_HOME"] = str(home)
        shutil.rmtree(node.home)
        node.home = home
        node.run_dir = home / "run" / node.hostname
        return node

    yield make
    shutil.rmtree(parent, ignore_errors=True)


@pytest.mark.parametrize("name", ["100% ;a #b 'q' \"d\" é", "[c]*?", ODD[:46]])
def test_a_home_of_any_name_works(odd_home: Callable[[str], Node], name: str) -> None:
    node = odd_home(name)
    # What a pattern or a split path would find, as if of another user.
    for other in ("my", "100", "c-"):
        strange = node.home.parent / other / "run" / node.hostname / "supervisor.d"
        strange.mkdir(parents=True)
        (strange / "x.conf").write_text("[program:stranger]\ncommand=/bin/sleep 600\n")
    result = node.call("darc_start_all_services")
    assert result.returncode == 0, result.stdout + result.stderr
    assert set(node.supervisor.processes()) == {"darc_master", "darc_monitor", "lofar_trigger"}
    assert node.states() == {"lofar_trigger": "running"}
    log = node.home / "log" / f"lofar_trigger.{node.hostname}.log"
    assert "lofar_trigger" in log.read_text()
    conf = node.run_dir / "supervisord.conf"
    result = subprocess.run(
        [str(SCRIPTS / "supervisorctl"), "-c", str(conf), "status", "lofar_trigger"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    # It runs for us as soon as it works; for supervisord a second later.
    assert re.search("RUNNING|STARTING", result.stdout), result.stderr
    assert node.darc("reload").returncode == 0
    assert node.call("darc_stop_master").returncode == 0
    assert node.processes() == []
    made = {path.name for path in node.home.parent.iterdir()}
    assert made == {name, "my", "100", "c-"}


# -- supervisord's own reading ---------------------------------------------------------------------


def config_of(home: str, **places: str) -> Config:
    layer = packaged("conf/default.yaml")
    config = parse_config(
        [Layer(str(layer), layer.read_text())],
        services=built_in_sections(),
        home="/nowhere",
        darc_home="/nowhere",
        hostname="testnode",
        instruments=lambda name: Layer(
            name, packaged(f"conf/{name}.yaml").read_text(encoding="utf-8")
        ),
    )
    master = replace(config.master, run_dir=f"{home}/run", log_dir=f"{home}/log", **places)
    trigger = replace(config.lofar_trigger, log_file=f"{home}/log/lofar_trigger.log")
    sections = {**config.of_services, "lofar_trigger": trigger}
    return replace(config, darc_home=home, master=master, of_services=sections)


paths = st.text(
    st.sampled_from(" ;#%[]*?'\"$\\{}()~=:,&!|<>`aé") | st.characters(categories=["L", "S"]),
    min_size=1,
    max_size=12,
).filter(lambda text: text.isprintable() and text not in {".", ".."} and "%(here)s" not in text)


@settings(max_examples=60)
@given(name=paths)
@example(name=" ;")
@example(name="%(x)s ")
@example(name="a #")
def test_supervisord_reads_the_paths_that_were_meant(name: str) -> None:
    with tempfile.TemporaryDirectory(prefix="d", dir="/tmp") as parent:
        home = f"{parent}/{name}"
        config = config_of(home)
        run_dir = Path(config.master.run_dir)
        Path(config.master.log_dir).mkdir(parents=True)
        run_dir.mkdir()
        python = f"{home}/python"
        with patch.object(sys, "executable", python):
            files = supervisor_config.render(config)
        for service in config.services():
            if service != "lofar_trigger":  # those log to the home of the default
                del files[run_dir / "supervisor.d" / f"{service}.conf"]
        for other in ("darc_master", "darc_monitor"):
            del files[run_dir / "supervisor.d" / f"{other}.conf"]
        supervisor_config.write(files)
        conf = str(run_dir / "supervisord.conf")
        here = Path.cwd()
        os.chdir(supervisor_config.working_directory(config))
        try:
            with patch.dict(os.environ, {supervisor_config.BLANK: " "}):
                server = ServerOptions()
                server.realize(["-c", conf])
            client = ClientOptions()  # in a shell, which knows nothing of ours
            client.realize(["-c", conf, "status"])
        finally:
            os.chdir(here)
        options = server.configroot.supervisord
        assert options.logfile == f"{home}/log/supervisord.testnode.log"
        assert options.pidfile == f"{run_dir}/supervisord.pid"
        assert [one["file"] for one in options.server_configs] == [f"{run_dir}/supervisord.sock"]
        (group,) = options.process_group_configs
        (program,) = group.process_configs
        assert program.name == "lofar_trigger"
        assert program.stdout_logfile == f"{home}/log/lofar_trigger.log"
        assert program.command.split(" -P ")[0] == supervisor_config.shlex.quote(python)
        assert supervisor_config.shlex.split(program.command)[0] == python
        assert client.serverurl == f"unix://{run_dir}/supervisord.sock"


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's."""
    with tempfile.TemporaryDirectory(prefix="d", dir="/tmp") as directory:
        yield Path(directory)


def test_an_operators_own_sections_are_told_the_same(short: Path) -> None:
    home = f"{short}/my 100% home"
    own = Path(home) / "supervisor"
    own.mkdir(parents=True)
    (own / "lofar_trigger.conf").write_text(
        "[program:lofar_trigger]\ncommand=/bin/true ${log_dir}\n"
        "directory=${run_dir}\nenvironment=X=\"${log_dir}\",Y='$$'\n"
    )
    files = supervisor_config.render(config_of(home))
    text = files[Path(home) / "run" / "supervisor.d" / "lofar_trigger.conf"]
    assert f"directory={home.replace('%', '%%')}/run\n" in text
    assert "Y='$'" in text
    (own / "lofar_trigger.conf").write_text("[program:lofar_trigger]\ncommand=a $ b\n")
    with pytest.raises(ConfigError, match=r"lofar_trigger\.conf:2: .*\$\$"):
        supervisor_config.render(config_of(home))


@pytest.mark.parametrize(
    ("option", "where"),
    [("environment=X='${log_dir}'", "quotes"), ("files=${log_dir}/*.conf", "include")],
)
def test_what_cannot_stand_in_an_option_is_named(short: Path, option: str, where: str) -> None:
    home = f"{short}/it's 1"
    own = Path(home) / "supervisor"
    own.mkdir(parents=True)
    section = "include" if option.startswith("files") else "supervisord"
    (own / "supervisord.conf").write_text(f"[{section}]\n{option}\n")
    with pytest.raises(ConfigError, match=rf"supervisord\.conf:2: .*{where}"):
        supervisor_config.render(config_of(home))


# -- refused by name, before anything is made ------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../../evil", "a/b", "a\nb", "..", ".", "-x", "a b", "a%b", "a*", "x" * 65, "a\x1bb"]
)
def test_a_host_name_that_is_none_is_refused(fresh_node: Node, name: str) -> None:
    fresh_node.environment["DARC_HOSTNAME"] = name
    scripts = ("darc_start_master", "darc_kill_all", "darc_stop_master", "darc_systemd_unit")
    some = name == "../../evil"
    for script in scripts if some else scripts[:1]:
        result = (fresh_node.run if some else fresh_node.call)(script)
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        assert f"DARC_HOSTNAME {name!r} is invalid" in result.stderr, script
    assert [path.name for path in fresh_node.home.iterdir()] == ["config.yaml"]
    if name == "../../evil":
        result = fresh_node.darc("--service", "all", "status")
        assert f"DARC_HOSTNAME {name!r} is invalid" in result.stdout
        assert result.returncode == 1
    assert not (fresh_node.home / "run" / name / "endpoint.json").exists()


def test_a_home_with_a_line_break_is_refused(fresh_node: Node) -> None:
    fresh_node.environment["DARC_HOME"] = f"{fresh_node.home}/a\n[program:x]"
    for script in ("darc_start_master", "darc_kill_all", "darc_stop_master"):
        result = fresh_node.call(script)
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        assert f"DARC_HOME '{fresh_node.home}/a\\n[program:x]'" in result.stderr
    assert [path.name for path in fresh_node.home.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("key", ["run_dir", "log_dir"])
def test_a_path_that_supervisord_cannot_be_told_is_refused(fresh_node: Node, key: str) -> None:
    for name in ("a\n[program:x]", "%(here)s"):
        fresh_node.configure(darc_master={key: f"{fresh_node.home}/{name}"})
        result = fresh_node.call("darc_start_master")
        assert result.returncode == 1
        assert f"darc_master.{key} path {f'{fresh_node.home}/{name}'!r}" in result.stderr
    assert [path.name for path in fresh_node.home.iterdir()] == ["config.yaml"]


def test_ordinary_names_are_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("arts001", "arts-001", "node_1", "a.b", "Übung", "x" * 64):
        monkeypatch.setenv("DARC_HOSTNAME", name)
        assert hostname() == name
    monkeypatch.setenv("DARC_HOSTNAME", "")
    assert hostname()
    monkeypatch.setenv("DARC_HOME", "/a\tb")
    with pytest.raises(PlaceError):
        darc_home()


# -- who may write above run_dir -------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory in which this user alone may write, as are all above it."""
    tmp_path.chmod(0o755)
    (tmp_path / "project").mkdir(mode=0o755)
    check_above(tmp_path / "project" / "run")
    return tmp_path / "project"


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="giving a directory away takes root")


@needs_root
@pytest.mark.parametrize("below", ["run", "not/there/yet/run"])
def test_a_run_dir_below_another_users_directory_is_refused(tree: Path, below: str) -> None:
    os.chown(tree, 12345, 0)
    with pytest.raises(NodeError, match=f"{tree} above it belongs to user 12345.*run_dir"):
        check_above(tree / below)


@needs_root
def test_a_run_dir_behind_another_users_link_is_refused(tree: Path) -> None:
    (tree.parent / "mine").mkdir()
    link = tree.parent / "link"
    link.symlink_to("mine")
    check_above(link / "run")
    os.chown(link, 12345, 0, follow_symlinks=False)
    with pytest.raises(NodeError, match="link above it belongs to user 12345"):
        check_above(link / "run")
    os.chown(link, 0, 0, follow_symlinks=False)
    # Where the link leads to, and the links on the way there.
    os.chown(tree, 12345, 0)
    (tree / "further").symlink_to(tree.parent / "mine")
    link.unlink()
    link.symlink_to("project/../project/further")
    with pytest.raises(NodeError, match="project above it belongs to user 12345"):
        check_above(link / "run")


@pytest.mark.parametrize(("mode", "who"), [(0o757, "everybody"), (0o2775, "the group 54321")])
def test_a_run_dir_below_what_others_write_is_refused(tree: Path, mode: int, who: str) -> None:
    if "group" in who:
        if os.getuid() != 0:
            pytest.skip("giving a directory to a group takes root")
        os.chown(tree, -1, 54321)
    tree.chmod(mode)
    with pytest.raises(NodeError, match=f"can be written by {who}.*chmod go-w") as caught:
        check_above(tree / "a" / "run")
    assert "darc_master.run_dir" in str(caught.value)
    tree.chmod(mode | stat.S_ISVTX)  # as /tmp
    check_above(tree / "a" / "run")


def test_a_link_that_leads_to_itself_ends(tree: Path) -> None:
    (tree / "loop").symlink_to("loop")
    with pytest.raises(NodeError, match="leads to itself"):
        check_above(tree / "loop" / "run")


@needs_root
def test_a_start_below_another_users_directory_makes_nothing(fresh_node: Node) -> None:
    other = fresh_node.home / "other"
    other.mkdir()
    os.chown(other, 12345, 12345)
    fresh_node.configure(darc_master={"run_dir": str(other / "run")})
    result = fresh_node.call("darc_start_master")
    assert result.returncode == 1
    assert result.stderr.startswith(f"{other}/run: {other} above it belongs to user 12345")
    assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in fresh_node.home.iterdir()) == ["config.yaml", "other"]
    assert list(other.iterdir()) == []


def test_no_umask_opens_a_node_to_others(make_node: Callable[..., Node]) -> None:
    node = make_node(darc_master=SMALL)
    result = subprocess.run(
        ["/bin/sh", "-c", f"umask 000; exec {SCRIPTS}/darc_start_all_services"],
        env=node.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    node.call("darc_stop_master")
    for path in node.home.rglob("*"):
        if not path.is_symlink():
            assert not path.stat().st_mode & (stat.S_IWOTH | stat.S_IWGRP), path
    assert stat.S_IMODE((node.run_dir / "secret").stat().st_mode) == 0o600
