"""Receivers of the demo: stand-ins, a real VOEvent broker and a mail server."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from darc.model import voevent_xml
from simulator import dbevent, lofar
from simulator.comet_broker import CometBroker, Subscriber
from simulator.dbevent_buffer import EventOutcome
from simulator.demo_deliveries import ALERT_SETTLE, Arrival, Channel

if TYPE_CHECKING:
    from simulator.mailbox import Mailbox

ADDRESS = "astronomer@localhost"
#: What becomes of an event of a request, in a word. Of two that overlap, one dump is made.
DUMPS = {
    EventOutcome.KEPT: "kept",
    EventOutcome.MERGED: "kept",
    EventOutcome.SKIPPED: "skipped",
    EventOutcome.LEFT: "too late",
    EventOutcome.REFUSED: "refused",
}
_SUBJECT_DM = re.compile(r"\bDM (\d+(?:\.\d+)?)\b")


class Receivers:
    """All receivers, on free ports of this machine, from `start` to `close`.

    The mail server is included if aiosmtpd is installed.
    """

    def __init__(self) -> None:
        self._open = ExitStack()
        self._mailbox: Mailbox | None = None
        self._has_mail = find_spec("aiosmtpd") is not None

    def __str__(self) -> str:
        mails = "a mail server" if self._has_mail else "no mail server"
        return (
            "stand-ins of dada_dbevent's ring buffer and of LOFAR, a\n"
            f"VOEvent broker (Comet) with a subscriber, {mails}"
        )

    def start(self) -> None:
        """Start them; what was started is closed again if one fails.

        :raises OSError: there is no port for one, or the broker does not greet
        :raises simulator.comet_broker.BrokerError: Comet does not run
        """
        with ExitStack() as opened:
            self._dbevent = opened.enter_context(dbevent.DadaDbevent())
            self._lofar = opened.enter_context(lofar.Lofar())
            if self._has_mail:
                self._mailbox = opened.enter_context(_mailbox())
            self._broker = opened.enter_context(CometBroker())
            self._subscriber = opened.enter_context(Subscriber(self._broker.broadcast_port))
            self._open = opened.pop_all()

    def close(self) -> None:
        """Stop the receivers; arrivals can still be read."""
        self._open.close()

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Those that have a receiver."""
        return tuple(one for one in Channel if one is not Channel.MAIL or self._has_mail)

    @property
    def sections(self) -> dict[str, dict[str, Any]]:
        """Return configuration sections of a node that sends test triggers to them."""
        alerts = {"test": True, "send_events": True, "settle": ALERT_SETTLE}
        sections: dict[str, dict[str, Any]] = {
            "dada_trigger": {"port_iquv": self._dbevent.port},
            "lofar_trigger": {
                **alerts,
                "lofar_host": "127.0.0.1",
                "lofar_port": self._lofar.port,
                "email_settings": {"to": [ADDRESS] if self._mailbox else []},
            },
            "voevent_generator": {
                **alerts,
                "broker_host": "127.0.0.1",
                "broker_port": self._broker.port,
            },
        }
        if self._mailbox:
            sections["mail"] = {"host": "127.0.0.1", "port": self._mailbox.port}
        return sections

    def begin(self, start: float) -> None:
        """Start an observation, whose raw data enter the ring buffer.

        :param start: Unix s; its whole second identifies it
        """
        self._dbevent.begin(f"{datetime.fromtimestamp(int(start), UTC):%Y-%m-%d-%H:%M:%S}")

    def arrivals(self) -> list[Arrival]:
        """Return all arrivals until now."""
        return [*self._dumps(), *self._packets(), *self._events(), *self._mails()]

    def _dumps(self) -> Iterator[Arrival]:
        for request in self._dbevent.received:
            for event in request.events:
                good = event.outcome in (EventOutcome.KEPT, EventOutcome.MERGED)
                what = DUMPS[event.outcome]
                yield Arrival(Channel.IQUV, event.asked.dm, request.time, what, good)
            for error in request.errors:
                yield Arrival(Channel.IQUV, math.nan, request.time, error, good=False)

    def _packets(self) -> Iterator[Arrival]:
        for packet in self._lofar.received:
            good = packet.outcome is lofar.FreezeOutcome.TEST
            what = "TEST" if good else packet.outcome.value
            dm = packet.freeze.dm_tenths / 10 if packet.freeze else math.nan
            yield Arrival(Channel.LOFAR, dm, packet.time, what, good)

    def _events(self) -> Iterator[Arrival]:
        for received in self._subscriber.received:
            event = voevent_xml.read(received.event)
            dm = event.find(".//Param[@name='dm']")
            good = event.get("role") == "test"
            yield Arrival(
                Channel.VOEVENT,
                math.nan if dm is None else float(dm.get("value", "nan")),
                received.time,
                "broadcast" if good else f"role {event.get('role')}",
                good,
            )

    def _mails(self) -> Iterator[Arrival]:
        if not self._mailbox:
            return
        for mail in self._mailbox.received:
            subject = str(mail.message["Subject"])
            dm = _SUBJECT_DM.search(subject)
            good = subject.startswith("TEST")
            what = "came" if good else subject
            yield Arrival(Channel.MAIL, float(dm[1]) if dm else math.nan, mail.time, what, good)


def _mailbox() -> Mailbox:
    from simulator.mailbox import Mailbox  # noqa: PLC0415

    return Mailbox()
