"""Traits of voevent_generator."""

from __future__ import annotations

from darc.runtime.service_traits import (
    AttributeSeries,
    ExternalSystem,
    ListeningPort,
    OutsideAddress,
    OwnCheck,
    Reach,
    ServiceTraits,
)
from darc.services.voevent_generator.settings import VOEventGeneratorSettings

TRAITS = ServiceTraits(
    sections={"voevent_generator": VOEventGeneratorSettings},
    observes=False,
    keeps_queue=True,
    external=ExternalSystem("voevent", "VOEvent generator", "VOEvent sending"),
    announces=True,
    port=ListeningPort("triggers for VOEvents", "server_port"),
    directory="voevent_dir",
    outside=(
        OutsideAddress(
            "broker",
            Reach.CONNECTS,
            ("broker_port",),
            "start the broker, or set voevent_generator.broker_host",
            host_key="broker_host",
            sends_key="sends_by_vtp",
            needs=("comet", "vtp"),
        ),
    ),
    checks=(OwnCheck("Kafka", "kafka"), OwnCheck("people", "people"), OwnCheck("TNS", "tns")),
    measured=(
        AttributeSeries(
            "voevents_waiting",
            "VOEvents and notices that were not acknowledged yet.",
            "events_waiting",
            is_level=True,
        ),
        AttributeSeries(
            "alert_test_acknowledged_timestamp_seconds",
            "When all roads had last acknowledged a test notice, Unix s; 0: not yet.",
            "test_acknowledged",
            is_level=True,
        ),
    ),
)
