"""What is counted: identifiers, and the words for them."""

from __future__ import annotations

from collections import Counter

from darc.model.counters import (
    Counted,
    NotRequested,
    Rejection,
    TriggerOutcome,
    identified,
    in_words,
    plain_counts,
)
from darc.queues.plain_connection import pack, unpack
from darc.trigger_files.trigger_file import CHUNK_BYTES

COUNTERS = [
    *(str(one) for kind in (Rejection, Counted, TriggerOutcome) for one in kind),
    *(one.counter for kind in (Rejection, NotRequested) for one in kind),
]


def test_words_and_identifiers_lead_to_each_other() -> None:
    counts = {name: number for number, name in enumerate(dict.fromkeys(COUNTERS))}
    words = in_words(counts)
    assert list(words.values()) == list(counts.values())
    assert len(words) == len(counts)
    assert identified(words) == counts
    assert identified(counts) == counts  # kept by this version


def test_words_are_those_of_before() -> None:
    assert in_words({Rejection.WEAK.counter: 3}) == {"rejected: below S/N threshold": 3}
    assert in_words({NotRequested.TOO_MANY.counter: 1}) == {
        "not requested: more than fit a request": 1
    }
    assert in_words({TriggerOutcome.DISABLED: 2, "own": 1}) == {"not sent: disabled": 2, "own": 1}
    assert Rejection.LONG_LINE.words == f"line of over {CHUNK_BYTES} bytes"


def test_counts_travel() -> None:
    counts = plain_counts(Counter({TriggerOutcome.SENT: 2}))
    assert unpack(pack(counts)) == {"sent": 2}


def test_counts_may_be_added_to_while_they_are_told() -> None:
    counts: Counter[str] = Counter()

    class Name(str):
        """As by another thread: a name that is told has another one counted."""

        __slots__ = ()

        def __str__(self) -> str:
            counts["meanwhile"] += 1
            return "accepted"

    counts[Name("accepted")] = 2
    assert plain_counts(counts) == {"accepted": 2}
    assert counts["meanwhile"] == 1
