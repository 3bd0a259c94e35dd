"""Uses of notices: which rule acted upon which event, once each, and at most so many an hour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darc.config.typed import from_plain, to_plain
from darc.model.memory_rows import rows_under
from darc.model.outside_notice import OutsideNotice
from darc.services.alert_listener.node_view import NodeView
from darc.services.alert_listener.notice_step import USE, NoticeStep, NoticeUse
from darc.services.alert_listener.settings import DUMP, NoticeRule

#: Why a rule does not act upon an event again.
USED_BEFORE = "used before"
HOUR = 3600.0
#: For longer than any `within` of a rule, so that what comes again is known (s).
REMEMBERED_SECONDS = 8 * 86400.0
MOST = 20_000


class UseBook:
    """The uses that are remembered, the oldest first."""

    def __init__(self, view: NodeView) -> None:
        self._view = view
        self._uses: dict[tuple[str, str], NoticeUse] = {}
        self._dumped: set[str] = set()

    def recover(self, memory: Mapping[str, Any]) -> None:
        """Restore what `add` has returned."""
        uses = [from_plain(NoticeUse, plain, "use") for plain in rows_under(memory, USE).values()]
        for use in sorted(uses, key=lambda one: one.at):
            self._put(use)

    def has(self, rule: str, key: str) -> bool:
        """Whether a rule has acted upon an event."""
        return (key, rule) in self._uses

    def dumped(self, key: str) -> bool:
        """Whether a dump was asked for because of an event, by whichever rule."""
        return key in self._dumped

    def add(self, use: NoticeUse) -> dict[str, Any]:
        """Note a use; return the memory to commit, without what is too old to come again."""
        memory: dict[str, Any] = {}
        for place, old in list(self._uses.items()):
            if old.at > use.at - REMEMBERED_SECONDS and len(self._uses) < MOST:
                break
            del self._uses[place]
            self._dumped.discard(old.key)
            memory[old.memory_key] = None
        self._put(use)
        return memory | {use.memory_key: to_plain(use)}

    def may_use(self, rule: NoticeRule, notice: OutsideNotice, step: NoticeStep) -> bool:
        """Whether another use is allowed; one that is not is in the step."""
        limit = self._view.settings.max_uses_per_hour
        # One that the clock puts later than now counts, too.
        if sum(use.at > step.now - HOUR for use in self._uses.values()) < limit:
            return True
        what = f"notice of {notice.source}, id {notice.id}, rule {rule.name}"
        step.refused.append((what, f"{limit} uses in an hour"))
        return False

    def note(
        self, rule: str, action: str, notice: OutsideNotice, what: str, step: NoticeStep
    ) -> None:
        """Note that a rule has acted upon a notice; what to commit is in the step."""
        use = NoticeUse(rule, action, notice.key, notice.source, notice.id, step.now, what)
        step.memory |= self.add(use)
        step.uses.append(use)

    def latest(self, number: int) -> list[dict[str, Any]]:
        """Return the latest uses, as plain values."""
        return [to_plain(use) for use in list(self._uses.values())[-number:]]

    def _put(self, use: NoticeUse) -> None:
        self._uses[use.key, use.rule] = use
        if use.action == DUMP:
            self._dumped.add(use.key)
