"""Traits of dada_trigger."""

from __future__ import annotations

from darc.runtime.service_traits import ServiceTraits

TRAITS = ServiceTraits()
