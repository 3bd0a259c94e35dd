"""Traits of amber_clustering."""

from __future__ import annotations

from darc.runtime.service_traits import ServiceTraits

TRAITS = ServiceTraits()
