"""Network of a box: a router in its own namespace, and a link from it to every node.

A router rather than a bridge: what becomes of a node's packets is one route, which takes effect at
once, and both ways, as the router takes nothing from an address that is not behind the same link.
"""

from __future__ import annotations

import os
from enum import Enum

from simulator.box.hosts import GATEWAY, Host
from simulator.box.namespaces import BoxError, NamespaceKind, Space

#: A node's network interface.
INTERFACE = "eth0"
# tbf lets nothing through that is longer than a burst: the longest frame is 1514 bytes.
_LEAST_BURST = 3200

# Where nobody answers: who sends to there is told that there is no route. An `unreachable` route
# would tell each sender once a second at the most.
_NOWHERE = "nowhere0"

_ROUTER = f"""
ip link add name {_NOWHERE} type veth peer name nowhere1
ip link set {_NOWHERE} up
ip link set nowhere1 up
cd /proc/sys/net/ipv4
echo 1 > ip_forward
echo 1 > conf/all/rp_filter
echo 0 > conf/all/log_martians
echo 0 > icmp_ratemask
echo 1 > neigh/{_NOWHERE}/mcast_solicit
echo 20 > neigh/{_NOWHERE}/retrans_time_ms
ip route add default dev {_NOWHERE}
"""


class LinkState(Enum):
    """Treatment of packets from and to a node."""

    PASSED = "passed"
    REFUSED = "refused"  # the sender gets: no route
    DROPPED = "dropped"  # silently


class Network:
    """The router, at first without links.

    :raises BoxError: the kernel refuses
    """

    def __init__(self) -> None:
        self._space = Space(NamespaceKind.NETWORK)
        self._held: dict[Host, int] = {}
        try:
            self._space.run("sh", "-ec", _ROUTER)
        except BoxError:
            self._space.end()
            raise

    @property
    def pid(self) -> int:
        """PID of the keeper."""
        return self._space.pid

    def connect(self, host: Host, space: Space) -> None:
        """Create a link to a node, whose interface is not configured yet."""
        port = _port(host)
        # The kernel would remove the link some time after the node's end, in its own time.
        self._held[host] = os.open(f"/proc/{space.pid}/ns/net", os.O_RDONLY)
        self._ip(
            f"link add name {port} type veth peer name {INTERFACE} netns {space.pid}",
            f"address add {GATEWAY}/32 dev {port}",
            f"link set {port} up",
        )
        self.decide(host, LinkState.PASSED)

    def disconnect(self, host: Host) -> None:
        """Remove the link, on both sides."""
        self._ip(f"link delete {_port(host)}")
        os.close(self._held.pop(host))

    def decide(self, host: Host, fate: LinkState) -> None:
        """Set the treatment of packets from and to a node."""
        routes = {
            LinkState.PASSED: f"{host.address}/32 dev {_port(host)}",
            LinkState.REFUSED: f"{host.address}/32 dev {_NOWHERE}",
            LinkState.DROPPED: f"blackhole {host.address}/32",
        }
        self._ip(f"route replace {routes[fate]}")

    def slow_down(self, host: Host, bytes_per_second: float, queue_seconds: float) -> None:
        """Limit the rate of packets to a node."""
        self._space.run(*slow_down(_port(host), bytes_per_second, queue_seconds))

    def speed_up(self, host: Host) -> None:
        """Remove the limit."""
        self._space.run(*speed_up(_port(host)))

    def end(self) -> None:
        """Remove the router, with all links."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()
        self._space.end()

    def _ip(self, *commands: str) -> None:
        self._space.run("ip", "-batch", "-", text="\n".join(commands) + "\n")


def link_up(host: Host) -> str:
    """For `ip -batch` in a node: bring its link up, with a way to all others."""
    return (
        f"link set {INTERFACE} up\n"
        f"address replace {host.address}/32 dev {INTERFACE}\n"
        f"route replace default via {GATEWAY} dev {INTERFACE} onlink\n"
    )


def link_down() -> str:
    """For `ip -batch` in a node: take its link down."""
    return f"link set {INTERFACE} down\n"


def slow_down(interface: str, bytes_per_second: float, queue_seconds: float) -> list[str]:
    """Return the command that limits the rate of an interface.

    :raises ValueError: not positive
    """
    if bytes_per_second <= 0 or queue_seconds <= 0:
        raise ValueError(
            f"{bytes_per_second:g} bytes/s with a queue of {queue_seconds:g} s: both have to be"
            " above 0; drop_packets() lets nothing through"
        )
    rate = max(1, round(bytes_per_second * 8))
    burst = max(_LEAST_BURST, round(bytes_per_second / 100))
    latency = max(1, round(queue_seconds * 1e6))
    limits = f"rate {rate}bit burst {burst} latency {latency}us"
    return ["tc", "qdisc", "replace", "dev", interface, "root", "tbf", *limits.split()]


def speed_up(interface: str) -> list[str]:
    """Return the command that removes the limit."""
    return ["tc", "qdisc", "delete", "dev", interface, "root"]


def _port(host: Host) -> str:
    """Return the name of the router's interface to a node."""
    return f"port{host.number}"
