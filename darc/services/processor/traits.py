"""Traits of processor."""

from __future__ import annotations

from darc.config.settings import ProcessorMasterSettings, ProcessorSettings
from darc.runtime.service_traits import AttributeSeries, ServiceTraits

TRAITS = ServiceTraits(
    sections={"processor": ProcessorSettings, "processor_master": ProcessorMasterSettings},
    unhurried=True,
    keeps_queue=True,
    directory="result_dir",
    mails="processor_master",
    measured=(
        AttributeSeries(
            "processor_candidates", "Candidates that processor has taken.", "candidates_received"
        ),
        AttributeSeries(
            "processor_clusters_done", "Clusters that processor has dealt with.", "clusters_done"
        ),
        AttributeSeries(
            "processor_clusters_waiting",
            "Clusters that wait for data or a process.",
            "clusters_waiting",
            is_level=True,
        ),
        AttributeSeries(
            "processor_clusters_in_work",
            "Clusters that are being worked on.",
            "clusters_in_work",
            is_level=True,
        ),
    ),
)
