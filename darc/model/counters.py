"""What services count: identifiers inside, and the words that people are shown for them.

An identifier goes through queues, memories and answers; words are made where a person, a log or a
metric gets it, by :func:`in_words`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Self, TypeVar

K = TypeVar("K", bound=str)
N = TypeVar("N", int, float)

#: Observations whose counts a service tells.
KEPT_OBSERVATIONS = 10


class _Worded(enum.StrEnum):
    """Identifiers, each with its words where these are not those of the identifier."""

    words: str

    def __new__(cls, identifier: str, words: str = "") -> Self:
        made = str.__new__(cls, identifier)
        made._value_ = identifier
        made.words = words or identifier.replace("_", " ")
        return made


class Rejection(_Worded):
    """Why a line or a candidate is not used."""

    EMPTY = "empty"
    NOT_TEXT = "not_text"
    WRONG_COUNT = "wrong_number_of_columns"
    NOT_NUMBER = "not_a_number"
    NOT_INTEGER = "not_an_integer"
    NOT_WHOLE = "not_a_whole_number"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"
    BAD_HEADER = "bad_header"
    UNUSABLE_HEADER = "header_not_usable"
    NO_HEADER = "no_header", "no header before it"
    HALF_LINE = "half_line", "half a line at the end"
    LONG_LINE = "long_line", "line of over 1048576 bytes"
    LONG_GULP_LINE = "long_gulp_line", "line of over 4096 bytes in a gulp"
    OUTSIDE = "outside_observation", "outside the observation"
    WEAK = "below_snr_threshold", "below S/N threshold"
    FOREIGN = "no_such_beam"
    INJECTED = "injected"

    @property
    def counter(self) -> str:
        """The counter of what was rejected for it."""
        return f"rejected_{self}"


class Counted(_Worded):
    """What became of lines, candidates and clusters, beside what was rejected."""

    LINES = "lines"
    HEADERS = "headers"
    CANDIDATES = "candidates"
    FILES_GIVEN_UP = "files_given_up"
    FILES_WRITTEN_ANEW = "files_written_anew"
    BYTES_LOST = "bytes_lost"
    EARLIER_BYTES = "earlier_bytes", "bytes of an earlier observation"
    EARLIER_FILES = "earlier_files", "files of an earlier observation"
    FILES_REFUSED = "files_refused", "files that cannot be read"
    GULPS = "gulps"
    GULPS_LATE = "gulps_late", "gulps that came after the others were passed on"
    GULPS_INCOMPLETE = "gulps_incomplete", "gulps passed on without a search"
    GULPS_MISSED = "gulps_missed", "gulps that never came"
    GULPS_CUT = "gulps_cut", "gulps that were cut off"
    GULP_BACK = "gulp_numbers_back", "gulp numbers that went back"
    BEAMS_CLAIMED_TWICE = "beams_claimed_twice", "beams claimed by two searches"
    CONNECTIONS_REFUSED = "connections_refused"
    CONNECTIONS_SILENT = "connections_silent", "connections that sent nothing in time"
    WINDOWS = "windows"
    CLUSTERS = "clusters"
    CLUSTERED = "clustered"
    IQUV_TRIGGERS = "iquv_triggers"
    LOFAR_TRIGGERS = "lofar_triggers"
    IQUV_REPEATED = "iquv_triggers_repeated"
    LOFAR_REPEATED = "lofar_triggers_repeated"
    IQUV_HELD_BACK = "iquv_triggers_held_back", "IQUV triggers held back"
    LOFAR_NOT_PASSED_ON = "lofar_triggers_not_passed_on"
    INJECTIONS = "injection_triggers", "triggers of injections"
    TOO_MANY_CLUSTERS = "too_many_clusters"


class NotRequested(_Worded):
    """Why a dump is not requested."""

    NO_OBSERVATION = "no_such_observation"
    POLCAL = "polarisation_calibration"
    OUTSIDE = "outside_observation", "outside the observation"
    TOO_MANY = "too_many", "more than fit a request"

    @property
    def counter(self) -> str:
        """The counter of what was not requested for it."""
        return f"not_requested_{self}"


class TriggerOutcome(_Worded):
    """What became of a trigger, beside dumps that were not requested."""

    UNUSABLE = "unusable"
    EXPIRED = "expired"
    CANNOT_BE_TOLD = "cannot_be_told"
    DISABLED = "not_sent_disabled", "not sent: disabled"
    ANNOUNCED_BEFORE = "announced_before", "of a pulse announced before"
    NOT_THE_BEST = "not_the_best", "of a pulse with a better trigger"
    TOO_MANY = "too_many_at_once"
    SENT = "sent"
    SENT_AGAIN = "sent_again"
    GIVEN_UP = "given_up"
    ACCEPTED = "accepted"
    WITHDRAWN = "withdrawn"
    NO_ROAD = "no_road", "no road for it"
    SENT_NOT_CONFIRMED = "sent_not_confirmed", "sent, not confirmed"
    ASKED_AGAIN = "asked_again"
    TOO_LATE = "too_late"
    INJECTION = "injection", "of an injected burst"


_WORDS: Mapping[str, str] = {
    **{str(one): one.words for kind in (Rejection, Counted, TriggerOutcome) for one in kind},
    **{one.counter: f"rejected: {one.words}" for one in Rejection},
    **{one.counter: f"not requested: {one.words}" for one in NotRequested},
}
_IDENTIFIERS = {words: identifier for identifier, words in _WORDS.items()}


def in_words(counts: Mapping[K, N]) -> dict[str, N]:
    """Counts as people are shown them; what a service of others counts has its own name."""
    return {_WORDS.get(what) or str(what): number for what, number in counts.items()}


def identified(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts as they are kept, from those of an earlier version, which kept words."""
    return {_IDENTIFIERS.get(what, str(what)): number for what, number in counts.items()}


def note_latest(latest: dict[str, dict[str, int]], task_id: str, counts: Mapping[str, int]) -> None:
    """Note the counts of an observation as the latest; the first of too many are forgotten."""
    latest.pop(task_id, None)
    latest[task_id] = plain_counts(counts)
    while len(latest) > KEPT_OBSERVATIONS:
        del latest[next(iter(latest))]


def plain_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts with names of plain text, as they travel; another thread may add to them meanwhile."""
    return {str(what): number for what, number in list(counts.items())}
