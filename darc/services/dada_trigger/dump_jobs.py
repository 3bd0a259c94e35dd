"""Dumps to be requested, and how each is made of triggers (docs/triggers.md, Formats)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from darc.config.settings import DadaTriggerSettings
from darc.model.counters import NotRequested
from darc.model.observation import Observation
from darc.model.trigger import Trigger
from darc.runtime.clock import Since
from darc.science.dispersion import delay
from darc.science.dump_window import dump_window
from darc.services.dada_trigger.dump_request import DumpEvent, DumpRequest, format_request

# More events in one gathering are interference; their windows overlap anyway.
MAX_EVENTS = 100
# On the way to dada_dbevent, time passes (s).
BUFFER_MARGIN = 0.2
# What would be left of an event is not worth asking for (s).
SHORTEST = 0.1
# The same trigger may ask for both: in the books these are two.
_SUFFIXES = {"IQUV": "", "I": " (Stokes I)"}


def dump_name(trigger: Trigger) -> str:
    """What a trigger's dump is called in the books."""
    return trigger.identity + _SUFFIXES[trigger.stokes]


@dataclass(slots=True)
class TriggerGroup:
    """Triggers of one observation that came together.

    :param entries: they came in these
    :param taken: when the first of them did
    """

    observation: Observation
    taken: Since
    entries: list[int] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)
    open_jobs: int = 0


@dataclass(slots=True)
class DumpJob:
    """A request to be handed in.

    :param what: names in the books: the triggers' identities, or the calibrator's dump
    :param useful_until: Unix time when all that is wanted has left the ring buffer
    :param taken: when what it was made of came
    :param gathered: what it was made of; None for a calibrator's
    :param next_try: monotonic
    """

    observation: Observation
    port: int
    request: DumpRequest
    what: tuple[str, ...]
    useful_until: float
    taken: Since = field(default_factory=Since.now)
    gathered: TriggerGroup | None = None
    triggers: tuple[Trigger, ...] = ()
    attempts: int = 0
    next_try: float = 0.0

    @property
    def key(self) -> str:
        """Of the observation's run."""
        return self.observation.key

    def now(self) -> float:
        """The time of day by which data leave the ring buffer (Unix s).

        As it was when the triggers came, and what has passed since: a clock that is set while a
        request waits makes no data older or younger.
        """
        return self.taken.unix + self.taken.age()

    def text(self, now: float, buffer_length: float) -> str:
        """What to send now: without what has left the ring buffer, if anything is left.

        dada_dbevent merges events that overlap, and drops all of it when the first has left.

        :param now: Unix s
        :param buffer_length: s
        """
        oldest = now - self.observation.start - buffer_length + BUFFER_MARGIN
        events = tuple(
            replace(event, start=max(event.start, oldest))
            for event in self.request.events
            if event.end > oldest + SHORTEST
        )
        return format_request(replace(self.request, events=events or self.request.events))


def make_jobs(
    gathered: TriggerGroup, settings: DadaTriggerSettings, batch_length_samples: int
) -> tuple[list[DumpJob], dict[NotRequested, list[str]]]:
    """A request for IQUV and one for Stokes I, as there are triggers for them.

    :param batch_length_samples: of a page of raw data
    :return: the jobs, and which triggers were left out, by reason; ``gathered`` counts the jobs
    """
    observation = gathered.observation
    page = batch_length_samples * observation.tsamp
    taken = gathered.taken
    left_out: defaultdict[NotRequested, list[str]] = defaultdict(list)
    jobs = []
    for stokes, port in (("IQUV", settings.port_iquv), ("I", settings.port_i)):
        wanted: list[tuple[Trigger, DumpEvent]] = []
        for trigger in gathered.triggers:
            if trigger.stokes == stokes:
                event = _event(trigger, observation, settings, page)
                if event:
                    wanted.append((trigger, event))
                else:
                    left_out[NotRequested.OUTSIDE].append(trigger.identity)
        wanted.sort(key=lambda pair: -pair[0].snr)
        left_out[NotRequested.TOO_MANY] += [one.identity for one, _ in wanted[MAX_EVENTS:]]
        del wanted[MAX_EVENTS:]
        if not wanted:
            continue
        triggers, events = zip(*wanted, strict=True)
        # A replay may be ahead of its time: even then nobody is asked for longer than if what is
        # wanted began now.
        last = min(
            observation.start + max(event.end for event in events),
            taken.unix + max(event.end - event.start for event in events),
        )
        jobs.append(
            DumpJob(
                observation,
                port,
                DumpRequest(observation.utc_start, events),
                tuple(map(dump_name, triggers)),
                last + settings.buffer_length - BUFFER_MARGIN - SHORTEST,
                taken,
                gathered,
                triggers,
            )
        )
    gathered.open_jobs = len(jobs)
    return jobs, {reason: names for reason, names in left_out.items() if names}


def _event(
    trigger: Trigger, observation: Observation, settings: DadaTriggerSettings, page: float
) -> DumpEvent | None:
    if trigger.tarr < 0:  # its window would be clipped to the start
        return None
    window = dump_window(
        trigger.tarr,
        delay(trigger.dm, observation.f_low, observation.f_high),
        duration=observation.duration,
        page=page,
        min_window_size=settings.min_window_size,
        delay_end=settings.delay_end,
    )
    if window is None or round(window.start * 1e3) >= round(window.end * 1e3):
        return None
    return DumpEvent(
        window.start,
        window.end,
        dm=trigger.dm,
        snr=trigger.snr,
        width=trigger.downsampling,
        beam=trigger.sb,
    )


def next_in_line(jobs: Iterable[DumpJob]) -> list[DumpJob]:
    """The oldest of each port: where it is not taken, none behind it would be either."""
    first: dict[int, DumpJob] = {}
    for job in jobs:
        first.setdefault(job.port, job)
    return list(first.values())
