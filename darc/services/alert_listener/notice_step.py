"""What follows from some notices, to be committed as one."""

from __future__ import annotations

from typing import Any

from darc.config.records import Struct, field
from darc.queues.messages import Commit, Put
from darc.services.alert_listener.notice_use import NoticeUse


class NoticeStep(Struct):
    """Puts, memory, and what is said once they are committed.

    :param lines: for the log, beside the uses
    :param refused: uses beyond the limit: what, and why
    """

    puts: list[Put] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)
    uses: list[NoticeUse] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)

    @property
    def commit(self) -> Commit:
        """The step as a commit."""
        return Commit(puts=tuple(self.puts), memory=self.memory)
