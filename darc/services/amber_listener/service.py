"""Reads the candidates of a search engine as they come, and publishes them.

Each entry carries a watermark: all lines written before that time are in this entry or an earlier
one. amber_clustering closes its windows by these watermarks alone, so that its decisions do not
depend on when a process was killed or stopped. When a window could settle or close and no new line
has come, an entry without candidates carries the watermark.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from darc.candidates.injections import INJECTION_UNKNOWN
from darc.config.settings import AmberClusteringSettings
from darc.model.candidate import CANDIDATE, records_to_bytes
from darc.model.counters import Counted, in_words, note_latest, plain_counts
from darc.model.observation import Observation
from darc.node.losses import LossKind
from darc.queues.messages import Commit, ContentKind, OutOfStepError, Put, QueueEntry
from darc.runtime.log import about
from darc.services.amber_listener.followed_observation import READERS, FollowedObservation
from darc.services.amber_listener.injection_relay import InjectionRelay
from darc.services.amber_listener.settings import AmberListenerSettings
from darc.services.amber_listener.traits import TRAITS
from darc.services.base.service import ENDED, LOOP_SECONDS, Service
from darc.trigger_files.candidate_source import SourceContext, all_loss_kinds
from darc.trigger_files.directory_watch import DirectoryWatch
from darc.trigger_files.gulp_spool import remove_old_spools
from darc.trigger_files.trigger_file import CHUNK_BYTES, Chunk, Replaced, TriggerFile, count_chunks

log = logging.getLogger(__name__)

# Network file systems do not notify: poll as well.
RECHECK_SECONDS = 1.0
# Time for an incomplete line to be completed when the observation is stopped.
FLUSH_SECONDS = 1.0
# Fraction of end_delay for which an unreadable file is retried at the end; the rest is for the
# services downstream.
FAILING_PART = 0.5
#: While lines are parsed, other instances write theirs: so many looks before a commit, which would
#: let the windows settle a millisecond later.
LOOKS = 2
#: Directory in run_dir for what comes by a connection.
SPOOL = "spool"
#: Counters that are present from the start, so that monitoring sees them increase from 0.
TOTALS = (
    Counted.LINES,
    Counted.HEADERS,
    Counted.CANDIDATES,
    Counted.FILES_GIVEN_UP,
    Counted.FILES_WRITTEN_ANEW,
    Counted.BYTES_LOST,
)
FILE_GIVEN_UP = LossKind(
    "amber_file_given_up",
    "candidates were lost: a file of the search engine could not be read to its end",
    "See the disk or the file server; `darc start_observation` of the same parset reads it again.",
)
FILE_WRITTEN_ANEW = LossKind(
    "amber_file_written_anew",
    "candidates may be lost: a file of the search engine was written anew",
    "See why the search engine restarted: what a file got after it was read last is gone.",
)


class AMBERListener(Service[AmberListenerSettings]):
    """Service that reads trigger files while they grow."""

    name = "amber_listener"
    traits = TRAITS
    settings_type = AmberListenerSettings
    attributes: ClassVar[tuple[str, ...]] = ("counts", "totals", "found_by_recheck", "sources")
    loss_kinds = (FILE_GIVEN_UP, FILE_WRITTEN_ANEW, INJECTION_UNKNOWN, *all_loss_kinds())

    def prepare(self) -> None:
        """Set the counters to 0, and watch no directory yet."""
        self.counts: dict[str, dict[str, int]] = {}  # by observation, the latest ones
        self._totals: Counter[str] = Counter(dict.fromkeys(TOTALS, 0))
        self.found_by_recheck = 0
        self._following: dict[str, FollowedObservation] = {}
        self._injections = InjectionRelay(self)
        self._watch_of = DirectoryWatch()
        self._notified = False
        self._next_check = 0.0  # monotonic (s), as is the next
        self._next_heartbeat = 0.0

    @property
    def totals(self) -> dict[str, int]:
        """Counters of lines by outcome, over all observations of this process."""
        return plain_counts(self._totals)

    @property
    def sources(self) -> dict[str, dict[str, Any]]:
        """The candidate source of each observation, and its state."""
        return {
            following.observation.task_id: {
                "source": following.context.name,
                "files": len(following.files),
                **following.source.state(),
            }
            for following in list(self._following.values())
        }

    def recover(self, memory: dict[str, Any]) -> None:
        """Restore the injections of observations that may be started again."""
        self._injections.recover(memory)

    # -- observations --------------------------------------------------------------------------

    def start_observation(self, observation: Observation, memory: dict[str, Any]) -> None:
        """Follow the observation's files from where they were read to."""
        spools = Path(self.config.master.run_dir) / SPOOL
        spool = spools / observation.key.replace("#", ".")
        remove_old_spools(spools, except_for=spool)
        context = SourceContext.of(observation, self.config.instrument, spool)
        clustering = self.config.of(AmberClusteringSettings)
        after = clustering.settle, clustering.interval
        progress = self.progress(observation)
        # Data may arrive for as long as the observation may last without a stop.
        latest = observation.duration + self.config.master.end_delay
        following = FollowedObservation(
            context, *after, latest, progress, memory, clustering.injections
        )
        self._following[observation.key] = following
        self._injections.start(following, memory)
        if observation.beam is None:
            log.error("no candidates to read: %s names no beam", observation.config_file)
        elif following.source.has_new_files:
            log.info("%s: candidates in %s", following.context.name, following.directory)
        for file in following.files:
            log.info("%s: from byte %d", file.path, file.offset)
        self._next_check = 0.0

    def stop_observation(self, observation: Observation) -> None:
        """Read to the end of the files, and then no more."""
        following = self._following[observation.key]
        following.stopped_at = time.monotonic()
        following.source.stop()

    def abort_observation(self, observation: Observation) -> None:
        """Read no more of the observation's files."""
        self._forget(observation.key)

    def _forget(self, key: str) -> None:
        following = self._following.pop(key, None)
        if following is None:
            return
        following.source.close(finished=True)
        if following.directory not in {other.directory for other in self._following.values()}:
            self._watch_of.forget(following.directory)

    # -- the loop ------------------------------------------------------------------------------

    def wait(self) -> list[QueueEntry]:
        """Wait for files to change, for orders, or until a watermark is due."""
        now = time.monotonic()
        if now >= self._next_heartbeat:
            self.queue_link.heartbeat()
            self._next_heartbeat = now + LOOP_SECONDS
        due = [
            min(following.next_watermark_due - following.clock.now(), following.source.due())
            for following in self._following.values()
        ]
        timeout = min([LOOP_SECONDS, *due])
        poll = select.poll()
        if (heard := self._watch_of.descriptor) is not None:
            poll.register(heard, select.POLLIN)
        poll.register(self.order_listener.descriptor, select.POLLIN)
        # It waits for whole milliseconds, rounded up: a watermark would be half a one late.
        if not poll.poll(int(max(0.0, timeout) * 1000)):
            time.sleep(min(max(0.0, now + timeout - time.monotonic()), 0.001))
        self._notified = self._watch_of.changed()
        # At each check too: a missed notification would cost what AMBER writes meanwhile.
        self._perhaps_orders = time.monotonic() >= self._next_check
        return []

    def idle(self) -> None:
        """Read what was written, and hand it on."""
        now = time.monotonic()
        check = now >= self._next_check
        if check:
            self._next_check = now + RECHECK_SECONDS
        for following in list(self._following.values()):
            if following not in self._following.values():
                continue  # removed with an earlier one
            with about(following.observation.key):
                if check:
                    self._watch(following)
                try:
                    self._follow(following, check)
                except OutOfStepError:
                    self._out_of_step(following)

    def _follow(self, following: FollowedObservation, check: bool) -> None:
        # Before the source is heard, which passes on what has waited long enough.
        due = following.next_watermark_due <= following.clock.now() or following.source.due() <= 0
        self._hear(following)
        if check or due or self._notified or following.stopped_at is not None:
            self._read(following)
        if following.stopped_at is not None:
            self._end(following)

    def _out_of_step(self, following: FollowedObservation) -> None:
        """Drop an observation that is over, as may happen while waiting for room in the journal."""
        self.obey(self.queue_link.orders(self._answer))
        if following in self._following.values():
            log.critical("exits; its successor continues from what the journal holds")
            sys.exit(1)

    def _watch(self, following: FollowedObservation) -> None:
        """Watch the directory once it exists, and log files that do not appear."""
        directory = following.directory
        if not following.is_listening and following.stopped_at is None:
            self._open(following)
        self._watch_of.watch(directory, exists=os.path.exists(directory))  # noqa: PTH110
        self._find(following, check=True)
        missing = following.files.missing()
        late = time.time() > following.observation.start + self.settings.start_timeout
        if missing and late and not following.missing_said:
            following.missing_said = True
            log.error(
                "still missing %.0f s after the start of the observation: %s",
                self.settings.start_timeout,
                ", ".join(missing),
            )

    def _open(self, following: FollowedObservation) -> None:
        """Let the source listen; retried at each check."""
        try:
            following.source.open()
        except OSError as error:
            if str(error) != following.open_failure:
                following.open_failure = str(error)
                log.error("cannot receive candidates, trying again every second: %s", error)
            return
        following.is_listening = True

    def _find(self, following: FollowedObservation, *, check: bool = False) -> None:
        """Look for new files of the source."""
        files = following.files
        try:
            files.find(check=check)
        except OSError as error:
            if str(error) != following.open_failure:
                following.open_failure = str(error)
                log.error("%s cannot be read, trying again: %s", following.directory, error)
        for name, why in files.refused.items():
            log.error("%s/%s is not read: %s", following.directory, name, why)
            self._count(following, Counted.FILES_REFUSED)
        files.refused.clear()
        for path in files.written_anew:
            self._count(following, Counted.FILES_WRITTEN_ANEW)
            log.warning("%s, of an earlier observation, was written anew: it is read whole", path)
        files.written_anew.clear()
        if number := files.newly_left_alone:
            files.newly_left_alone = 0
            log.info("%d files of earlier observations are left alone", number)
            self._count(following, Counted.EARLIER_FILES, number)

    def _hear(self, following: FollowedObservation) -> None:
        """Count and log the events of the source."""
        for event in following.source.events():
            if event.counter:
                self._count(following, event.counter, event.number)
            if event.loss:
                if event.logged:
                    log.error("%s", event.text)
                self.lost(event.loss, event.what, event.text, event.number)
            elif event.text:
                log.warning("%s", event.text)

    def _read(self, following: FollowedObservation) -> None:
        """Read all files to their current end, and put the candidates."""
        chunks: list[Chunk] = []
        watermark = 0.0
        for _ in range(LOOKS):
            looked_at = following.clock.now()  # before the sizes: later lines have later times
            found = self._read_new(following, chunks)
            if found or not watermark:
                watermark = looked_at
            if not found:
                break
        if not chunks:
            self._injections.look(following)
        if chunks or following.next_watermark_due <= watermark or following.watermark_due:
            self._put(following, chunks, watermark)
        elif following.files.left_changed:
            self.commit(Commit(following.observation.key, memory=following.memory()))

    def _read_new(self, following: FollowedObservation, chunks: list[Chunk]) -> bool:
        """Read what is there now, and put it where it is much; return whether there was any."""
        self._find(following)
        # To the end of the observation, whatever seems to have ended.
        files = following.files.due() if following.stopped_at is None else following.files
        limits = [(file, self._size(following, file)) for file in files]
        found = False
        for file, limit in limits:
            while chunk := self._read_chunk(following, file, limit):
                found = True
                chunks.append(chunk)
                if sum(chunk.progress.end - chunk.progress.start for chunk in chunks) > CHUNK_BYTES:
                    self._put(following, chunks, 0.0)
                    chunks.clear()
        return found

    def _size(self, following: FollowedObservation, file: TriggerFile) -> int:
        try:
            size = file.size()
        except (OSError, ValueError) as error:
            self._fails(following, file, str(error))
            return file.offset
        if file.replaced:
            self._written_anew(following, file, file.replaced)
        if file.earlier:
            self._left_by_earlier(following, file)
        if file.vanished and not file.is_renamed:
            self._fails(following, file, f"gone after {file.offset} bytes were read")
        else:
            following.failing.pop(file.path, None)
        return following.source.readable_to(file.path, size)

    def _written_anew(
        self, following: FollowedObservation, file: TriggerFile, before: Replaced
    ) -> None:
        """Count the loss in a file that was replaced; data appended unseen cannot be counted."""
        file.replaced = None
        self._count(following, Counted.FILES_WRITTEN_ANEW)
        self._count(following, Counted.BYTES_LOST, before.unread)
        log.error(
            "%s was written anew after %d bytes of it were read, and is read from byte %d;"
            " %d bytes are lost, and what it may have got since the last look",
            file.path,
            before.read,
            file.offset,
            before.unread,
        )
        why = f"{before.read} bytes were read, {before.unread} more were seen"
        self.lost(FILE_WRITTEN_ANEW, str(file.path), why)

    def _left_by_earlier(self, following: FollowedObservation, file: TriggerFile) -> None:
        """Count data older than the observation, which are not read."""
        self._count(following, Counted.EARLIER_BYTES, file.earlier)
        log.warning(
            "%s was written last before this observation began: its %d bytes are an earlier one's,"
            " and are not read",
            file.path,
            file.earlier,
        )
        file.earlier = 0

    def _fails(self, following: FollowedObservation, file: TriggerFile, why: str) -> None:
        following.failing[file.path] = why
        if file.path not in following.failing_said:
            following.failing_said.add(file.path)
            log.error("%s cannot be read, trying again every second: %s", file.path, why)

    def _read_chunk(
        self, following: FollowedObservation, file: TriggerFile, limit: int
    ) -> Chunk | None:
        try:
            chunk = file.read(limit)
        except OSError as error:
            self._fails(following, file, str(error))
            return None
        if chunk:
            following.failing_said.discard(file.path)
        return chunk

    def _put(
        self,
        following: FollowedObservation,
        chunks: list[Chunk],
        watermark: float,
        *,
        end: bool = False,
    ) -> None:
        # After the lines were read: their injections had been listed before.
        self._injections.look(following)
        count_chunks(chunks, following.counts)
        candidates = [chunk.candidates for chunk in chunks if len(chunk.candidates)]
        for chunk in chunks:
            if chunk.first_rejected:
                log.warning("%s; rejected: %s", chunk.first_rejected, in_words(chunk.rejected))
        key = following.observation.key
        readers = self.services_here(*READERS)
        found = np.concatenate(candidates) if candidates else np.empty(0, CANDIDATE)
        if len(found) and (text := following.unknown_beam(found)):
            log.warning("%s", text)
        content = records_to_bytes(found) if len(found) else b""
        puts = []
        if content:
            written = min(chunk.written for chunk in chunks)
            times = watermark, written, time.time()
            puts.append(Put(readers, ContentKind.CANDIDATES, content, key, *times))
        elif watermark and not end:  # for services that close windows only
            puts.append(Put(readers[:1], ContentKind.CANDIDATES, b"", key, watermark))
        if end:
            puts.append(Put(readers, ContentKind.END, b"", key, watermark))
        following.last_watermark = max(following.last_watermark, watermark)
        self._commit(
            Commit(
                key,
                puts=tuple(put for put in puts if put.queues),
                progress=tuple(chunk.progress for chunk in chunks),
                memory=following.memory() | ({ENDED: True} if end else {}),
            )
        )
        count_chunks(chunks, self._totals)
        self._account(following)
        for file in following.files:
            if following.source.has_read(file.path, file.offset):
                following.files.forget(file)
        if chunks and not self._notified:
            self.found_by_recheck += 1
        following.watermark_due |= bool(content)
        if watermark:
            following.note_watermark(watermark)

    def _commit(self, commit: Commit) -> None:
        try:
            self.commit(commit)
        except OutOfStepError as error:
            steps = [f"{step.source} bytes {step.start} to {step.end}" for step in commit.progress]
            log.error("journal refused a commit (%s): %s", ", ".join(steps) or "no bytes", error)
            raise

    def _end(self, following: FollowedObservation) -> None:
        """Commit the end, once all data are read."""
        assert following.stopped_at is not None
        passed = time.monotonic() - following.stopped_at
        if following.source.is_open():
            return
        half = any(file.offset < self._size(following, file) for file in following.files)
        if half and passed < FLUSH_SECONDS:
            return
        rest = [chunk for file in following.files for chunk in self._rest(following, file)]
        if following.failing and passed < FAILING_PART * self.config.master.end_delay:
            if rest:
                self._put(following, rest, 0.0)
            return
        for path, why in following.failing.items():
            self._count(following, Counted.FILES_GIVEN_UP)
            log.error("%s given up, what was not read of it is lost: %s", path, why)
            self.lost(FILE_GIVEN_UP, str(path), why)
        self._hear(following)
        self._put(following, rest, following.clock.now(), end=True)
        log.info("read: %s", in_words(following.counts))
        self._forget(following.observation.key)
        self.finish(following.observation)

    def _rest(self, following: FollowedObservation, file: TriggerFile) -> list[Chunk]:
        """Read the rest of a file, including an incomplete last line."""
        chunks: list[Chunk] = []
        limit = self._size(following, file)
        while chunk := self._read_chunk(following, file, limit):
            chunks.append(chunk)
        try:
            half = file.read_rest(limit)
        except OSError as error:
            self._fails(following, file, str(error))
            return chunks
        return [*chunks, half] if half else chunks

    def _count(self, following: FollowedObservation, what: str, number: int = 1) -> None:
        following.counts[what] += number
        self._totals[what] += number
        self._account(following)

    def _account(self, following: FollowedObservation) -> None:
        note_latest(self.counts, following.observation.task_id, following.counts)
