"""Who asks the Transient Name Server, and what can become of it: without what speaks HTTP."""

from __future__ import annotations

import json

from darc.config.records import Struct
from darc.delivery.outbox import DeliveryError


class ReportUnsureError(DeliveryError):
    """No answer that can be read: the other side may have what was sent."""


class ReportRefusedError(DeliveryError):
    """It was refused, with a reason: the same again would be, too."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, permanent=True)


class ReportKnownError(DeliveryError):
    """The server has the same report already, and so will not take it again."""


class Bot(Struct, frozen=True):
    """Who asks; neither its text nor its representation has the key.

    :param id: its number at the TNS
    """

    id: int
    name: str
    key: str

    @property
    def marker(self) -> str:
        """The user agent by which the TNS tells bots."""
        return "tns_marker" + json.dumps({"tns_id": self.id, "type": "bot", "name": self.name})

    def __repr__(self) -> str:
        return f"<bot {self.id}>"

    __str__ = __repr__
