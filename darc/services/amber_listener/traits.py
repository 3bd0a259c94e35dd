"""Traits of amber_listener."""

from __future__ import annotations

from darc.runtime.service_traits import ServiceTraits

TRAITS = ServiceTraits()
