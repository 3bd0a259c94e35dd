"""DSA-110's search: text over TCP, a connection per gulp and search; or files of the same lines.

What comes by a connection is spooled on disk before anything else, as its sender has no copy.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darc.model.counters import Counted, Rejection
from darc.node.losses import LossKind
from darc.trigger_files.amber import BadLineError
from darc.trigger_files.candidate_source import CandidateSource, SourceContext, SourceEvent
from darc.trigger_files.gulp_alignment import (
    GULPS_MISSED,
    SEARCH_BEHIND,
    GulpAlignment,
    host_of,
)
from darc.trigger_files.gulp_receiver import (
    CONNECTION_REFUSED,
    GULP_CUT,
    GulpReceiver,
    ReceivedGulp,
)
from darc.trigger_files.gulp_spool import (
    BAD_NUMBER,
    HALF,
    LONG,
    UNNUMBERED,
    GulpSpool,
    format_gulp,
    is_segment,
    parse_marker,
)
from darc.trigger_files.line_reader import LineReader
from darc.trigger_files.number_lines import (
    Floats,
    NumberColumn,
    SourceLines,
    width_of_log2,
)

#: S/N, samples of the gulp and since the start, MJD, log2 of the width, index of the DM, DM, beam.
COLUMNS = (
    NumberColumn("snr", 0),
    NumberColumn("mjd", 3),
    NumberColumn("log2_width", 4, whole=True),
    NumberColumn("dm", 6),
    NumberColumn("beam", 7, whole=True),
)
N_COLUMNS = 8
#: Gulps that are kept while they cannot be spooled, as on a full disk (bytes).
MAX_UNWRITTEN = 64 * 2**20
_REASONS = {
    HALF: Rejection.HALF_LINE,
    LONG: Rejection.LONG_GULP_LINE,
    UNNUMBERED: Rejection.NO_HEADER,
    BAD_NUMBER: Rejection.BAD_HEADER,
}

GULP_NOT_SPOOLED = LossKind(
    "gulp_not_spooled",
    "gulps were lost: they could not be written to run_dir",
    "See the disk of run_dir: a search does not send a gulp again.",
)


class DsaLines(SourceLines):
    """Reader of lines. The time is that of the MJD, good to 1 µs.

    :param claims: gets beam and search of each candidate
    """

    def __init__(
        self, context: SourceContext, claims: BeamClaims, state: Mapping[str, Any] | None
    ) -> None:
        super().__init__(context, COLUMNS, N_COLUMNS)
        self._claims = claims
        self._search = str((state or {}).get("search", ""))

    def is_header(self, line: bytes) -> bool:
        if marker := parse_marker(line):
            self._search = marker[1]
        return True

    def check(self, line: bytes) -> bytes:
        if reason := _REASONS.get(line[:1]):
            raise BadLineError(reason)
        return line

    def _row(self, line: bytes) -> list[float]:
        row = super()._row(line)
        self._claims.note(int(row[-1]), self._search)
        return row

    def times(self, values: dict[str, Floats]) -> Floats:
        return self.since_start(values["mjd"])

    def widths(self, values: dict[str, Floats]) -> Floats:
        return width_of_log2(values["log2_width"])

    def reset(self) -> None:
        self._search = ""

    def state(self) -> dict[str, Any]:
        return {"search": self._search}


class BeamClaims:
    """Which search reports which beam; two for one beam are reported once.

    :param happened: gets the events
    """

    def __init__(self, happened: deque[SourceEvent]) -> None:
        self._happened = happened
        self._searches: dict[int, str] = {}
        self._said: set[tuple[int, str]] = set()

    def note(self, beam: int, search: str) -> None:
        """Note that a search reports a beam; those of one host on one port count as one."""
        search = host_of(search)
        first = self._searches.setdefault(beam, search) if len(self._searches) < 100_000 else search
        if first != search and (beam, search) not in self._said and len(self._said) < 1000:
            self._said.add((beam, search))
            text = f"beam {beam} is claimed by two searches: {first} and {search}"
            self._happened.append(SourceEvent(Counted.BEAMS_CLAIMED_TWICE, text))


class Dsa110Source(CandidateSource):
    """Gulps of DSA-110's searches, or files of their lines where no ports are configured."""

    loss_kinds = (SEARCH_BEHIND, GULPS_MISSED, GULP_CUT, CONNECTION_REFUSED, GULP_NOT_SPOOLED)

    def __init__(self, context: SourceContext) -> None:
        super().__init__(context)
        settings = context.settings
        self._listens = bool(settings.ports) and context.spool is not None
        self._claims = BeamClaims(self.happened)
        one_each = settings.n_searches == len(settings.ports)
        self._names = {port: f"port {port}" for port in settings.ports} if one_each else {}
        names = list(self._names.values())
        self._alignment = GulpAlignment(names, settings.n_searches, settings.gulp_wait)
        self._spool = GulpSpool(context.spool or Path())
        self._receiver: GulpReceiver | None = None
        self._lock = threading.Lock()  # of what follows, and of alignment and spool
        self._held: deque[tuple[Path, int]] = deque()  # parts not passed on: file, begin
        self._unwritten: deque[tuple[ReceivedGulp, str, bytes]] = deque()
        self._heard = 0.0  # last gulp, monotonic (s)
        self._stopped: float | None = None  # monotonic (s)

    @property
    def directory(self) -> Path:
        return self._spool.directory if self._listens else self.context.directory

    @property
    def may_have_earlier_files(self) -> bool:
        return not self._listens

    @property
    def awaited(self) -> str:
        if not self._listens:
            return super().awaited
        settings = self.context.settings
        return f"gulps on {settings.bind}, ports {', '.join(map(str, settings.ports))}"

    @property
    def keeps_files(self) -> bool:
        return not self.context.settings.ports

    def accepts(self, name: str) -> bool:
        return is_segment(name) if self._listens else super().accepts(name)

    def line_reader(self, path: Path, state: Mapping[str, Any] | None) -> LineReader:
        return DsaLines(self.context, self._claims, state)

    # -- listening -----------------------------------------------------------------------------

    def open(self) -> None:
        if not self._listens or self._receiver is not None:
            return
        # Before the first gulp, so that changes are notified from the beginning.
        self._spool.directory.mkdir(parents=True, mode=0o700, exist_ok=True)
        receiver = GulpReceiver(self.context.settings, self._take, self._tick, self.happened.append)
        receiver.open()
        with self._lock:
            self._alignment.last |= self._spool.last_gulps()
        self._receiver = receiver

    def _take(self, gulp: ReceivedGulp) -> None:
        """Spool a gulp that has come."""
        with self._lock:
            search = self._names.get(gulp.port, "")
            if not search:
                number = -1 if gulp.number is None else gulp.number
                search = self._alignment.name_for(gulp.host, number)
            data = format_gulp(gulp.number, search, gulp.lines, gulp.half)
            self._unwritten.append((gulp, search, data))
            self._write()
            self._heard = time.monotonic()

    def _tick(self) -> None:
        with self._lock:
            self._write()

    def _write(self) -> None:
        """Spool what has come; what cannot be written waits, up to a limit."""
        while self._unwritten:
            gulp, search, data = self._unwritten[0]
            try:
                path, begin = self._spool.append(data)
            except OSError as error:
                self._drop_unwritten(str(error))
                return
            self._unwritten.popleft()
            if gulp.number is not None:
                self._alignment.add(search, gulp.number, time.monotonic())
                self._held.append((path, begin))

    def _drop_unwritten(self, why: str) -> None:
        while sum(len(data) for _, _, data in self._unwritten) > MAX_UNWRITTEN:
            gulp, search, _ = self._unwritten.popleft()
            what = f"gulp {gulp.number} of {search}"
            text = f"{what} is lost, as it cannot be spooled: {why}"
            self.happened.append(SourceEvent("", text, GULP_NOT_SPOOLED, what))

    def _pass_on(self) -> None:
        everything = self._receiver is None
        for _ in range(self._alignment.pass_on(time.monotonic(), everything=everything)):
            self._held.popleft()

    def readable_to(self, path: Path, size: int) -> int:
        if not self._listens:
            return size
        with self._lock:
            self._pass_on()
            if not self._held:
                return size
            held, begin = self._held[0]
            # Files are in order of their names.
            return size if path < held else begin if path == held else 0

    def due(self) -> float:
        if not self._listens:
            return math.inf
        with self._lock:
            return self._alignment.due(time.monotonic())

    def stop(self) -> None:
        self._stopped = time.monotonic()

    def is_open(self) -> bool:
        """Whether a gulp may still come, of a search that is a little behind."""
        if self._receiver is None or self._stopped is None:
            return False
        settings = self.context.settings
        now = time.monotonic()
        longest = settings.gulp_wait + settings.connection_timeout
        is_quiet = now - max(self._heard, self._stopped) >= settings.gulp_wait
        if (is_quiet and not self._receiver.n_connections) or now - self._stopped >= longest:
            self._end_receiver()
            return False
        return True

    def _end_receiver(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.close()

    def close(self, *, finished: bool) -> None:
        self._end_receiver()
        if self._listens:
            self._spool.close(remove=finished)

    def has_read(self, path: Path, offset: int) -> bool:
        """Remove a file that was read to its end, and that is written to no more.

        The latest one stays: by it the next process knows each search's last gulp.
        """
        if not self._listens:
            return False
        with self._lock:
            if path == self._spool.current or any(held == path for held, _ in self._held):
                return False
        try:
            if self._spool.is_latest(path) or path.stat().st_size > offset:
                return False
            path.unlink()
        except OSError:
            return False
        return True

    def events(self) -> list[SourceEvent]:
        with self._lock:
            self._pass_on()
            found = self._alignment.take_events()
        return found + super().events()

    def state(self) -> dict[str, Any]:
        with self._lock:
            return {"last gulp": dict(self._alignment.last)}


SOURCE = Dsa110Source
