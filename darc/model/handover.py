"""How a worker's handing in of triggers for a service on the master node goes."""

from __future__ import annotations

import time

from darc.config.records import Struct


class HandoverState(Struct, frozen=True):
    """The triggers of one service.

    :param place: host and port of its server
    :param gone_since: since when that is not reached (Unix s); None: it is
    :param error: why it was not reached last
    :param delivered: handed in since this process was started
    :param waiting: kept until they can be
    :param expired: of no use any more before they could be
    """

    place: str
    gone_since: float | None
    error: str
    delivered: int
    waiting: int
    expired: int

    def __str__(self) -> str:
        counts = f"{self.delivered} handed in, {self.waiting} waiting, {self.expired} expired"
        if self.gone_since is None:
            return f"{self.place} reached; {counts}"
        gone = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.gone_since))
        return f"{self.place} NOT REACHED since {gone}: {self.error}; {counts}"
