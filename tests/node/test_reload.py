"""darc reload: a good configuration is applied, a broken one changes nothing, now or later."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from nodes import Node, free_port, only, patience, wait_for

UNCHANGED = "status: Success\nmessage: Config reloaded\n"
# So that a mode takes services away, leaves one, and adds one.
LISTS = {
    "services_master_mix": ["offline_processing", "voevent_generator", "lofar_trigger"],
    "services_master_rt": ["voevent_generator", "lofar_trigger", "dada_trigger"],
    "services_worker_mix": [],
    "services_worker_rt": [],
}
BROKEN = "darc_master:\n  mode: never\n"


@pytest.fixture(scope="module")
def module_node(test_run: str) -> Iterator[Node]:
    """One node for all tests of this module that leave it running."""
    from nodes import node  # noqa: PLC0415

    with node(test_run, darc_master=LISTS) as made:
        made.start()
        yield made


@pytest.fixture
def reloaded(module_node: Node) -> Iterator[Node]:
    """The node, which has its first configuration again afterwards."""
    text = (module_node.home / "config.yaml").read_text()
    config = yaml.safe_load(text)
    yield module_node
    (module_node.home / "config.yaml").write_text(text)
    module_node.config = config
    assert module_node.darc("reload").returncode == 0
    module_node.start()


def pids(node: Node) -> dict[str, int]:
    return {name: info.pid for name, info in node.supervisor.processes().items()}


def reload(node: Node) -> str:
    result = node.darc("reload")
    assert result.returncode == 0, result.stdout
    return result.stdout.removeprefix("status: Success\nmessage: ").removesuffix("\n")


def test_an_unchanged_configuration_is_reloaded_without_a_word(reloaded: Node) -> None:
    before = pids(reloaded)
    for _ in range(2):
        assert reloaded.darc("reload").stdout == UNCHANGED
    assert pids(reloaded) == before


@pytest.mark.parametrize("text", [BROKEN, "darc_master: [\n", "darc_master:\n  port: 0\n"])
def test_a_broken_configuration_is_an_error_and_the_old_one_stays(
    reloaded: Node, text: str
) -> None:
    before = pids(reloaded)
    file = reloaded.home / "config.yaml"
    file.write_text(text)
    result = reloaded.darc("reload")
    assert result.returncode == 1
    assert result.stdout.startswith("status: Error\n")
    assert f"{file}:2: " in result.stdout
    assert pids(reloaded) == before
    assert reloaded.ask("get_attr", "mode") == "DARCMaster.mode = mixed"
    assert reloaded.states() == dict.fromkeys(LISTS["services_master_mix"], "running")


def test_another_mode_stops_what_it_has_not_and_leaves_the_others_alone(reloaded: Node) -> None:
    before = pids(reloaded)
    reloaded.configure(darc_master={"mode": "real-time"})
    assert reload(reloaded) == "Config reloaded; added: dada_trigger; removed: offline_processing"
    assert not Path(f"/proc/{before['offline_processing']}").exists()
    after = pids(reloaded)
    assert set(after) == {"darc_master", "darc_monitor", *LISTS["services_master_rt"]}
    for name in ("darc_master", "voevent_generator", "lofar_trigger"):
        assert after[name] == before[name]
    assert reloaded.states() == {
        "voevent_generator": "running",
        "lofar_trigger": "running",
        "dada_trigger": "stopped",
    }
    gone = reloaded.darc("--service", "offline_processing", "start")
    assert "Invalid service: offline_processing" in gone.stdout
    assert not (reloaded.run_dir / "supervisor.d" / "offline_processing.conf").exists()
    started = reloaded.ask("--service", "dada_trigger", "start")
    assert started == {"dada_trigger": "started"}


def test_another_list_of_services_adds_and_removes(reloaded: Node) -> None:
    before = pids(reloaded)
    services = ["lofar_trigger", "status_website"]
    reloaded.configure(darc_master={"services_master_mix": services})
    said = reload(reloaded)
    assert "added: status_website" in said
    assert "removed: offline_processing, voevent_generator" in said
    assert list(reloaded.states()) == services
    assert pids(reloaded)["lofar_trigger"] == before["lofar_trigger"]


def test_services_that_hang_are_removed_side_by_side(reloaded: Node) -> None:
    reloaded.configure(darc_master={"stop_timeout": patience(2.0)})
    reload(reloaded)
    wait_for(reloaded.all_run)
    hung = ["offline_processing", "voevent_generator"]
    for name in hung:
        os.kill(reloaded.pid(name), signal.SIGSTOP)
    reloaded.configure(darc_master={"services_master_mix": ["lofar_trigger"]})
    assert "removed: offline_processing, voevent_generator" in reload(reloaded)
    assert set(pids(reloaded)) == {"darc_master", "darc_monitor", "lofar_trigger"}
    log = (reloaded.home / "log" / "supervisord.testnode.log").read_text()
    killed = [line[:23] for line in log.splitlines() if "killing '" in line and "SIGKILL" in line]
    first, last = (datetime.strptime(moment, "%Y-%m-%d %H:%M:%S,%f") for moment in killed[-2:])
    assert (last - first).total_seconds() < patience(1.5)


def test_a_changed_section_restarts_its_service_and_no_other(reloaded: Node) -> None:
    before = pids(reloaded)
    directory = reloaded.home / "supervisor"
    directory.mkdir()
    own = directory / "lofar_trigger.conf"
    own.write_text(
        "[program:lofar_trigger]\ncommand=${python} -P -m darc.services.lofar_trigger\n"
        "stopwaitsecs=2\n"
    )
    assert reload(reloaded) == "Config reloaded; restarted: lofar_trigger"
    after = pids(reloaded)
    assert {name for name in after if after[name] != before[name]} == {"lofar_trigger"}
    wait_for(lambda: reloaded.states()["lofar_trigger"] == "running")
    own.write_text("[program:lofar_trigger]\ncommand=true\nstopsignal=NONSENSE\n")
    broken = reloaded.darc("reload")
    assert broken.returncode == 1
    assert "NONSENSE" in broken.stdout
    assert pids(reloaded) == after
    own.unlink()
    directory.rmdir()


def test_another_port_needs_a_restart_and_every_reload_says_so(reloaded: Node) -> None:
    reloaded.configure(darc_master={"port": free_port(), "run_dir": str(reloaded.home / "r")})
    said = (
        "Config reloaded; darc_master.port changes with a restart of the node;"
        " darc_master.run_dir changes with a restart of the node"
    )
    assert [reload(reloaded), reload(reloaded)] == [said, said]
    assert not (reloaded.home / "r").exists()
    # What is started meanwhile goes by the run_dir of the node.
    os.kill(reloaded.pid("lofar_trigger"), signal.SIGKILL)
    wait_for(lambda: reloaded.states()["lofar_trigger"] == "running")
    # And so do the scripts: there is no second node.
    started = reloaded.call("darc_start_all_services")
    assert "already running" in started.stdout.splitlines()[0]


def test_an_unknown_key_is_a_warning_that_names_the_nearest(reloaded: Node) -> None:
    reloaded.configure(darc_master={"stop_timout": 3})
    said = reload(reloaded)
    assert said.startswith("Config reloaded; warning: ")
    assert "stop_timout" in said
    assert "stop_timeout" in said
    assert "config.yaml:" in said


def test_processes_started_anew_go_by_the_last_good_configuration(reloaded: Node) -> None:
    services = ["lofar_trigger", "voevent_generator"]
    reloaded.configure(darc_master={"services_master_mix": services})
    assert reload(reloaded) == "Config reloaded; removed: offline_processing"
    (reloaded.home / "config.yaml").write_text(BROKEN)
    for name in ("darc_master", "lofar_trigger"):
        lines = reloaded.log(name).count("the last good configuration")
        assert lines == 0
        pid = reloaded.pid(name)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: reloaded.pid(name) not in (0, pid), what=f"another {name}")  # noqa: B023
        wait_for(reloaded.all_run, 30.0)
        assert list(reloaded.states()) == services
        log = reloaded.log(name)
        assert f"the configuration is invalid: {reloaded.home}/config.yaml:2: " in log
        assert "using the last good configuration instead" in log
    assert reloaded.darc("reload").returncode == 1


def test_a_broken_configuration_does_not_hinder_a_stop_but_a_start(
    make_node: Callable[..., Node],
) -> None:
    node = make_node(darc_master={**LISTS, "services_master_mix": ["lofar_trigger"]})
    node.start()
    good = (node.home / "config.yaml").read_text()
    (node.home / "config.yaml").write_text(BROKEN)
    for script in ("darc_stop_all_services", "darc_stop_master"):
        result = node.run(script)
        assert result.returncode == 0, result.stderr
        assert "config.yaml:2: " in result.stderr
        assert "last good configuration" in result.stderr
    assert node.processes() == []
    assert node.call("darc_start_master").returncode == 1
    (node.home / "config.yaml").write_text(good)


def test_the_last_good_configuration_holds_the_instruments_file_too(
    make_node: Callable[..., Node],
) -> None:
    node = make_node(darc_master={**LISTS, "services_master_mix": ["lofar_trigger"]})
    arts = Path(__file__).resolve().parents[2] / "conf" / "arts.yaml"
    own = node.home / "own.yaml"
    own.write_text(arts.read_text())
    config = node.home / "elsewhere.yaml"
    config.write_text(yaml.safe_dump({**node.config, "instrument": {"base": str(own)}}))
    node.environment["DARC_CONFIG"] = str(config)
    node.start()
    # A file that is named is missed as well as one that is broken.
    own.unlink()
    config.unlink()
    kept = node.run_dir / "last_good_config.json"
    assert kept.stat().st_mode & 0o077 == 0
    for name in ("darc_master", "lofar_trigger"):
        pid = node.pid(name)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: node.pid(name) not in (0, pid))  # noqa: B023
        wait_for(node.all_run, 30.0)
    assert node.call("darc_stop_master").returncode == 0


def test_a_service_without_switches_reads_it_at_once_or_when_it_finds_a_new_master(
    make_node: Callable[..., Node], tmp_path: Path
) -> None:
    one = make_node(darc_master=only("status_website"), status_website={"port": None})
    one.start()
    service, master = one.pid("status_website"), one.pid("darc_master")

    def change(name: str) -> str:
        one.configure(status_website={"web_dir": str(tmp_path / name)})
        assert one.ask("reload") == "Config reloaded"
        return str(tmp_path / name / "index.html")

    def told() -> str:
        return str(one.ask("--service", "status_website", "get_attr", "page"))

    for name in ("first", "second"):  # it looks for another one by itself after its start, too
        page = change(name)
        wait_for(lambda page=page: page in told())
    os.kill(service, signal.SIGSTOP)  # nobody tells it
    one.configure(status_website={"web_dir": str(tmp_path / "third")})
    page = str(tmp_path / "third" / "index.html")
    os.kill(master, signal.SIGKILL)
    wait_for(lambda: one.answers() and one.pid("darc_master") != master, 20.0, "a new master")
    os.kill(service, signal.SIGCONT)
    wait_for(lambda: one.all_run() and page in told())
    wait_for(Path(page).exists)
    assert one.pid("status_website") == service
    assert "the configuration has changed meanwhile" in one.log("status_website")


def test_a_service_that_hangs_holds_up_no_reload_and_hears_of_it_when_it_goes_on(
    make_node: Callable[..., Node], tmp_path: Path
) -> None:
    sections = {**only("status_website"), "control_timeout": 600.0}
    one = make_node(darc_master=sections, status_website={"port": None})
    one.start()
    service = one.pid("status_website")
    os.kill(service, signal.SIGSTOP)
    try:
        for name in ("first", "second"):
            one.configure(status_website={"web_dir": str(tmp_path / name)})
            assert one.ask("reload") == "Config reloaded"
    finally:
        os.kill(service, signal.SIGCONT)
    wait_for((tmp_path / "second" / "index.html").exists)
    assert one.pid("status_website") == service
