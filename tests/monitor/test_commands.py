"""What to type: hosts in few words, and commands that a shell takes as they are meant."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.config.config_layers import expand_hosts
from darc.monitor.shell_commands import ShellCommands, braces, ranges

HOSTS = st.lists(
    st.one_of(
        st.builds("arts{:03d}".format, st.integers(0, 60)),
        st.builds("node{}.example".format, st.integers(0, 12)),
        st.sampled_from(["gpu", "a1b2", "10.0.0.7", "x-9"]),
    ),
    min_size=1,
    max_size=30,
    unique=True,
)


def test_the_cluster_in_few_words() -> None:
    hosts = [f"arts{number:03d}" for number in (41, 1, 2, 3, 7)]
    assert ranges(hosts) == "arts[001-003,007,041]"
    assert ranges(["arts041"]) == "arts041"
    assert ranges(["gpu", "arts9", "arts10"]) == "arts9, arts10, gpu"
    assert braces(hosts) == "arts{001..003} arts007 arts041"


@given(HOSTS)
def test_ranges_are_what_the_configuration_takes(hosts: list[str]) -> None:
    assert sorted(expand_hosts(ranges(hosts).split(", "))) == sorted(hosts)


@settings(max_examples=20)
@given(HOSTS)
def test_bash_makes_the_hosts_of_braces(hosts: list[str]) -> None:
    command = f'printf "%s\\n" {braces(hosts)}'
    said = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert sorted(said.stdout.split("\n")[:-1]) == sorted(hosts)


@settings(max_examples=20)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20))
def test_no_name_is_more_than_a_word_of_the_command(name: str) -> None:
    """As names of services come from other nodes."""
    command = ShellCommands(alone=False).service(["arts001"], name, "restart")
    stub = 'darc() { printf "%s\\0" "$@"; }; '
    said = subprocess.run(["bash", "-c", stub + command], capture_output=True, check=True)
    words = said.stdout.decode().split("\0")[:-1]
    assert words == ["--host", "arts001", "--service", name, "restart"]


def test_commands_for_one_and_for_many() -> None:
    shell = ShellCommands(alone=False)
    one, many = ["arts003"], ["arts003", "arts004", "arts005"]
    restart = "--service amber_clustering restart"
    assert shell.service(one, "amber_clustering", "restart") == f"darc --host arts003 {restart}"
    assert (
        shell.service(many, "amber_clustering", "restart")
        == f"for host in arts{{003..005}}; do darc --host $host {restart}; done"
    )
    assert shell.start(many) == "start_full_pipeline --nodes 'arts[003-005]'"
    assert shell.on("arts003", "df", "-h", "/a b") == "ssh arts003 df -h '/a b'"


def test_a_host_on_its_own_needs_no_names() -> None:
    shell = ShellCommands(alone=True)
    assert shell.service(["here"], "processor", "start") == "darc --service processor start"
    assert shell.start(["here"]) == "darc_start_all_services"
    assert shell.on("here", "df", "-h", "/") == "df -h /"


@pytest.mark.parametrize("alone", [False, True])
def test_restarting_is_a_stop_and_a_start(alone: bool) -> None:
    stop, start = ShellCommands(alone).restart(["arts003"]).split(" && ")
    assert stop.partition(" ")[0] in ("stop_full_pipeline", "darc_stop_master")
    assert start.partition(" ")[0] in ("start_full_pipeline", "darc_start_all_services")
