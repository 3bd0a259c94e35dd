"""Data that the master itself has lost, counted across its restarts: see darc.node.losses."""

from __future__ import annotations

import logging
import threading
from typing import Any

from darc.model.overview import LossSummary, read_losses
from darc.node.losses import LOSSES, Losses, LossKind
from darc.node.process_names import MASTER
from darc.queues.journal import Journal
from darc.queues.messages import FullError

log = logging.getLogger(__name__)

BOOKS_NOT_KEPT = LossKind(
    "books_not_kept",
    "the books of an observation were not kept",
    "Make room, or give rights, in darc_master.parset_dir.",
)
JOURNAL_DAMAGED = LossKind(
    "journal_damaged",
    "what waited in the queues was lost: the journal was damaged",
    "Look at the disk of darc_master.run_dir (dmesg, smartctl). The damaged file is kept; trigger"
    " files are read from their start again, so triggers may leave twice.",
)


class MasterLosses:
    """Counters of the master's losses. Thread-safe.

    :param journal: stores the counters
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._losses = Losses((BOOKS_NOT_KEPT, JOURNAL_DAMAGED))
        self._losses.recall(journal.memory(MASTER, "").get(LOSSES))
        if journal.aside:
            self.lost(JOURNAL_DAMAGED, str(journal.aside), "its pages are damaged")

    def lost(self, kind: LossKind, what: str, why: str) -> None:
        """Count a loss, and store the counters."""
        with self._lock:
            self._losses.add(kind, what, why)
            try:
                self._journal.remember(MASTER, "", LOSSES, self._losses.to_plain())
            except FullError as error:
                log.error("a loss is not stored, and is forgotten at a restart:  %s", error)

    def shown(self) -> dict[str, Any]:
        """Return the losses as plain values, for the command line."""
        return self._losses.summaries()

    @property
    def summaries(self) -> tuple[LossSummary, ...]:
        """Losses by kind, for the overview."""
        return read_losses(self._losses.summaries())

    @property
    def numbers(self) -> dict[str, int]:
        """Number of losses by kind, for the metrics."""
        return self._losses.numbers()
