"""Clusters candidates, and decides which clusters are triggers.

Windows, clusters and decisions depend on the content of the entries only: see
:mod:`darc.candidates.time_windows`.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from darc.candidates.injections import Injections, are_injections, brightest, injections_of
from darc.candidates.time_windows import DueWindow, EntryTimes
from darc.config.config import Role
from darc.config.records import replace
from darc.config.settings import AmberClusteringSettings
from darc.config.typed import to_plain
from darc.model.arrival import utc_of
from darc.model.candidate import Records, candidates_from_bytes
from darc.model.counters import Counted, in_words, note_latest, plain_counts
from darc.model.lowered_threshold import LoweredThreshold, is_lowered_threshold
from darc.model.observation import Observation, Pointing, task_id_of
from darc.model.sources import SourceList
from darc.model.trigger import Stages, Trigger
from darc.node.losses import ENTRIES_DROPPED, SOURCES_UNKNOWN, LossKind
from darc.node.source_lists import read_source_lists
from darc.queues.messages import Commit, ContentKind, Put, QueueEntry
from darc.queues.plain_connection import pack, unpack
from darc.runtime.log import ABOUT_TRIGGER, about
from darc.runtime.paths import configured_file
from darc.science import sky
from darc.science.galaxy import load_galaxy_map
from darc.services.amber_clustering.clustering_observation import WINDOW, ClusteringObservation
from darc.services.amber_clustering.decisions import BeamField, Decider, Decision
from darc.services.amber_clustering.deeper_search import DeeperSearch
from darc.services.amber_clustering.search_basis import SearchBasis
from darc.services.amber_clustering.traits import TRAITS
from darc.services.base.forwarding import Forwarder
from darc.services.base.service import ENDED, LOOP_SECONDS, Consumer

log = logging.getLogger(__name__)

#: Longest work for one commit: far less than the timeout of the heartbeat (s).
PORTION_SECONDS = 0.25
#: Share of the time in which a window settles after which it is decided about: lines of one batch
#: come within less, and the decision takes less than what is left.
SHARE_OF_SETTLE = 0.5
#: Counters that are present from the start, so that monitoring sees them increase from 0.
TOTALS = (
    Counted.WINDOWS,
    Counted.CANDIDATES,
    Counted.CLUSTERS,
    Counted.CLUSTERED,
    Counted.IQUV_TRIGGERS,
    Counted.LOFAR_TRIGGERS,
    Counted.IQUV_REPEATED,
    Counted.LOFAR_REPEATED,
    Counted.IQUV_HELD_BACK,
    Counted.LOFAR_NOT_PASSED_ON,
    Counted.INJECTIONS,
)
#: Counters of triggers that are passed on, by kind.
PASSED_ON = {
    "iquv": Counted.IQUV_TRIGGERS,
    "lofar": Counted.LOFAR_TRIGGERS,
    "injection": Counted.INJECTIONS,
}
LOFAR_READERS = ("lofar_trigger", "voevent_generator")
INJECTION_READERS = ("voevent_generator",)


NOT_HANDED_IN = LossKind(
    "trigger_not_handed_in",
    "triggers were not handed in at the master node in time",
    "See that the service they are for runs there, and the network to there; age_limit is the"
    " limit.",
)
NOT_PASSED_ON = LossKind(
    "trigger_not_passed_on",
    "triggers for LOFAR and VOEvents were not passed on: nobody takes them here",
    "Name lofar_trigger and voevent_generator among the services of this node.",
)


FIELD_UNKNOWN = LossKind(
    "galactic_dm_unknown",
    "the Milky Way's DM could not be read: new sources trigger neither LOFAR nor VOEvents",
    "Mend amber_clustering.galaxy_map, and start the observation again.",
)


class AMBERClustering(Consumer[AmberClusteringSettings]):
    """Service that clusters candidates and decides about triggers."""

    name = "amber_clustering"
    traits = TRAITS
    settings_type = AmberClusteringSettings
    attributes: ClassVar[tuple[str, ...]] = ("counts", "totals", "bad_entries", "forwarding")
    loss_kinds = (ENTRIES_DROPPED, NOT_HANDED_IN, NOT_PASSED_ON, SOURCES_UNKNOWN, FIELD_UNKNOWN)

    def prepare(self) -> None:
        self.counts: dict[str, dict[str, int]] = {}  # by observation, the latest ones
        self._totals: Counter[str] = Counter(dict.fromkeys(TOTALS, 0))
        self._work: dict[str, ClusteringObservation] = {}
        self._forwarders: tuple[Forwarder, ...] = ()

    @property
    def totals(self) -> dict[str, int]:
        """Counters of candidates by outcome, over all observations of this process."""
        return plain_counts(self._totals)

    @property
    def forwarding(self) -> dict[str, Any]:
        """State of the handover of triggers to the master node, on a worker."""
        return {forwarder.service: to_plain(forwarder.state) for forwarder in self._forwarders}

    def recover(self, memory: dict[str, Any]) -> None:
        if self.config.role is Role.WORKER:
            config, run_dir = self.config, Path(self.config.master.run_dir)
            self._forwarders = tuple(
                Forwarder(
                    run_dir,
                    service,
                    (config.master_host, settings.server_port),
                    config.hostname,
                    settings.age_limit,
                )
                for service, settings in (
                    ("lofar_trigger", config.section("lofar_trigger")),
                    ("voevent_generator", config.section("voevent_generator")),
                )
            )

    def patience(self) -> float:
        """Return how long to wait for entries until windows are to be decided about (s)."""
        due = [work.decide_at for work in self._work.values() if work.decide_at is not None]
        return min([LOOP_SECONDS, *(at - time.monotonic() for at in due)])

    def idle(self) -> None:
        """Decide about open windows while nothing comes, and say what the forwarders lost."""
        for key, work in self._work.items():
            if work.decide_at is not None and work.decide_at <= time.monotonic():
                with about(key):
                    self._decide_early(work)
        for forwarder in self._forwarders:
            if forwarder.failure:
                raise forwarder.failure
            while not forwarder.lost.empty():
                self.lost(NOT_HANDED_IN, *forwarder.lost.get())

    # -- observations --------------------------------------------------------------------------

    def start_observation(self, observation: Observation, memory: dict[str, Any]) -> None:
        basis = self._basis(observation, memory)
        # An operator may use an alias; from here on a source has one name.
        settings = replace(self.settings, lofar_trigger_sources=basis.lofar_sources)

        def decider_of(settings: AmberClusteringSettings) -> Decider:
            instrument = self.config.instrument
            return Decider(
                settings, observation, instrument, basis.field, basis.source, basis.fields
            )

        decider = decider_of(settings)
        for search in decider.searches:
            what = f"known {search.source.kind} {search.source.name}" if search.source else "new"
            log.info("%s: IQUV %s, LOFAR %s", what, search.iquv, search.lofar)
        self._work[observation.key] = ClusteringObservation.recalled(
            memory,
            self.settings,
            decider,
            Injections.of(observation, memory),
            DeeperSearch(decider_of, settings, observation.start, memory),
        )

    def _basis(self, observation: Observation, memory: dict[str, Any]) -> SearchBasis:
        """Return what the decisions go by, as it was when the observation began."""
        try:
            if (known := SearchBasis.recalled(memory)) is not None:
                return known
        except ValueError as error:  # saved by another version
            log.warning("lists and maps kept since the start are invalid, read anew:  %s", error)
        path = self.settings.source_file
        try:
            sources = read_source_lists((path,))
        except (OSError, ValueError) as error:
            log.error("%s cannot be read, so no source counts as known: %s", path, error)
            self.lost(SOURCES_UNKNOWN, observation.source, f"{path}: {error}")
            sources = SourceList({}, {})
        names = [sources.lookup(name) for name in self.settings.lofar_trigger_sources]
        basis = SearchBasis(
            sources.lookup(observation.source),
            tuple(known.name for known in names if known),
            self.field_of(observation),
            self.fields_of(observation),
        )
        self.commit(Commit(observation.key, memory=basis.to_memory()))
        return basis

    def field_of(self, observation: Observation) -> BeamField | None:
        pointing = None if observation.beam is None else observation.pointing(observation.beam)
        if pointing is None:
            log.warning("no pointing known: new sources trigger neither LOFAR nor VOEvents")
            return None
        return self._field_at(observation, pointing)

    def fields_of(self, observation: Observation) -> dict[int, BeamField]:
        """Return the fields of candidates' beams, where these are compound beams."""
        if self.config.instrument.candidate_beams != "compound":
            return {}
        fields = {
            pointing.beam: field
            for pointing in observation.pointings
            if (field := self._field_at(observation, pointing))
        }
        unknown = sorted({*range(observation.ntabs)} - {*fields})
        if fields and unknown:
            log.warning(
                "no pointing of beams %s: their triggers have that of beam %s",
                ", ".join(map(str, unknown)),
                observation.beam,
            )
        return fields

    def _field_at(self, observation: Observation, pointing: Pointing) -> BeamField | None:
        position = self.config.instrument.position
        ra, dec = sky.icrs_of(pointing, observation.hour_angle_at, position)
        path = self.settings.galaxy_map
        try:
            galaxy = load_galaxy_map(configured_file(path))
        except (OSError, ValueError) as error:
            log.error(
                "%s: no Milky Way DM: new sources trigger neither LOFAR nor VOEvents: %s",
                path,
                error,
            )
            self.lost(
                FIELD_UNKNOWN, f"{observation.source}, beam {pointing.beam}", f"{path}: {error}"
            )
            return None
        return BeamField(ra, dec, galaxy.dm_max(*sky.galactic(ra, dec)), galaxy.model)

    def abort_observation(self, observation: Observation) -> None:
        """Drop the observation's candidates; they would wait until the next observation begins."""
        work = self._work.pop(observation.key, None)
        if work and (entries := work.windows.open_entries()):
            self.commit(Commit(observation.key, completed=entries))

    # -- entries -------------------------------------------------------------------------------

    def work(self, entry: QueueEntry, observation: Observation | None) -> None:
        work = self._work.get(entry.observation)
        if work is None:
            log.warning("entry %d dropped: no such observation runs", entry.id)
            self.commit(Commit(entry.observation, completed=(entry.id,)))
            return
        try:
            if entry.kind is ContentKind.PLAIN:
                self._obey_entry(entry, work)
                return
            if entry.kind is not ContentKind.CANDIDATES:
                raise ValueError(f"{entry.kind} where candidates are expected")
            candidates = candidates_from_bytes(entry.content)
        except ValueError as error:
            self.drop_unusable(entry, error)
            return
        times = EntryTimes(entry.written, entry.read, entry.held_at)
        work.windows.add(entry.id, entry.watermark, candidates, times)
        if len(candidates):
            work.decide_at = time.monotonic() + SHARE_OF_SETTLE * work.settings.settle
        self._settle(entry.observation, work)

    def _obey_entry(self, entry: QueueEntry, work: ClusteringObservation) -> None:
        """Note injections, or lower a threshold, as an entry says.

        :raises ValueError: it says nothing of the kind
        """
        plain = unpack(entry.content)
        # Either way, open windows are decided about again when they settle or close.
        if are_injections(plain):
            work.decisions.clear()
            memory = work.injections.add(injections_of(plain))
            self.commit(Commit(entry.observation, completed=(entry.id,), memory=memory))
            return
        if not is_lowered_threshold(plain):
            raise ValueError(f"{entry.kind} where candidates are expected")
        order = LoweredThreshold.from_plain(plain)
        work.decisions.clear()
        memory = work.deeper.add(order)
        self.commit(Commit(entry.observation, completed=(entry.id,), memory=memory))
        span = f"{utc_of(order.start)} to {utc_of(order.end)}"
        log.warning("S/N of %g triggers in data of %s: %s", order.snr_min, span, order.why)

    def end(self, entry: QueueEntry, observation: Observation) -> None:
        work = self._work.pop(observation.key)
        work.windows.close_all()
        self._settle(observation.key, work)
        last = Put(("dada_trigger",), ContentKind.END, observation=observation.key)
        self.commit(Commit(observation.key, (entry.id,), (last,), memory={ENDED: True}))
        log.info("clustered: %s", in_words(work.counts))

    def _settle(self, key: str, work: ClusteringObservation) -> None:
        """Decide about windows that are due, and commit the results in portions.

        However many are due at once, no commit is too large, each counts as a heartbeat, and a
        trigger does not wait for what is decided about other windows.
        """
        while self._settle_some(key, work):
            pass

    def _settle_some(self, key: str, work: ClusteringObservation) -> bool:
        """Decide about some windows that are due; False when there are none."""
        memory: dict[str, Any] = {}
        outputs: list[Put] = []
        before = work.counts.copy()
        decided = False
        began = time.monotonic()
        while time.monotonic() - began < PORTION_SECONDS and not outputs:
            window = work.windows.take_due()
            if window is None:
                break
            decided = True
            decision = self._decide(work, window)
            outputs += self._outputs(key, work, window, decision)
            # Without triggers, a repetition after a crash finds none either.
            if window.closed or decision.leads_to_triggers:
                memory |= work.row(window)
        completed = work.windows.completed()
        # Only windows with triggers have to be remembered until the end.
        over = work.windows.forgotten()
        for number in over:
            if number not in work.passed_on:
                memory[f"{WINDOW}{number}"] = None
        if decided and memory:
            memory |= work.totals()
        if completed or memory:
            self.commit(Commit(key, completed, tuple(outputs), memory=memory))
            _say_passed_on(work)
        if decided:
            self._totals.update(work.counts - before)
            self._account(key, work)
        return bool(decided or completed or over)

    def _decide(self, work: ClusteringObservation, window: DueWindow) -> Decision:
        """Decide about a window, again where lines have come since it settled last."""
        closed_at = time.time()
        through, decision = work.decisions.pop(window.window, (0, None))
        if decision is None or through < window.through:
            decision = self._decision(work, window.window, window.candidates)
        else:
            decision = replace(decision, clustered_at=closed_at)
        if not window.closed:
            work.decisions[window.window] = window.through, decision
        return _timed(decision, window, closed_at)

    def _decide_early(self, work: ClusteringObservation) -> None:
        """Decide about windows whose lines have probably all come, so that it need not be later.

        What is decided is used when the window settles, if nothing has come since.
        """
        work.decide_at = None
        for window, through, candidates in work.windows.unsettled():
            if work.decisions.get(window, (0, None))[0] < through:
                work.decisions[window] = through, self._decision(work, window, candidates)

    @staticmethod
    def _decision(work: ClusteringObservation, window: int, candidates: Records) -> Decision:
        injected = work.injections.mask(candidates)
        if injected.any():
            log.warning("of an injection: %s", brightest(candidates[injected]))
        decision = work.decider.decide(candidates, window, injected)
        return work.deeper.deepened(decision, candidates[~injected], window)

    def _outputs(
        self, key: str, work: ClusteringObservation, window: DueWindow, decision: Decision
    ) -> list[Put]:
        if window.window not in work.passed_on_before:
            passed_on = work.passed_on.get(window.window, {})
            work.passed_on_before[window.window] = {
                kind: list(bins) for kind, bins in passed_on.items()
            }
        if window.closed:
            work.count(window, decision)
        counts = work.counts
        outputs = []
        iquv = work.new_ones("iquv", decision.iquv)
        # What is below the usual threshold keeps nothing from leaving that is above it.
        only_deeper = all(trigger.dm_bin in decision.deeper for trigger in iquv)
        if iquv and work.allows_dump(window.window, deeper=only_deeper):
            outputs.append(_put(("dada_trigger",), key, iquv))
            self._note(work, "iquv", iquv)
            if found := [one.identity for one in iquv if one.dm_bin in decision.deeper]:
                why = "; ".join(order.why for order in work.deeper.holding(window.window))
                log.warning("below the usual threshold: %s: %s", ", ".join(found), why)
        elif iquv and window.closed:
            counts[Counted.IQUV_HELD_BACK] += len(iquv)
        lofar = work.new_ones("lofar", decision.lofar_triggers)
        here = self._here(LOFAR_READERS)
        if lofar and here:
            outputs.append(_put(here, key, lofar))
        elif lofar:
            log.error("triggers not passed on: this node has no %s", " and no ".join(LOFAR_READERS))
            counts[Counted.LOFAR_NOT_PASSED_ON] += len(lofar)
            self.lost(NOT_PASSED_ON, lofar[0].identity, "no service here takes it", len(lofar))
        if lofar:
            self._note(work, "lofar", lofar)
        injections = work.new_ones("injection", decision.injections)
        if injections:
            if takers := self._here(INJECTION_READERS):
                outputs.append(_put(takers, key, injections))
            self._note(work, "injection", injections)
        return outputs

    def _here(self, readers: tuple[str, ...]) -> tuple[str, ...]:
        """Return the services that receive triggers from this node, here or on the master node."""
        if self.config.role is Role.WORKER:
            return readers
        return self.services_here(*readers)

    def _note(self, work: ClusteringObservation, kind: str, triggers: list[Trigger]) -> None:
        work.counts[PASSED_ON[kind]] += len(triggers)
        for trigger in triggers:
            bins = work.passed_on.setdefault(trigger.window, {}).setdefault(kind, [])
            bins.append(trigger.dm_bin)
            work.unsaid.append((kind, trigger))

    def _account(self, key: str, work: ClusteringObservation) -> None:
        note_latest(self.counts, task_id_of(key), work.counts)


