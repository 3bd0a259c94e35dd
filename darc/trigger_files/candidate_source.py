"""Candidate sources: where the candidates of an observation come from, and how they are read.

A source is a module ``darc/trigger_files/sources/<name>_source.py`` whose `SOURCE` is its class,
named in :data:`darc.config.source_settings.SOURCES`. Whatever an engine does, its candidates are
lines of files, followed by :class:`darc.trigger_files.trigger_file.TriggerFile`: what comes by a
connection is written to a file first. So all sources have the same promises.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from darc.config.instrument import Instrument
from darc.config.records import Struct
from darc.config.source_settings import SOURCES, SourceSettings
from darc.model.observation import Observation
from darc.node.losses import LossKind
from darc.trigger_files.line_reader import LineReader


class SourceContext(Struct, frozen=True):
    """What a source knows of an observation.

    :param batch_length_s: length of an AMBER batch (s)
    :param spool: directory for what comes by a connection; None: a finished observation is read
    :param n_beams: of the instrument, that candidates may be of; None: not known
    :param n_beams_key: where that number is configured
    """

    observation: Observation
    name: str
    settings: SourceSettings
    batch_length_s: float
    spool: Path | None = None
    n_beams: int | None = None
    n_beams_key: str = ""

    @classmethod
    def of(
        cls, observation: Observation, instrument: Instrument, spool: Path | None = None
    ) -> SourceContext:
        """Return the context as the configuration is now."""
        batch = instrument.batch_length_samples * observation.tsamp
        name = instrument.candidate_source
        if name == "amber":  # its beams may be synthesised ones
            return cls(observation, name, instrument.source, batch, spool)
        beams = observation.ntabs, "n_tabs"
        if instrument.candidate_beams == "compound":
            beams = instrument.n_compound_beams, "n_compound_beams"
        return cls(observation, name, instrument.source, batch, spool, *beams)

    @property
    def directory(self) -> Path:
        """Directory of the engine's files."""
        observation = self.observation
        configured = self.settings.directory
        if configured is None:
            return Path(observation.candidate_dir or observation.amber_dir)
        named = {"datetimesource": observation.datetimesource, "date": observation.date}
        for name, value in named.items():
            configured = configured.replace(f"{{{name}}}", value)
        return Path(configured)


class FileOfSeries(Struct, frozen=True):
    """A file's place among those that a search writes one after the other.

    :param series: the files of one search have the same
    :param begin: of the file, since the observation's start (s)
    """

    series: str
    begin: float


class SourceEvent(Struct, frozen=True):
    """Event of a source, beside its candidates.

    :param counter: what is counted, as in :class:`darc.model.counters.Counted`; empty: nothing
    :param text: for the log; empty: nothing is logged
    :param loss: kind of loss; None: nothing is lost
    :param what: the identifier of what is lost
    :param number: of what is counted
    :param logged: whether the text goes to the log; False: one of the kind did just before
    """

    counter: str = ""
    text: str = ""
    loss: LossKind | None = None
    what: str = ""
    number: int = 1
    logged: bool = True


class CandidateSource(ABC):
    """A source of candidates, for one observation."""

    #: It may write to any number of files of names that are not known in advance.
    has_new_files = True
    #: Kinds of losses that it may report.
    loss_kinds: tuple[LossKind, ...] = ()

    def __init__(self, context: SourceContext) -> None:
        self.context = context
        #: Events since the last call of `events`; a thread may append to it.
        self.happened: deque[SourceEvent] = deque()

    @property
    def directory(self) -> Path:
        """Directory of its files."""
        return self.context.directory

    @property
    def may_have_earlier_files(self) -> bool:
        """Whether its directory may hold files of earlier observations, to be left alone."""
        return True

    @property
    def awaited(self) -> str:
        """What there is as soon as the first candidates have come, for messages."""
        return f"{self.directory}/{self.context.settings.pattern}"

    @property
    def keeps_files(self) -> bool:
        """Whether its candidates are still there after the observation."""
        return True

    def expected(self) -> tuple[Path, ...]:
        """Return the files that are known in advance."""
        return ()

    def accepts(self, name: str) -> bool:
        """Whether a file of this name in the directory is one of its files."""
        return fnmatchcase(name, self.context.settings.pattern)

    @abstractmethod
    def line_reader(self, path: Path, state: Mapping[str, Any] | None) -> LineReader:
        """Return the reader of a file's lines.

        :param state: result of its :meth:`LineReader.state` at the position to go on from
        :raises ValueError: the file cannot be read; the message says why
        """

    def series(self, name: str) -> FileOfSeries | None:
        """Return a file's place among files that follow each other; None: it is of no series.

        A file of which a later one exists is looked at less often, once nothing comes any more.
        """
        return None

    def readable_to(self, path: Path, size: int) -> int:
        """Return the position up to which a file may be read now."""
        return size

    # -- of sources that listen --------------------------------------------------------------

    def open(self) -> None:  # noqa: B027 - an optional hook
        """Begin to listen.

        :raises OSError: that is impossible now, and is tried again
        """

    def stop(self) -> None:  # noqa: B027 - an optional hook
        """No more data are expected: finish what comes now."""

    def is_open(self) -> bool:
        """Whether data may still come after a stop."""
        return False

    def close(self, *, finished: bool) -> None:  # noqa: B027 - an optional hook
        """Release everything.

        :param finished: the observation is over: nothing of it is needed any more
        """

    def has_read(self, path: Path, offset: int) -> bool:
        """Note that a file is committed up to a position; True: it is needed no more."""
        return False

    def due(self) -> float:
        """Return after how long `readable_to` may change by itself (s)."""
        return float("inf")

    def events(self) -> list[SourceEvent]:
        """Return the events since the last call."""
        return [self.happened.popleft() for _ in range(len(self.happened))]

    def state(self) -> dict[str, Any]:
        """Return attributes for ``get_attr``."""
        return {}


def make_source(context: SourceContext) -> CandidateSource:
    """Return the source of an observation."""
    return source_class(context.name)(context)


def source_class(name: str) -> type[CandidateSource]:
    """Return the class of a source."""
    module = importlib.import_module(f"darc.trigger_files.sources.{name}_source")
    found: type[CandidateSource] = module.SOURCE
    return found


def all_loss_kinds() -> tuple[LossKind, ...]:
    """Return the kinds of losses of all sources, each once."""
    kinds = (kind for name in SOURCES for kind in source_class(name).loss_kinds)
    return tuple(dict.fromkeys(kinds))
