"""That a rule acted upon a notice."""

from __future__ import annotations

from darc.config.records import Struct

#: Prefix of their keys in the service's memory.
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
