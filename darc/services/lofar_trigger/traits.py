"""Traits of lofar_trigger."""

from __future__ import annotations

from darc.runtime.service_traits import ExternalSystem, ListeningPort, ServiceTraits

TRAITS = ServiceTraits(
    observes=False,
    keeps_queue=True,
    external=ExternalSystem("lofar", "LOFAR triggering", "LOFAR triggering"),
    port=ListeningPort("triggers for LOFAR", "server_port"),
    mails="lofar_trigger",
)
