"""Reserved ports, which no other program gets before or while their service is restarted."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
# Below are those that well-known programs listen on.
_LOWEST = 10_000
_TRIES = 1000


class ReservedPort:
    """A port of this machine, kept by a socket that is bound to it and does not listen.

    A port that was merely found free is anybody's again: until a service listens on it, and
    whenever the service is restarted, any connection of this machine may get it as its own end,
    and the service fails with "Address already in use". This one cannot be lost:

    - The socket is bound without SO_REUSEADDR, which fails where any other socket has the port,
      and only then gets the option. So no two reservations of this machine have the same port.
    - Linux lets another socket bind to it and listen if both have the option and neither listens
      yet. All servers that matter here set it (`socket.create_server`, multiprocessing, asyncio,
      http.server, Twisted). While none listens, connections are refused.
    - It is outside of the range of ports that the kernel gives to those who ask for any. This is
      what keeps UDP, too, and the port that is still configured when the reservation has ended.

    :raises OSError: no port is free
    """

    def __init__(self) -> None:
        low, high = map(int, _EPHEMERAL.read_text().split())
        # Where all ports are ephemeral the socket keeps TCP all the same.
        ports = range(_LOWEST, low) or range(high + 1, 2**16) or range(_LOWEST, 2**16)
        for _ in range(_TRIES):
            self.number = secrets.choice(ports)
            self._socket = socket.socket()
            try:
                self._socket.bind(("", self.number))
                with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
                    datagrams.bind(("", self.number))
            except OSError:
                self._socket.close()
                continue
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return
        raise OSError(f"{_TRIES} ports of {ports[0]} to {ports[-1]} are all in use")

    def close(self) -> None:
        """End the reservation; a listener on the port keeps it."""
        self._socket.close()
