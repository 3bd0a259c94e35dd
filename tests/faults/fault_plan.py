"""Which faults strike a node when, drawn from a seed."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """What is done to the node."""

    KILL = "kill"  # SIGKILL of a service, the master, or a process that extracts
    STOP = "stop"  # SIGSTOP for a while
    DIE_AT = "die at"  # a process dies at a named point of its code
    KILL_SUPERVISORD = "kill supervisord"  # and darc_start_master afterwards
    STOP_SUPERVISORD = "stop supervisord"
    FULL_JOURNAL = "full journal"  # and room again after a while
    REMOVE_LOGS = "remove logs"
    REMOVE_SOCKET = "remove socket"
    RUBBISH_CONFIG = "rubbish configuration"  # and reload, and the good one again
    FLOOD = "flood"  # of the command port
    OUTSIDE_AWAY = "outside away"  # dada_dbevent refuses, the broker does not answer
    RESULTS_AWAY = "results away"  # the directory that results are written to
    DATA_STOP = "data stop"  # the filterbank files do not grow for a while


SENDERS = ("dada_trigger", "lofar_trigger", "voevent_generator")
SERVICES = ("amber_listener", "amber_clustering", "processor", *SENDERS)
POINTS = ("after taking", "before committing", "after committing", "while waiting")
PLACES = (
    *(f"{service}.{point}" for service in SERVICES for point in POINTS),
    *(f"{service}.{point} sending" for service in SENDERS for point in ("before", "after")),
    *(f"darc_master.before committing {service}" for service in SERVICES),
    *(f"darc_master.before replying {service}" for service in SERVICES),
)
SOCKETS = ("queues.sock", "supervisord.sock")
POOL = "pool process"  # one that extracts candidates and writes results
#: A task that two processes died of is given up, so a run has one of these at most.
POOL_DEATHS = (
    (Kind.KILL, POOL),
    (Kind.DIE_AT, f"{POOL}.before working"),
    (Kind.DIE_AT, f"{POOL}.after working"),
)
PROCESSING = (
    (Kind.KILL, "processor"),
    (Kind.STOP, "processor"),
    (Kind.STOP, POOL),
    (Kind.DIE_AT, "processor.after a result"),
    (Kind.RESULTS_AWAY, ""),
    (Kind.DATA_STOP, ""),
)
#: Results are written once an observation was stopped: some faults strike in so many s after that.
LATE_SECONDS = 1.5
#: How often each kind is drawn.
WEIGHTS = {
    Kind.KILL: 6,
    Kind.STOP: 4,
    Kind.DIE_AT: 4,
    Kind.KILL_SUPERVISORD: 1,
    Kind.STOP_SUPERVISORD: 1,
    Kind.FULL_JOURNAL: 2,
    Kind.REMOVE_LOGS: 1,
    Kind.REMOVE_SOCKET: 1,
    Kind.RUBBISH_CONFIG: 1,
    Kind.FLOOD: 1,
    Kind.OUTSIDE_AWAY: 2,
}


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault.

    :param time: s since the start of the replay; from its end on, s since the observation was
        stopped, and the replay's duration
    :param duration: s that it lasts, where it does
    """

    time: float
    kind: Kind
    target: str = ""
    duration: float = 0.0

    def __str__(self) -> str:
        lasting = f" for {self.duration:.2f} s" if self.duration else ""
        return f"{self.time:5.2f} s: {self.kind} {self.target}{lasting}"


def draw(seed: int, duration: float) -> list[Fault]:
    """The faults of one run, in order of time; the same ones for the same seed."""
    rng = random.Random(seed)
    faults = []
    for _ in range(rng.randint(2, 5)):
        kind = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        time = rng.uniform(0.0, duration)
        lasting = rng.uniform(0.1, 1.5)
        target, lasts = "", 0.0
        if kind is Kind.KILL:
            target = rng.choice((*SERVICES, "darc_master"))
        elif kind is Kind.STOP:
            target, lasts = rng.choice((*SERVICES, "darc_master")), lasting
        elif kind is Kind.DIE_AT:
            target = rng.choice(PLACES)
        elif kind is Kind.REMOVE_SOCKET:
            target = rng.choice(SOCKETS)
        elif kind in {Kind.STOP_SUPERVISORD, Kind.FULL_JOURNAL, Kind.OUTSIDE_AWAY}:
            lasts = lasting
        faults.append(Fault(time, kind, target, lasts))
    # By numbers of their own: the others stay as they were before there was processing.
    return sorted(faults + _of_processing(random.Random(f"processing {seed}"), duration))


def _of_processing(rng: random.Random, duration: float) -> list[Fault]:
    faults = []
    for kind, target in rng.sample((rng.choice(POOL_DEATHS), *PROCESSING), rng.randint(1, 2)):
        late = kind is Kind.RESULTS_AWAY or (kind is not Kind.DATA_STOP and rng.random() < 0.4)
        time = rng.uniform(duration, duration + LATE_SECONDS) if late else rng.uniform(0, duration)
        lasts = 0.0 if kind in {Kind.KILL, Kind.DIE_AT} else rng.uniform(0.1, 1.5)
        faults.append(Fault(time, kind, target, lasts))
    return faults
