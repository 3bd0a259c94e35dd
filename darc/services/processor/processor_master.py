"""The master's part of the processing: collects the results of the workers, and sends e-mails.

It waits for the summary of every compound beam. Missing ones that no worker is processing are
reported once by e-mail; when all have arrived or been given up, there is one e-mail and the page
of results. Files and network are accessed in a thread, as that may take long.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any, ClassVar

from darc.candidates.results.collect_results import ResultsRequest
from darc.candidates.results.publication import Publication
from darc.candidates.results.site_lists import write_lists
from darc.candidates.results.source_matches import match_settings
from darc.config.config import Config
from darc.config.records import Struct, field
from darc.config.settings import (
    AmberClusteringSettings,
    ProcessorMasterSettings,
    ProcessorSettings,
    StatusWebsiteSettings,
)
from darc.model.observation import Observation
from darc.model.results import BeamState, ObservationResults
from darc.model.results_email import missing_email, results_email
from darc.node.command_client import ask_attribute
from darc.node.losses import LossKind
from darc.queues.messages import Commit
from darc.runtime.clock import Since
from darc.runtime.freed_memory import give_back_freed_memory
from darc.runtime.log import about
from darc.services.base.mails import MAIL_GIVEN_UP, Mail, Mails
from darc.services.base.service import ENDED, Service
from darc.services.processor.traits import TRAITS

log = logging.getLogger(__name__)

BEGAN, STOPPED, TOLD = "began", "stopped", "told of"
#: The time of STOPPED, which earlier versions read as a time of day, by all clocks.
STOPPED_SINCE = "stopped since"
SERVICE = "processor"

RESULTS_INCOMPLETE = LossKind(
    "results_incomplete",
    "results of an observation lack something",
    "Mend the file that is named, and start the observation again: its results are written anew.",
)


class CollectionRound(Struct, frozen=True):
    """Result of one round of collection.

    :param results: None: they could not be read or published
    :param missing: beams that no worker is processing, with the reason
    """

    results: ObservationResults | None
    missing: Mapping[int, str] = field(default_factory=dict)


class AwaitedResults(Struct):
    """Observation whose results are awaited.

    :param began: Unix s
    :param reported: beams reported as missing
    :param absent: beams missing in the last round and not reported yet
    """

    publication: Publication
    began: float
    stopped: Since | None
    reported: set[int]
    absent: set[int] = field(default_factory=set)
    next_look: float = 0.0  # monotonic
    looking: Future[CollectionRound] | None = None

    @property
    def observation(self) -> Observation:
        return self.publication.wanted.observation

    @property
    def run(self) -> str:
        """Key of the run, as the same observation may be processed again."""
        return f"{self.observation.task_id} {self.began:.0f}"

    @property
    def beams(self) -> tuple[int, ...]:
        """Its compound beams that have a worker."""
        return self.publication.wanted.beams


class ProcessorMasterManager(Service[ProcessorMasterSettings]):
    """Service of the master's part, which receives no candidates."""

    name = SERVICE
    traits = TRAITS
    section = "processor_master"
    settings_type = ProcessorMasterSettings
    attributes: ClassVar[tuple[str, ...]] = ("processing", "mails_waiting")
    loss_kinds = (MAIL_GIVEN_UP, RESULTS_INCOMPLETE)

    def prepare(self) -> None:
        """Start without observations."""
        self.awaited: dict[str, AwaitedResults] = {}
        self._mails = Mails(self, self.settings.email_settings.to)
        self._looks = ThreadPoolExecutor(1, thread_name_prefix="results")

    @property
    def processing(self) -> dict[str, list[int]]:
        """Awaited beams by observation."""
        return {
            one.observation.task_id: list(one.beams)
            for one in list(self.awaited.values())
            if one.stopped is not None
        }

    @property
    def mails_waiting(self) -> list[str]:
        """E-mails that the server has not accepted yet, with the reason."""
        return self._mails.waiting

    # -- observations --------------------------------------------------------------------------

    def recover(self, memory: dict[str, Any]) -> None:
        """Send the e-mails that an earlier process had not sent; write the lists."""
        self._mails.send(memory)
        self._looks.submit(show_lists, self.config)

    def start_observation(self, observation: Observation, memory: dict[str, Any]) -> None:
        """Wait for the workers' results, and show them as they come."""
        n_workers = len(self.config.cluster.workers)
        beams = tuple(beam for beam in observation.beams if beam < n_workers)
        if not observation.proctrigger or not beams:
            why = "no worker has a beam of it" if observation.proctrigger else "not processed"
            log.info("no results are gathered: %s", why)
            self.finish(observation)
            return
        began = float(memory.get(BEGAN, time.time()))
        # Only one that is processed again may have older results; workers may be far ahead of this.
        since = began if self.is_past(observation) else min(began, observation.start)
        stopped = memory.get(STOPPED_SINCE, memory.get(STOPPED))
        one = AwaitedResults(
            publication_of(observation, beams, since, self.config),
            began,
            None if stopped is None else Since.from_plain(stopped),
            set(memory.get(TOLD, ())),
        )
        self.awaited[observation.key] = one
        if BEGAN not in memory:
            self.commit(Commit(observation.key, memory={BEGAN: began}))
        if self.is_past(observation):
            self._await(one)

    def stop_observation(self, observation: Observation) -> None:
        """Wait no longer than `max_wait_time` from now on."""
        self._await(self.awaited[observation.key])

    def _await(self, one: AwaitedResults) -> None:
        if one.stopped is None:
            one.stopped = Since.now()
            memory = {STOPPED: one.stopped.unix, STOPPED_SINCE: one.stopped.to_plain()}
            self.commit(Commit(one.observation.key, memory=memory))

    def abort_observation(self, observation: Observation) -> None:
        """Wait for the observation's results no longer."""
        one = self.awaited.pop(observation.key, None)
        if one and one.looking:
            one.looking.cancel()

    # -- the loop ------------------------------------------------------------------------------

    def idle(self) -> None:
        """Show what has come, and forget the e-mails that were sent."""
        for one in list(self.awaited.values()):
            with about(one.observation.key):
                self._advance(one)
        self._mails.delete_sent()

    def _advance(self, one: AwaitedResults) -> None:
        if one.looking is not None:
            if one.looking.done():
                found, one.looking = one.looking.result(), None
                self._take(one, found)
            return
        if one.stopped is None or time.monotonic() < one.next_look:
            return
        one.next_look = time.monotonic() + self.settings.check_interval
        waited = one.stopped.age()
        context = copy_context()  # the observation in log lines
        one.looking = self._looks.submit(context.run, self._look, one, waited)

    def _take(self, one: AwaitedResults, found: CollectionRound) -> None:
        # A worker that is just restarting processes it in the next round.
        news = {cb: why for cb, why in found.missing.items() if cb in one.absent}
        one.absent = set(found.missing) - set(news)
        if found.results and found.results.done:
            self._finish(one, found.results)
        elif news:
            self.tell_of(one, news)

    def tell_of(self, one: AwaitedResults, news: Mapping[int, str]) -> None:
        for cb, why in sorted(news.items()):
            log.error("beam %d: no results, and nobody works on them: %s", cb, why)
        one.reported |= set(news)
        waited = one.stopped.age() if one.stopped else time.time() - one.began
        directory = one.publication.wanted.directory
        subject, text = missing_email(one.observation, news, directory, waited)
        beams = " ".join(map(str, sorted(news)))
        mail = Mail(subject, text, self.settings.email_settings.to)
        self._mails.post(f"{one.run} missing {beams}", mail)
        # After a crash here, the e-mail is sent again: rather twice than never.
        self.commit(Commit(one.observation.key, memory={TOLD: sorted(one.reported)}))

    def _finish(self, one: AwaitedResults, results: ObservationResults) -> None:
        mail = results_mail(self, results, one.publication, self.settings)
        log.info("%s; see %s", mail.subject, one.publication.page)
        self._mails.post(f"{one.run} results", mail)
        # After a crash here, the e-mail is sent again, with the same Message-ID.
        self.commit(Commit(one.observation.key, memory={ENDED: True}))
        del self.awaited[one.observation.key]
        self.finish(one.observation)

    # -- in the thread -------------------------------------------------------------------------

    def _look(self, one: AwaitedResults, waited: float) -> CollectionRound:
        late = waited > self.settings.max_wait_time
        given_up = one.beams if self._is_over(one.observation, waited) else ()
        try:
            results = one.publication.update(given_up)
        except OSError as error:
            log.error("the results cannot be collected now, trying again: %s", error)
            return CollectionRound(None)
        missing = [beam.cb for beam in results.beams if beam.state is BeamState.WAITING]
        if not late:
            return CollectionRound(results)
        workers = {
            cb: self._why_not(one.observation, cb) for cb in missing if cb not in one.reported
        }
        return CollectionRound(results, {cb: why for cb, why in workers.items() if why})

    def _is_over(self, observation: Observation, waited: float) -> bool:
        """Whether no worker can still be processing."""
        limit = self.config.of(ProcessorSettings).processing_time_limit
        if limit <= 0:
            return False
        since_end = min(waited, time.time() - observation.end)
        return since_end > limit + self.settings.max_wait_time

    def _why_not(self, observation: Observation, cb: int) -> str:
        """Return why a worker has no results; empty: it is processing."""
        host = self.config.cluster.workers[cb]
        port = None if self.config.is_here(host) else self.config.master.port
        timeout = self.settings.node_timeout
        known, reason = ask_attribute(timeout, SERVICE, "processing", host, port)
        if reason:
            return f"{host}: {reason}"
        if isinstance(known, Mapping) and observation.task_id in known:
            return ""
        return f"{host}: its processor does not work on the observation"


