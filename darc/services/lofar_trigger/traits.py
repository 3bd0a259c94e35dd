"""Traits of lofar_trigger."""

from __future__ import annotations

from darc.runtime.service_traits import (
    AttributeSeries,
    ExternalSystem,
    ListeningPort,
    OutsideAddress,
    Reach,
    ServiceTraits,
)
from darc.services.lofar_trigger.settings import LofarTriggerSettings

TRAITS = ServiceTraits(
    sections={"lofar_trigger": LofarTriggerSettings},
    observes=False,
    keeps_queue=True,
    external=ExternalSystem("lofar", "LOFAR triggering", "LOFAR triggering"),
    port=ListeningPort("triggers for LOFAR", "server_port"),
    mails="lofar_trigger",
    outside=(
        OutsideAddress(
            "LOFAR",
            Reach.RESOLVES,
            ("lofar_port",),
            "getent hosts {host}",
            host_key="lofar_host",
            sends_key="send_events",
        ),
    ),
    measured=(
        AttributeSeries(
            "lofar_packets_waiting",
            "Packets that LOFAR could not be sent yet.",
            "packets_waiting",
            is_level=True,
        ),
    ),
)
