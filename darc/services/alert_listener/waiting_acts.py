"""What a notice has started and is not over: lowered thresholds, and dumps still to come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darc.config.records import Struct
from darc.model.outside_notice import OutsideNotice
from darc.model.trigger import Trigger

LOWERED, DUE_DUMP = "lowered ", "due dump "


class ActiveLowering(Struct, frozen=True):
    """A rule that lowers a threshold wherever its notice's place is observed, until it ends.

    :param start: of the data, Unix s, as is `end`
    """

    rule: str
    notice: OutsideNotice
    start: float
    end: float

    @property
    def memory_key(self) -> str:
        return f"{LOWERED}{self.notice.key} {self.rule}"

    def to_plain(self) -> list[Any]:
        return [self.rule, self.notice.to_plain(), self.start, self.end]

    @classmethod
    def from_plain(cls, plain: Any) -> ActiveLowering:
        """
        :raises ValueError: it is something else
        """
        rule, notice, start, end = plain
        return cls(str(rule), OutsideNotice.from_plain(notice), float(start), float(end))


class DueDump(Struct, frozen=True):
    """A dump of a burst that arrives later at our frequencies.

    :param observation: key of the run
    :param due: Unix s
    """

    key: str
    observation: str
    trigger: Trigger
    due: float

    @property
    def memory_key(self) -> str:
        return f"{DUE_DUMP}{self.key}"

    def to_plain(self) -> list[Any]:
        return [self.key, self.observation, self.trigger.to_plain(), self.due]

    @classmethod
    def from_plain(cls, plain: Any) -> DueDump:
        """
        :raises ValueError: it is something else
        """
        key, observation, trigger, due = plain
        return cls(str(key), str(observation), Trigger.from_plain(trigger), float(due))


def recovered(memory: Mapping[str, Any]) -> tuple[list[ActiveLowering], list[DueDump]]:
    """Return what a service's memory holds of them.

    :raises ValueError: it holds something else
    """
    known = {key: plain for key, plain in memory.items() if plain is not None}
    lowerings = [
        ActiveLowering.from_plain(plain) for key, plain in known.items() if key.startswith(LOWERED)
    ]
    dumps = [DueDump.from_plain(plain) for key, plain in known.items() if key.startswith(DUE_DUMP)]
    return lowerings, dumps
