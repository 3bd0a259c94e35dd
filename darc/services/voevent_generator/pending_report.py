"""A report to the Transient Name Server that is under way: on the disk before it is sent."""

from __future__ import annotations

from typing import Any

from darc.config.records import Struct
from darc.model.name_report import LIVE, SANDBOX
from darc.runtime.clock import Since

#: Prefix of their keys in the memory of the service.
REPORTING = "reporting "


class PendingReport(Struct, frozen=True):
    """A report, the same bytes at each attempt.

    :param observation: of the event, for log lines
    :param url: of the server that was meant
    :param content: JSON
    :param at: when a person asked for it, Unix s
    :param since: when its present part began, to hand it in or to wait for the answer
    :param number: of the report at the TNS; empty: it was not handed in, as far as is known
    """

    event_id: str
    observation: str
    live: bool
    url: str
    internal_name: str
    content: bytes
    at: float
    since: Since
    number: str = ""

    @property
    def key(self) -> str:
        """Key in the memory: one for each event and server."""
        return f"{REPORTING}{LIVE if self.live else SANDBOX} {self.event_id}"

    @property
    def part(self) -> str:
        """Key of its present part, of which an earlier report of the event has none."""
        return f"{self.key} {self.at:.6f} {self.number or 'hand in'}"

    def to_plain(self) -> list[Any]:
        about = self.event_id, self.observation, self.live, self.url, self.internal_name
        return [*about, self.content, self.at, self.since.to_plain(), self.number]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> PendingReport:
        """Return the report in the output of `to_plain`.

        :raises ValueError: a value is wrong; likewise TypeError
        """
        event_id, observation, live, url, internal_name, content, at, since, number = plain
        texts = str(event_id), str(observation), bool(live), str(url), str(internal_name)
        times = float(at), Since.from_plain(since)
        return cls(*texts, bytes(content), *times, str(number))
