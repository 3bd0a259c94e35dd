"""Dump requests, and how they are made from triggers (docs/triggers.md, Formats)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from darc.config.records import Struct, field, replace
from darc.model.counters import NotRequested
from darc.model.observation import Observation
from darc.model.trigger import Trigger
from darc.runtime.clock import Since, least_age
from darc.science.dispersion import delay
from darc.science.dump_window import dump_window
from darc.services.dada_trigger.dump_request import DumpEvent, DumpRequest, format_request
from darc.services.dada_trigger.settings import DadaTriggerSettings

# More events in one window are interference; their time ranges overlap anyway.
MAX_EVENTS = 100
# Time that a request takes to reach dada_dbevent (s).
BUFFER_MARGIN = 0.2
# A shorter rest of an event is not requested (s).
SHORTEST = 0.1
# One trigger may request both; suffixes distinguish the two dumps in summaries.
_SUFFIXES = {"IQUV": "", "I": " (Stokes I)"}


def dump_name(trigger: Trigger) -> str:
    """Return the name of a trigger's dump in summaries."""
    return trigger.identity + _SUFFIXES[trigger.stokes]


class TriggerGroup(Struct):
    """Triggers of one observation that arrived within a window.

    :param entries: ids of their entries
    :param begun: when the service learned of the observation
    :param taken: when the first of them arrived
    """

    observation: Observation
    begun: Since
    taken: Since
    entries: list[int] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)
    open_jobs: int = 0


class DumpJob(Struct):
    """Dump request to be sent.

    :param names: of its dumps in summaries: the triggers' identities, or the calibrator's dump
    :param useful_until: when all its data have left the ring buffer (Unix s)
    :param arrival: the time of day at `taken`, as far as it is known (:func:`arrival_time`; Unix s)
    :param taken: when its triggers arrived
    :param gathered: its triggers; None for a calibrator
    :param next_try: monotonic, s
    """

    observation: Observation
    port: int
    request: DumpRequest
    names: tuple[str, ...]
    useful_until: float
    arrival: float
    taken: Since
    gathered: TriggerGroup | None = None
    triggers: tuple[Trigger, ...] = ()
    attempts: int = 0
    next_try: float = 0.0

    @property
    def key(self) -> str:
        """Key of the observation's run."""
        return self.observation.key

    def now(self) -> float:
        """Return the time by which data leave the ring buffer (Unix s).

        It is the time when the triggers arrived plus the time elapsed since, so that a change of
        the clock does not change the age of the data.
        """
        return self.arrival + self.taken.age()

    def text(self, now: float, buffer_length: float) -> str:
        """Return the request's text, without data that have left the ring buffer, if any are left.

        dada_dbevent merges overlapping events, and drops all of them when the first has left.

        :param now: Unix s
        :param buffer_length: of the ring buffer (s)
        """
        oldest = now - self.observation.start - buffer_length + BUFFER_MARGIN
        events = tuple(
            replace(event, start=max(event.start, oldest))
            for event in self.request.events
            if event.end > oldest + SHORTEST
        )
        return format_request(replace(self.request, events=events or self.request.events))


def arrival_time(first: float, begun: Since, taken: Since) -> float:
    """Return the time of day at `taken`, though the clock may be wrong then or at `begun` (Unix s).

    :param first: time of data that are written by then (Unix s)
    """
    return first + least_age(first + taken.age(), begun, taken)


def make_jobs(
    gathered: TriggerGroup, settings: DadaTriggerSettings, batch_length_samples: int
) -> tuple[list[DumpJob], dict[NotRequested, list[str]]]:
    """Make a request for IQUV and one for Stokes I, if there are triggers for them.

    :param batch_length_samples: length of a page of raw data
    :return: the jobs, and the triggers without a request, by reason; ``gathered`` counts the jobs
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
        first = observation.start + min(trigger.tarr for trigger in triggers)
        arrival = arrival_time(first, gathered.begun, taken)
        # One of them may be ahead of time: the deadline is then that of data that begin now.
        last = min(
            observation.start + max(event.end for event in events),
            arrival + max(event.end - event.start for event in events),
        )
        jobs.append(
            DumpJob(
                observation,
                port,
                DumpRequest(observation.utc_start, events),
                tuple(map(dump_name, triggers)),
                last + settings.buffer_length - BUFFER_MARGIN - SHORTEST,
                arrival,
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
    if trigger.tarr < 0:  # its time range would be clipped to the start
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
    """Return the oldest request of each port; if it is refused, later ones would be, too."""
    first: dict[int, DumpJob] = {}
    for job in jobs:
        first.setdefault(job.port, job)
    return list(first.values())
