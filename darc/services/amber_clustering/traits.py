"""Traits of amber_clustering."""

from __future__ import annotations

from darc.config.settings import AmberClusteringSettings
from darc.model.counters import Counted, Rejection
from darc.runtime.service_traits import CountedSeries, ServiceTraits, Shown

TRAITS = ServiceTraits(
    sections={"amber_clustering": AmberClusteringSettings},
    counted=(
        CountedSeries(
            "clustering_windows", "Gather windows that were closed.", {"": Counted.WINDOWS}
        ),
        CountedSeries(
            "clustering_candidates", "Candidates in these windows.", {"": Counted.CANDIDATES}
        ),
        CountedSeries(
            "clustering_candidates_clustered",
            "Candidates that went into clusters.",
            {"": Counted.CLUSTERED},
        ),
        CountedSeries("clustering_clusters", "Clusters that were found.", {"": Counted.CLUSTERS}),
        CountedSeries(
            "clustering_candidates_rejected",
            "Candidates left out of clustering, by reason.",
            {one.words: one.counter for one in Rejection},
            "reason",
        ),
        CountedSeries(
            "triggers",
            "Triggers that were passed on, by kind.",
            {
                "iquv": Counted.IQUV_TRIGGERS,
                "lofar": Counted.LOFAR_TRIGGERS,
                "injection": Counted.INJECTIONS,
            },
            "kind",
        ),
        CountedSeries(
            "triggers_repeated",
            "Triggers left out, as they had left before.",
            {"iquv": Counted.IQUV_REPEATED, "lofar": Counted.LOFAR_REPEATED},
            "kind",
        ),
        CountedSeries(
            "triggers_held_back",
            "Triggers left out for the time between dumps.",
            {"iquv": Counted.IQUV_HELD_BACK},
            "kind",
        ),
        CountedSeries(
            "triggers_not_passed_on",
            "Triggers nobody is there to take.",
            {"lofar": Counted.LOFAR_NOT_PASSED_ON},
            "kind",
        ),
    ),
    shown={
        Shown.CANDIDATES: (Counted.CANDIDATES,),
        Shown.CLUSTERS: (Counted.CLUSTERS,),
        Shown.TRIGGERS: (Counted.IQUV_TRIGGERS, Counted.LOFAR_TRIGGERS),
    },
)
