"""Processing on a single host, which also publishes its results and sends the e-mail."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from darc.candidates.observation_work import ObservationWork
from darc.candidates.pool import DoneTask
from darc.candidates.results.publication import Publication
from darc.config.records import Struct
from darc.config.settings import ProcessorMasterSettings
from darc.model.results import ObservationResults
from darc.services.base.mails import MAIL_GIVEN_UP, Mails
from darc.services.processor.processor_master import (
    RESULTS_INCOMPLETE,
    publication_of,
    results_mail,
    show_lists,
)
from darc.services.processor.service import ProcessorManager


class PublishingJob(Struct, frozen=True):
    """Task that publishes the results, the last one of an observation."""

    observation: str
    publication: Publication

    def run(self) -> ObservationResults:
        """Show the results on the site."""
        return self.publication.update()


class ProcessorAlone(ProcessorManager):
    """The worker's and the master's part of the processing in one service."""

    attributes: ClassVar[tuple[str, ...]] = (*ProcessorManager.attributes, "mails_waiting")
    loss_kinds = (*ProcessorManager.loss_kinds, MAIL_GIVEN_UP, RESULTS_INCOMPLETE)

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the worker's class, which clients know."""
        return ProcessorManager.class_name()

    def prepare(self) -> None:
        """Start as on a worker, with e-mails."""
        super().prepare()
        self._mails = Mails(self, self.config.of(ProcessorMasterSettings).email_settings.to)

    @property
    def mails_waiting(self) -> list[str]:
        """E-mails that the server has not accepted yet, with the reason."""
        return self._mails.waiting

    def recover(self, memory: dict[str, Any]) -> None:
        """Send the e-mails that an earlier process had not sent."""
        super().recover(memory)
        self._mails.send(memory)
        threading.Thread(
            target=show_lists, args=(self.config,), name="results", daemon=True
        ).start()

    def idle(self) -> None:
        """Work as on a worker, and forget the e-mails that were sent."""
        super().idle()
        self._mails.delete_sent()

    def brought(self, work: ObservationWork) -> None:
        """Show the results once they are written."""
        observation = work.observation
        assert observation.beam is not None
        publication = publication_of(observation, (observation.beam,), work.began, self.config)
        work.writing = True
        self.add_task(PublishingJob(observation.key, publication))

    def shown(self, work: ObservationWork, done: DoneTask) -> None:
        """Send the e-mail once the results are shown."""
        if not isinstance(done.result, ObservationResults):
            self.try_again(work, "results not shown", done.error)
            return
        assert isinstance(done.task, PublishingJob)
        settings = self.config.of(ProcessorMasterSettings)
        mail = results_mail(self, done.result, done.task.publication, settings)
        self._mails.post(f"{work.observation.task_id} {work.began:.0f} results", mail)
        self.end(work)
