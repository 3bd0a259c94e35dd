"""A notice, or a VOEvent, that one road has to deliver: what is on the disk before it is sent."""

from __future__ import annotations

from typing import Any

from darc.config.records import Struct
from darc.model.event import RoadName, Tense
from darc.model.trigger import Stages
from darc.runtime.clock import Since

#: Prefix of their keys in the memory of the service.
PENDING = "leaving "
#: Likewise of versions before there were several roads: VOEvents, without what is of a road.
PENDING_BEFORE = "event "


class PendingEvent(Struct, frozen=True):
    """Bytes to be delivered by a road, the same at each attempt.

    :param identity: of the trigger
    :param taken_at: when its trigger was taken (Unix s), as is the next
    :param made: when it was created; it expires a limit after that (s)
    :param event_id: of the event; empty: of a version before, which kept none
    :param number: of the notice among those of the event
    :param taken: names of the targets of its road that have taken it, where there are several
    """

    identity: str
    observation: str
    content: bytes
    stages: Stages
    taken_at: float
    gathered_at: float
    made: Since
    give_up_after: float
    road: RoadName = RoadName.VTP
    event_id: str = ""
    number: int = 1
    tense: Tense = Tense.TEST
    taken: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Key in the memory: one for each notice and road."""
        return f"{PENDING}{self.road} {self.event_id} {self.number}"

    @property
    def is_burst(self) -> bool:
        """Whether it is about a burst, not about a test or an injection, which go elsewhere."""
        return self.tense is Tense.CURRENT

    @property
    def time_left(self) -> float:
        """Return after how long it is given up (s)."""
        return self.give_up_after - self.made.age()

    def to_plain(self) -> list[Any]:
        """Return the event as a list, for the memory; `from_plain` reads it."""
        times = self.taken_at, self.gathered_at, self.made.to_plain(), self.give_up_after
        stages = [getattr(self.stages, name) for name in Stages.__struct_fields__]
        road = [str(self.road), self.event_id, self.number, str(self.tense), *self.taken]
        return [self.identity, self.observation, self.content, stages, *times, road]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> PendingEvent:
        """Restore from plain values; earlier versions knew no roads, and saved the expiry."""
        identity, observation, content, stages, taken_at, gathered_at, *until = plain
        road = until.pop() if len(until) == 3 else None
        if len(until) == 1:
            made, give_up_after = taken_at, until[0] - taken_at
        else:
            made, give_up_after = until
        about = identity, observation, content, Stages(*stages), taken_at, gathered_at
        times = Since.from_plain(made), float(give_up_after)
        if road is None:
            return cls(*about, *times)
        name, event_id, number, tense, *taken = road
        whom = tuple(map(str, taken))
        return cls(*about, *times, RoadName(name), event_id, int(number), Tense(tense), whom)
