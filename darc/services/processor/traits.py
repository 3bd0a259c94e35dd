"""Traits of processor."""

from __future__ import annotations

from darc.runtime.service_traits import ServiceTraits

TRAITS = ServiceTraits(
    unhurried=True, keeps_queue=True, directory="result_dir", mails="processor_master"
)
