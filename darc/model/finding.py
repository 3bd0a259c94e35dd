"""What was found about an announced burst after its trigger, and what people say of it.

Both go to the service that announces bursts, by its queue, beside triggers.
"""

from __future__ import annotations

from typing import Annotated, Any

from darc.config import ranges, typed
from darc.config.records import Struct
from darc.config.typed import NotEmpty, OneOf, Range, UpTo

#: Keys by which they are distinguished from triggers.
FINDING, ORDER = "finding", "order"
MAX_REASON = 2000  # characters

MAX_NAME = 300  # characters: of events, hosts, people and where they are
MAX_PATH = 4096  # characters

_Name = Annotated[str, UpTo(MAX_NAME)]


class BurstFinding(Struct, frozen=True):
    """A cluster as it was measured in the data.

    :param observation: key of the run
    :param arrival: at the centre of the highest channel, Unix s
    :param dm: pc cm-3
    :param width: ms
    :param probability: that it is a burst, by the classifier; None: not classified
    :param host: where it was measured
    :param identity: of the trigger, where that is known
    :param picture: path of the candidate's picture on that host; empty: there is none
    """

    observation: _Name
    cb: Annotated[int, ranges.BEAM] | None
    sb: Annotated[int, ranges.BEAM]
    arrival: Annotated[float, ranges.ARRIVAL]
    dm: Annotated[float, ranges.DM]
    snr: Annotated[float, ranges.SNR]
    width: Annotated[float, ranges.WIDTH]
    probability: Annotated[float, Range(0, 1)] | None
    host: _Name
    identity: Annotated[str, UpTo(MAX_NAME + 50)] = ""
    picture: Annotated[str, UpTo(MAX_PATH)] = ""

    def to_plain(self) -> dict[str, Any]:
        return {FINDING: typed.to_plain(self)}


class AlertOrder(Struct, frozen=True):
    """What a person wants to be said of an event.

    :param action: retract: it is none; confirm: it is one; test: a test notice, without an event;
        report: to the Transient Name Server
    :param reason: as it is published; of a confirmation, what it is
    :param by: who that was, and from where
    :param live: of a report: to the live server, not to the sandbox
    """

    action: Annotated[str, OneOf("retract", "confirm", "test", "report")]
    event_id: _Name
    reason: Annotated[str, UpTo(MAX_REASON)]
    by: Annotated[str, NotEmpty(), UpTo(MAX_NAME)]
    at: Annotated[float, Range(0, 1e11)]  # Unix s
    live: bool = False

    def to_plain(self) -> dict[str, Any]:
        return {ORDER: typed.to_plain(self)}


def is_about_event(plain: object) -> bool:
    """Whether an item of a queue is one of these, not a trigger."""
    return isinstance(plain, dict) and len(plain) == 1 and bool({FINDING, ORDER} & set(plain))


def is_order(plain: object) -> bool:
    """Whether an item of a queue is, or claims to be, an order of a person."""
    return isinstance(plain, dict) and ORDER in plain


def about_event(plain: dict[str, Any]) -> BurstFinding | AlertOrder:
    """Return a finding or an order from the output of `to_plain`.

    :raises ValueError: a value is wrong
    """
    if FINDING in plain:
        return typed.from_plain(BurstFinding, plain[FINDING], FINDING)
    return typed.from_plain(AlertOrder, plain[ORDER], ORDER)
