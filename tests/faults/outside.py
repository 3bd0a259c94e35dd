"""The systems outside of a node under faults, and what reached them."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, closing
from typing import Any

from dump_requests import parse_request
from faults.alert_record import Arrived, of_subscriber
from faults.alert_roads import AlertRoads
from msgspec import Struct, field
from nodes import patience

from simulator.comet_broker import CometBroker, Subscriber
from simulator.dbevent import DadaDbevent
from simulator.lofar import Lofar

#: Longer than any fault lasts: what is asked for late must not be lost to that.
BUFFER_SECONDS = patience(60.0)
#: Triggers that arrive within it are of one pulse: less than between any two windows' triggers.
INTERVAL = 0.02

Item = tuple[float, ...]


class Reached(Struct):
    """What reached the systems outside in an observation, in a form that is the same in each."""

    dumps: Counter[Item] = field(default_factory=Counter)
    packets: Counter[Item] = field(default_factory=Counter)

    def differs(self, reference: Reached, again: Counter[str], runs: int) -> list[str]:
        """What is missing, what is too much, and what came twice without being counted.

        :param again: by what, how often something was sent again, as the log tells
        :param runs: how often the observation was started, each of which may send it
        """
        found = []
        for what in ("dumps", "packets"):
            mine, theirs = getattr(self, what), getattr(reference, what)
            if set(mine) != set(theirs):
                missing, more = set(theirs) - set(mine), set(mine) - set(theirs)
                found.append(f"{what}: missing {sorted(missing)}, too much {sorted(more)}")
            more_often = sum(max(0, times - runs) for times in mine.values())
            if more_often > again[what]:
                found.append(f"{what}: {more_often} too often, {again[what]} were counted: {mine}")
        return found


class Outside:
    """Receivers of all that leaves a node, from ``open`` until ``close``."""

    def __init__(self) -> None:
        with ExitStack() as opened:
            self.dbevent = opened.enter_context(DadaDbevent(buffer_length=BUFFER_SECONDS))
            self.lofar = opened.enter_context(Lofar())
            self.broker = opened.enter_context(CometBroker())
            self.subscriber = opened.enter_context(Subscriber(self.broker.broadcast_port))
            self.roads = opened.enter_context(closing(AlertRoads()))
            self._opened = opened.pop_all()
        self._seen = (0, 0, 0)

    def close(self) -> None:
        self._opened.close()

    def configuration(self) -> dict[str, dict[str, Any]]:
        """What a node needs to send to these."""
        sending = {"send_events": True, "interval": INTERVAL}
        return {
            "dada_trigger": {"port_iquv": self.dbevent.port, "buffer_length": BUFFER_SECONDS},
            "lofar_trigger": {
                **sending,
                "lofar_host": "127.0.0.1",
                "lofar_port": self.lofar.port,
            },
            "voevent_generator": {
                **sending,
                "broker_host": "127.0.0.1",
                "broker_port": self.broker.port,
                "broker_timeout": 1.0,
                # Bursts, so that tests can be told from them.
                "test": False,
                "send_updates": True,
                **self.roads.configuration(),
            },
        }

    def begin(self, utc_start: str) -> None:
        """Another observation."""
        self.dbevent.begin(utc_start)
        self._seen = (
            len(self.dbevent.received),
            len(self.lofar.received),
            len(self.subscriber.received),
        )

    def go_away(self, duration: float) -> None:
        """Refuse, and do not answer, for a while (s)."""
        self.dbevent.refuse()
        self.broker.pause()
        self.roads.go_away(duration)
        self.broker.resume()
        self.dbevent.accept()

    def reached(self, start: float) -> Reached:
        """What came since :meth:`begin`.

        :param start: of the observation, Unix s
        """
        dumps, packets, _ = self._seen
        found = Reached()
        for request in self.dbevent.received[dumps:]:
            for event in parse_request(request.text).events:
                found.dumps[(event.start, event.end, event.dm, event.snr, event.beam)] += 1
        for packet in self.lofar.received[packets:]:
            assert packet.freeze, packet
            since = packet.freeze.time_ms / 1e3 - start
            found.packets[(round(since, 1), packet.freeze.dm_tenths / 10)] += 1
        return found

    def events(self) -> list[Arrived]:
        """VOEvents that came since :meth:`begin`."""
        return of_subscriber(self.subscriber.received[self._seen[2] :])
