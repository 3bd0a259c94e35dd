"""What is taken away from a running node comes back, and what hangs is started anew."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable

from nodes import Node, only, patience, wait_for

RUNNING_SERVICES = ("amber_clustering", "dada_trigger")


def test_a_log_directory_that_is_removed_does_not_keep_services_from_starting(
    running_node: Node,
) -> None:
    shutil.rmtree(running_node.home / "log")
    wait_for((running_node.home / "log").is_dir, 5.0, "the directory back")
    before = running_node.pid("dada_trigger")
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: running_node.pid("dada_trigger") not in (0, before) and running_node.all_run())


def test_sockets_that_are_removed_come_back_and_lead_to_the_same_servers(
    running_node: Node,
) -> None:
    for name in ("queues.sock", "supervisord.sock"):
        path = running_node.run_dir / name
        path.unlink()
        wait_for(path.exists, 5.0, f"{name} back")
    before = running_node.pid("amber_clustering")
    os.kill(before, signal.SIGKILL)
    wait_for(
        lambda: running_node.pid("amber_clustering") not in (0, before) and running_node.all_run()
    )


def test_what_ran_under_a_killed_supervisord_is_started_again_and_nothing_else(
    make_node: Callable[..., Node],
) -> None:
    node = make_node(darc_master=only("amber_clustering", "lofar_trigger", "status_website"))
    node.start()
    node.supervisor.stop("status_website")  # as an operator does with supervisorctl
    wait_for(lambda: node.states()["status_website"] == "stopped")
    wanted = node.run_dir / "wanted.json"

    def is_written() -> bool:
        text = wanted.read_text() if wanted.exists() else ""
        return "status_website" not in text and "lofar" in text and "amber_clustering" in text

    wait_for(is_written, 5.0)
    os.kill(int((node.run_dir / "supervisord.pid").read_text()), signal.SIGKILL)
    wait_for(lambda: not node.processes(), 5.0, "the end of services without supervisord")
    assert node.call("darc_start_master").returncode == 0
    expected = dict.fromkeys(node.states(), "running") | {"status_website": "stopped"}
    wait_for(lambda: node.states() == expected, 15.0, "the services of before")


def test_a_node_that_was_stopped_does_not_come_back_with_its_services(
    make_node: Callable[..., Node],
) -> None:
    node = make_node(darc_master=only("lofar_trigger", "processor"))
    for end in ("darc_stop_master", "darc_kill_all"):
        node.start()
        wait_for((node.run_dir / "wanted.json").exists, 5.0)
        assert node.run(end).returncode == 0
        assert node.call("darc_start_master").returncode == 0
        assert set(node.states().values()) == {"stopped"}


def test_an_unresponsive_service_is_started_anew_where_the_configuration_says_so(
    make_node: Callable[..., Node],
) -> None:
    health = {"unresponsive_after": patience(1.5), "restart_unresponsive": True}
    node = make_node(darc_master=only("processor") | {"health": health})
    node.start()
    before = node.pid("processor")
    os.kill(before, signal.SIGSTOP)
    wait_for(lambda: node.pid("processor") not in (0, before) and node.all_run(), 15.0)
    assert "processor does not respond: killed" in node.log("darc_master")
