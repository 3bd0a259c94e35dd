"""Traits of offline_processing."""

from __future__ import annotations

from darc.config.settings import OfflineProcessingSettings
from darc.runtime.service_traits import ServiceTraits

TRAITS = ServiceTraits(
    sections={"offline_processing": OfflineProcessingSettings},
    unhurried=True,
    keeps_queue=True,
    stops_in_mixed_mode=False,
)
