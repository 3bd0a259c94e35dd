"""Traits of offline_processing."""

from __future__ import annotations

from darc.runtime.service_traits import ServiceTraits

TRAITS = ServiceTraits(unhurried=True, keeps_queue=True, stops_in_mixed_mode=False)
