"""What is done after an observation: folding, drift scans, known repeaters."""

from __future__ import annotations

import logging
import time
from typing import Any

from darc.model.observation import Observation
from darc.model.settings import OfflineProcessingSettings
from darc.services.base import Service

log = logging.getLogger(__name__)


class OfflineProcessing(Service[OfflineProcessingSettings]):
    """Waits for the end of observations, whether or not they are stopped."""

    name = "offline_processing"
    settings_type = OfflineProcessingSettings

    def prepare(self) -> None:
        self._waiting: dict[str, Observation] = {}

    def start_observation(self, observation: Observation, memory: dict[str, Any]) -> None:
        self._waiting[observation.task_id] = observation

    def abort_observation(self, observation: Observation) -> None:
        self._waiting.pop(observation.task_id, None)

    def idle(self) -> None:
        now = time.time()
        for observation in [one for one in self._waiting.values() if one.end <= now]:
            log.info("%s: nothing done: this version has no offline work yet", observation.task_id)
            del self._waiting[observation.task_id]
            self.finish(observation)


if __name__ == "__main__":
    OfflineProcessing.main()