def _say_passed_on(work: ClusteringObservation) -> None:
    """Log triggers, once they have left: none waits for a line of the log."""
    for kind, trigger in work.unsaid:
        log.info(
            "%s trigger %s: %s, DM %.2f, S/N %.1f, width %d, beam %d, %d candidates",
            kind,
            trigger.identity,
            trigger.src_name or trigger.name,
            trigger.dm,
            trigger.snr,
            trigger.downsampling,
            trigger.sb,
            trigger.count,
            extra=ABOUT_TRIGGER,
        )
    work.unsaid.clear()


def _timed(decision: Decision, window: DueWindow, closed_at: float) -> Decision:
    """Add the times of the stages to each trigger."""
    first = window.first
    # The end of an observation closes windows early.
    waited = min(window.waited, max(0.0, closed_at - first.queued)) if first.queued else 0.0
    stages = Stages(
        written=first.written or None,
        read=first.read or None,
        queued=first.queued or None,
        closed=closed_at,
        clustered=decision.clustered_at,
        decided=time.time(),
        waited=waited,
    )
    return replace(
        decision,
        iquv=tuple(replace(trigger, stages=stages) for trigger in decision.iquv),
        lofar=replace(decision.lofar, stages=stages) if decision.lofar else None,
        injected=replace(decision.injected, stages=stages) if decision.injected else None,
    )


def _put(queues: tuple[str, ...], key: str, triggers: list[Trigger]) -> Put:
    content = pack([trigger.to_plain() for trigger in triggers])
    return Put(queues, ContentKind.TRIGGERS, content, key)
