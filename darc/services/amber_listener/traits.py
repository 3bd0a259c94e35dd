"""Traits of amber_listener."""

from __future__ import annotations

from darc.model.counters import Counted, Rejection
from darc.runtime.service_traits import AttributeSeries, CountedSeries, ServiceTraits, Shown
from darc.services.amber_listener.settings import AmberListenerSettings

TRAITS = ServiceTraits(
    sections={"amber_listener": AmberListenerSettings},
    counted=(
        CountedSeries(
            "amber_lines", "Lines of AMBER's trigger files that were read.", {"": Counted.LINES}
        ),
        CountedSeries("amber_headers", "Header lines among them.", {"": Counted.HEADERS}),
        CountedSeries("amber_candidates", "Candidates among them.", {"": Counted.CANDIDATES}),
        CountedSeries(
            "amber_files_given_up",
            "Files of which the rest could not be read.",
            {"": Counted.FILES_GIVEN_UP},
        ),
        CountedSeries(
            "amber_lines_rejected",
            "Lines that are no candidates, by reason.",
            {one.words: one.counter for one in Rejection},
            "reason",
        ),
        CountedSeries(
            "candidate_gulps",
            "Gulps that a search sent over TCP, by what became of them.",
            {
                "passed on": Counted.GULPS,
                "incomplete": Counted.GULPS_INCOMPLETE,
                "late": Counted.GULPS_LATE,
                "cut": Counted.GULPS_CUT,
                "number went back": Counted.GULP_BACK,
            },
            "what",
        ),
        CountedSeries(
            "candidate_connections_closed",
            "Connections of searches that were refused, or sent nothing.",
            {
                "refused": Counted.CONNECTIONS_REFUSED,
                "silent": Counted.CONNECTIONS_SILENT,
            },
            "why",
        ),
    ),
    measured=(
        AttributeSeries(
            "amber_found_by_recheck",
            "Looks that found lines of which the file system had not notified.",
            "found_by_recheck",
        ),
    ),
    shown={Shown.CANDIDATES: (Counted.CANDIDATES,)},
)
