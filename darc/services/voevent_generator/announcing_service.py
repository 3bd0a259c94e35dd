"""The service that announces events, as its parts see it, which it imports itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from darc.config.config import Config
from darc.model.counters import TriggerOutcome
from darc.model.event import AlertType, Event, RoadName
from darc.model.finding import AlertOrder
from darc.node.losses import LossKind
from darc.queues.messages import Commit
from darc.services.voevent_generator.composer import ComposedNotice
from darc.services.voevent_generator.event_book import EventBook
from darc.services.voevent_generator.pending_event import PendingEvent
from darc.services.voevent_generator.settings import VOEventGeneratorSettings
from darc.services.voevent_generator.switches import WaySwitches


class AnnouncingService(Protocol):
    """What the parts of the service ask of it, and have it do."""

    config: Config
    settings: VOEventGeneratorSettings
    ways: WaySwitches
    book: EventBook
    send_events: bool
    send_updates: bool

    @property
    def may_leave(self) -> bool: ...
    def commit(self, commit: Commit) -> None: ...
    def lost(self, kind: LossKind, what: str, why: str, number: int = 1) -> None: ...
    def cannot_be_told(self, identity: str, error: Exception) -> None: ...
    def composed(
        self,
        event: Event,
        kind: AlertType,
        by: str,
        reason: str = "",
        *,
        supervised: bool = False,
        earlier: str = "",
    ) -> ComposedNotice | None: ...
    def follow(
        self, event: Event, kind: AlertType, by: str, reason: str, *, supervised: bool
    ) -> tuple[Event, list[PendingEvent]] | None: ...
    def publish(
        self,
        entries: tuple[int, ...],
        events: Sequence[Event],
        items: Sequence[PendingEvent],
        memory: Mapping[str, Any] | None = None,
    ) -> None: ...
    def announce_test(self, entry: int, order: AlertOrder) -> None: ...
    def report(self, order: AlertOrder, event: Event) -> Event: ...
    def withdrawn_from(self, road: RoadName) -> None: ...
    def count_outcome(self, outcome: TriggerOutcome) -> None: ...
    def note_latency(self, item: PendingEvent, sent_at: float, accepted_at: float) -> None: ...
