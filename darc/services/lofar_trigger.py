"""Freezes LOFAR's transient buffers for a trigger."""

from __future__ import annotations

import logging
from typing import ClassVar

from darc.model.observation import Observation
from darc.model.settings import LofarTriggerSettings
from darc.model.trigger import Trigger
from darc.services.trigger_consumer import TriggerConsumer

log = logging.getLogger(__name__)


class LOFARTrigger(TriggerConsumer[LofarTriggerSettings]):
    """Sends triggers to LOFAR, where that is switched on."""

    name = "lofar_trigger"
    settings_type = LofarTriggerSettings
    attributes: ClassVar[tuple[str, ...]] = (*TriggerConsumer.attributes, "send_events")
    switches = ("send_events",)
    observes = False

    send_events = False

    def prepare(self) -> None:
        super().prepare()
        self.send_events = self.settings.send_events

    def act(self, triggers: list[Trigger], observation: Observation | None) -> None:
        log.info("no packet sent: this version does not talk to LOFAR yet")


if __name__ == "__main__":
    LOFARTrigger.main()
