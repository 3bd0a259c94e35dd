"""A service of one's own: counts the bright ones among the triggers that it is given."""

from __future__ import annotations

import logging
from typing import Annotated, ClassVar

from darc.config.records import Struct
from darc.config.typed import Range
from darc.model.observation import Observation
from darc.model.trigger import Trigger
from darc.runtime.service_traits import ServiceTraits
from darc.services.base.trigger_consumer import TriggerConsumer

log = logging.getLogger(__name__)


class TriggerCounterSettings(Struct, frozen=True):
    """Section `trigger_counter` of the configuration."""

    snr_min: Annotated[float, Range(0, 1e6)] = 10.0


class TriggerCounter(TriggerConsumer[TriggerCounterSettings]):
    """Counts triggers of at least `snr_min`."""

    name = "trigger_counter"
    settings_type = TriggerCounterSettings
    attributes: ClassVar[tuple[str, ...]] = (*TriggerConsumer.attributes, "bright_triggers")
    traits = ServiceTraits(observes=False)

    bright_triggers = 0

    def act(self, triggers: list[Trigger], observation: Observation | None) -> None:
        bright = sum(trigger.snr >= self.settings.snr_min for trigger in triggers)
        self.bright_triggers += bright
        log.info("%d of %d triggers are bright", bright, len(triggers))


if __name__ == "__main__":
    TriggerCounter.main()
