"""What follows from some notices, to be committed as one, and that rules acted upon them."""

from __future__ import annotations

from typing import Any

from darc.config.records import Struct, field
from darc.queues.messages import Commit, Put

#: Prefix of the keys of uses in the service's memory.
USE = "use "


class NoticeUse(Struct, frozen=True):
    """That a rule acted upon a notice.

    :param key: identity of the notice's event
    :param at: Unix s
    :param what: was done
    """

    rule: str
    action: str
    key: str
    source: str
    id: str
    at: float
    what: str

    @property
    def memory_key(self) -> str:
        return f"{USE}{self.key} {self.rule}"


class NoticeStep(Struct):
    """Puts, memory, and what is said once they are committed.

    :param now: time of the notice that is acted upon, or of the look (Unix s)
    :param lines: for the log, beside the uses
    :param refused: uses beyond the limit: what, and why
    """

    now: float
    puts: list[Put] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)
    uses: list[NoticeUse] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)

    @property
    def commit(self) -> Commit:
        """The step as a commit."""
        return Commit(puts=tuple(self.puts), memory=self.memory)
