"""Tells the world of a trigger by VOEvent."""

from __future__ import annotations

import logging
from typing import ClassVar

from darc.model.observation import Observation
from darc.model.settings import VOEventGeneratorSettings
from darc.model.trigger import Trigger
from darc.services.trigger_consumer import TriggerConsumer

log = logging.getLogger(__name__)


class VOEventGenerator(TriggerConsumer[VOEventGeneratorSettings]):
    """Makes and sends VOEvents, where that is switched on."""

    name = "voevent_generator"
    settings_type = VOEventGeneratorSettings
    attributes: ClassVar[tuple[str, ...]] = (*TriggerConsumer.attributes, "send_events")
    switches = ("send_events",)
    observes = False

    send_events = False

    def prepare(self) -> None:
        super().prepare()
        self.send_events = self.settings.send_events

    def act(self, triggers: list[Trigger], observation: Observation | None) -> None:
        log.info("no VOEvent sent: this version does not make them yet")


if __name__ == "__main__":
    VOEventGenerator.main()