def show_lists(config: Config) -> None:
    """Write the lists of results, which other pages link to."""
    try:
        days = config.of(ProcessorMasterSettings).site_days_kept
        for problem in write_lists(site_of(config), days):
            log.error("not in the lists of results: %s", problem)
    except OSError as error:
        log.error("no lists of results: %s", error)
    give_back_freed_memory()  # of compiled templates


def site_of(config: Config) -> Path:
    """Return the directory where results are published."""
    return (
        Path(config.of(StatusWebsiteSettings).web_dir) / config.of(ProcessorMasterSettings).webdir
    )


def results_mail(
    service: Service[Any],
    results: ObservationResults,
    publication: Publication,
    settings: ProcessorMasterSettings,
) -> Mail:
    """Return the e-mail about results, with the plots; what they lack is a loss of the service."""
    for problem in results.problems:
        service.lost(RESULTS_INCOMPLETE, publication.wanted.observation.task_id, problem)
    subject, text = results_email(results, settings.ntrig_email_max, str(publication.page))
    plots = [path for beam in results.beams for path in beam.files if path.suffix == ".pdf"]
    return Mail(subject, text, settings.email_settings.to, tuple(plots))


def publication_of(
    observation: Observation, beams: tuple[int, ...], since: float, config: Config
) -> Publication:
    """Describe where the results of an observation are read, and where they are published.

    :param since: older results are ignored (Unix s)
    """
    directory = observation.directory_in(config.of(ProcessorSettings).result_dir)
    arrival = observation.arrival_reference(config.instrument.observatory)
    return Publication(
        ResultsRequest(observation, directory, beams, since, arrival),
        site_of(config),
        config.instrument.position,
        Path(config.of(AmberClusteringSettings).galaxy_map),
        config.of(ProcessorMasterSettings).site_days_kept,
        more_maps=tuple(map(Path, config.of(AmberClusteringSettings).galaxy_maps_shown)),
        matching=match_settings(config.of(AmberClusteringSettings).match_files, config.instrument),
    )
