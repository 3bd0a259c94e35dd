"""Asks dada_dbevent to keep the raw data of triggers."""

from __future__ import annotations

import logging

from darc.model.observation import Observation
from darc.model.settings import DadaTriggerSettings
from darc.model.trigger import Trigger
from darc.services.trigger_consumer import TriggerConsumer

log = logging.getLogger(__name__)


class DADATrigger(TriggerConsumer[DadaTriggerSettings]):
    """Requests IQUV and Stokes I dumps."""

    name = "dada_trigger"
    settings_type = DadaTriggerSettings

    def act(self, triggers: list[Trigger], observation: Observation | None) -> None:
        log.info("no dump requested: this version does not talk to dada_dbevent yet")


if __name__ == "__main__":
    DADATrigger.main()
