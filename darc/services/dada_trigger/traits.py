"""Traits of dada_trigger."""

from __future__ import annotations

from darc.runtime.service_traits import OutsideAddress, Reach, ServiceTraits
from darc.services.dada_trigger.settings import DadaTriggerSettings

TRAITS = ServiceTraits(
    sections={"dada_trigger": DadaTriggerSettings},
    outside=(
        OutsideAddress(
            "dada_dbevent",
            Reach.LISTENS,
            ("port_i", "port_iquv"),
            "start dada_dbevent before the observation: no dumps are possible without it",
        ),
    ),
)
