"""Names, addresses and configuration of a box's hosts."""

from __future__ import annotations

import ipaddress
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from darc.config.config import Layer, Role, parse_config
from darc.runtime.paths import packaged
from darc.runtime.service_traits import built_in_sections
from simulator.box.hosts import GATEWAY, configuration, hosts_file, make_hosts, worker_names
from simulator.box.network import slow_down


@given(st.integers(1, 1200))
def test_every_host_has_a_name_and_an_address_of_its_own(nodes: int) -> None:
    hosts = make_hosts("master", worker_names(nodes))
    assert len(hosts) == nodes
    assert hosts[0].name == "master"
    addresses = {ipaddress.ip_address(host.address) for host in hosts}
    assert len(addresses) == len({host.name for host in hosts}) == nodes
    assert ipaddress.ip_address(GATEWAY) not in addresses
    assert all(address in ipaddress.ip_network("10.0.0.0/8") for address in addresses)
    assert not any(int(address) & 255 in {0, 255} for address in addresses)


def test_names_sort_as_their_numbers() -> None:
    assert worker_names(3) == ["worker01", "worker02"]
    assert worker_names(1) == []
    assert worker_names(101)[0] == "worker001"
    names = [host.name for host in make_hosts("arts041", ["arts[001-040]"])]
    assert (names[0], names[1], names[40]) == ("arts041", "arts001", "arts040")


@pytest.mark.parametrize("nodes", [0, -1])
def test_a_box_without_nodes_is_refused(nodes: int) -> None:
    with pytest.raises(ValueError, match=f"{nodes} nodes"):
        worker_names(nodes)


def test_a_host_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="arts001 is listed twice"):
        make_hosts("arts001", ["arts[001-040]"])


def test_the_hosts_file_has_every_host() -> None:
    lines = hosts_file(make_hosts("master", worker_names(3))).splitlines()
    assert lines[0] == "127.0.0.1 localhost"
    assert lines[-3:] == ["10.77.0.1 master", "10.77.0.2 worker01", "10.77.0.3 worker02"]


def test_the_configuration_is_one_that_nodes_accept() -> None:
    sections = {"cluster": {"python": "/usr/bin/python3"}, "amber_clustering": {"interval": 2.0}}
    tree = configuration("arts041", ["arts[001-040]"], sections)
    default = packaged("conf/default.yaml").read_text()
    layers = [Layer("default", default), Layer("box", yaml.safe_dump(tree))]

    def instrument(name: str) -> Layer:
        return Layer(name, packaged(f"conf/{name}.yaml").read_text())

    roles = []
    for name in ("arts041", "arts007", "elsewhere"):
        config = parse_config(
            layers,
            services=built_in_sections(),
            home="/root",
            darc_home="/darc",
            hostname=name,
            instruments=instrument,
        )
        roles.append(config.role)
    assert roles == [Role.MASTER, Role.WORKER, Role.STANDALONE]
    assert len(config.cluster.workers) == 40
    assert (config.cluster.user, config.cluster.ssh_port) == ("root", 22)
    assert config.cluster.python == "/usr/bin/python3"
    assert config.amber_clustering.interval == 2.0
    assert configuration("m", [], {})["cluster"]["python"] == sys.executable


@pytest.mark.parametrize("limits", [(0.0, 1.0), (-1.0, 1.0), (1e6, 0.0)])
def test_a_limit_that_lets_nothing_through_is_refused(limits: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="have to be above 0"):
        slow_down("eth0", *limits)
