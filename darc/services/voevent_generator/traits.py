"""Traits of voevent_generator."""

from __future__ import annotations

from darc.runtime.service_traits import ExternalSystem, ListeningPort, ServiceTraits

TRAITS = ServiceTraits(
    observes=False,
    keeps_queue=True,
    external=ExternalSystem("voevent", "VOEvent generator", "VOEvent sending"),
    port=ListeningPort("triggers for VOEvents", "server_port"),
    directory="voevent_dir",
)
