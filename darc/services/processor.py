"""Processing of candidates: extraction, score and plots on workers, gathering on the master."""

from __future__ import annotations

import logging
import time
from typing import ClassVar

from darc.model.candidate import candidates_from_bytes
from darc.model.config import Role
from darc.model.observation import Observation
from darc.model.settings import ProcessorSettings
from darc.node.configuration import load_node_config
from darc.node.log import about
from darc.queues.messages import Commit, Entry, Kind
from darc.services.base import Consumer

log = logging.getLogger(__name__)


class ProcessorManager(Consumer[ProcessorSettings]):
    """The worker's half; on a host that stands alone, both."""

    name = "processor"
    settings_type = ProcessorSettings
    attributes: ClassVar[tuple[str, ...]] = ("candidates_received",)

    candidates_received = 0

    def prepare(self) -> None:
        self._stopped: dict[str, tuple[Observation, float]] = {}  # and when, Unix s

    def start_observation(self, observation: Observation, memory: dict[str, object]) -> None:
        log.info("candidates are counted only: this version does not process them yet")
        if self.is_past(observation):
            log.warning("the observation is in the past, and its files are not read yet")
            self.finish(observation)

    def stop_observation(self, observation: Observation) -> None:
        self._stopped[observation.task_id] = (observation, time.time())

    def abort_observation(self, observation: Observation) -> None:
        self._stopped.pop(observation.task_id, None)

    def idle(self) -> None:
        """An end that amber_listener never puts must not keep an observation for ever."""
        latest = time.time() - self.config.master.end_delay
        for observation, stopped in list(self._stopped.values()):
            if stopped < latest:
                with about(observation.task_id):
                    log.warning("no end came from amber_listener: nothing more is awaited")
                    del self._stopped[observation.task_id]
                    self.finish(observation)

    def work(self, entry: Entry, observation: Observation | None) -> None:
        if entry.kind is Kind.CANDIDATES:
            self.candidates_received += len(candidates_from_bytes(entry.content))
        self.commit(Commit(entry.observation, completed=(entry.id,)))

    def end(self, entry: Entry, observation: Observation) -> None:
        log.info("%d candidates received", self.candidates_received)
        self._stopped.pop(observation.task_id, None)
        super().end(entry, observation)


class ProcessorMasterManager(ProcessorManager):
    """The master's half, which no candidates reach."""

    def stop_observation(self, observation: Observation) -> None:
        log.info("results are not gathered: this version does not do that yet")
        self.finish(observation)


if __name__ == "__main__":
    on_master = load_node_config().role is Role.MASTER
    (ProcessorMasterManager if on_master else ProcessorManager).main()
