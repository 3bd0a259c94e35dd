"""The demo's receivers tell what came to them, good or bad."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from smtplib import SMTP

import pytest
from nodes import patience, wait_for

from darc.delivery import voevent_sender
from darc.model import voevent_xml
from darc.services.dada_trigger.dump_port import request_dump
from darc.services.dada_trigger.dump_request import DumpEvent, DumpRequest, format_request
from darc.services.lofar_trigger.lofar_packet import compose
from simulator.demo_deliveries import Arrival, Channel
from simulator.demo_receivers import Receivers

PATIENCE = patience(20.0)


@pytest.fixture(scope="module")
def receivers() -> Iterator[Receivers]:
    receivers = Receivers()
    try:
        receivers.start()
        yield receivers
    finally:
        receivers.close()


def arrivals_of(receivers: Receivers, channel: Channel, n: int) -> list[tuple[float, str, bool]]:
    """DM, what became of it and whether that is good, of all that came; times are looked at."""

    def of_channel() -> list[Arrival]:
        return [one for one in receivers.arrivals() if one.channel is channel]

    wait_for(lambda: len(of_channel()) >= n, 20.0)
    arrivals = of_channel()
    assert all(0 <= time.time() - one.time < PATIENCE for one in arrivals)
    return [(one.dm, one.what, one.good) for one in arrivals]


def test_dumps(receivers: Receivers) -> None:
    now = time.time()
    receivers.begin(now)
    port = receivers.sections["dada_trigger"]["port_iquv"]
    start = datetime.fromtimestamp(int(now), UTC)

    def ask(at: datetime, *windows: tuple[float, float, float]) -> None:
        events = tuple(DumpEvent(*window, 30.0, 10, 5) for window in windows)
        request_dump(port, format_request(DumpRequest(f"{at:%Y-%m-%d-%H:%M:%S}", events)))

    ask(start, (1.0, 3.0, 500.0), (2.0, 4.0, 520.0))
    ask(start, (2.0, 5.0, 600.0))
    ask(start - timedelta(days=1), (6.0, 7.0, 700.0))
    request_dump(port, "N_EVENTS 2\n")
    *events, (dm, what, good) = arrivals_of(receivers, Channel.IQUV, 5)
    assert events == [
        (500.0, "kept", True),
        (520.0, "kept", True),
        (600.0, "skipped", False),
        (700.0, "refused", False),
    ]
    assert math.isnan(dm)
    assert "crashed" in what
    assert not good


def test_packets(receivers: Receivers) -> None:
    section = receivers.sections["lofar_trigger"]
    assert (section["test"], section["send_events"]) == (True, True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in (
            compose(time.time(), 500.26, test=True),
            compose(time.time(), 600.0, test=False),
            b"rubbish",
        ):
            sender.sendto(datagram, (section["lofar_host"], section["lofar_port"]))
    test, observation, rubbish = arrivals_of(receivers, Channel.LOFAR, 3)
    assert test == (500.3, "TEST", True)
    assert observation == (600.0, "frozen", False)
    assert math.isnan(rubbish[0])
    assert rubbish[1:] == ("rubbish", False)


def test_voevents(receivers: Receivers) -> None:
    section = receivers.sections["voevent_generator"]
    assert (section["test"], section["send_events"]) == (True, True)
    for number, (role, dm) in enumerate((("test", 500.26), ("observation", 600.0)), 1):
        event = voevent_xml.new_event(f"ivo://darc.example/demo#{number}", role)
        who = voevent_xml.add(event, "Who")
        voevent_xml.add(who, "AuthorIVORN", "ivo://darc.example")
        what = voevent_xml.add(event, "What")
        voevent_xml.add(what, "Param", name="dm", value=str(dm))
        xml = voevent_xml.to_bytes(event)
        voevent_sender.send(xml, section["broker_host"], section["broker_port"], PATIENCE)
    arrived = arrivals_of(receivers, Channel.VOEVENT, 2)
    assert sorted(arrived) == [
        (500.26, "broadcast", True),
        (600.0, "role observation", False),
    ]


def test_mails(receivers: Receivers) -> None:
    server = receivers.sections["mail"]
    (address,) = receivers.sections["lofar_trigger"]["email_settings"]["to"]
    with SMTP(server["host"], server["port"]) as smtp:
        for subject in ("TEST LOFAR trigger: new source, DM 500.26, S/N 30", "DM 600, S/N 30"):
            message = EmailMessage()
            message["Subject"], message["From"], message["To"] = subject, "darc@localhost", address
            smtp.send_message(message)
    assert arrivals_of(receivers, Channel.MAIL, 2) == [
        (500.26, "came", True),
        (600.0, "DM 600, S/N 30", False),
    ]
