"""Which faults strike a node when, drawn from a seed."""

from __future__ import annotations

import enum
import random

from msgspec import Struct


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
    POWER_LOSS = "power loss"  # and darc_start_master afterwards
    CLOCK_STEP = "clock step"  # and back after a while
    SHARE_HANGS = "share hangs"  # that parsets, logs and results are on
    FILE_REPLACED = "trigger file replaced"
    WILD_VALUES = "wild values"  # in a trigger file
    SECOND_MACHINE = "second machine"  # that has the same home, and runs a command
    AGAIN = "started again"  # the same observation, of which a part was there before
    CROSSING = "crossing"  # starts and stops
    KAFKA_AWAY = "kafka away"  # the broker, which keeps its log
    KAFKA_SLOW = "kafka slow"  # it answers late, also later than is waited for
    KAFKA_KILLED = "kafka killed"  # SIGKILL, and another one after a while
    SAID = "said of a burst"  # by a person: that it is one, or none; or measured by a worker
    TEST_NOTICE = "test notice"
    SWITCH = "switch"  # of a road or all, and back after a while


#: In these processes die wherever they are.
DEADLY = (Kind.KILL, Kind.DIE_AT, Kind.KILL_SUPERVISORD, Kind.POWER_LOSS, Kind.CROSSING)
#: With these the configuration is read again.
RELOADING = (Kind.FULL_JOURNAL, Kind.RUBBISH_CONFIG, Kind.AGAIN)
SENDERS = ("dada_trigger", "lofar_trigger", "voevent_generator")
SERVICES = ("amber_listener", "amber_clustering", "processor", *SENDERS)
POINTS = ("after taking", "before committing", "after committing", "while waiting")
PLACES = (
    *(f"{service}.{point}" for service in SERVICES for point in POINTS),
    *(f"{service}.{point} sending" for service in SENDERS for point in ("before", "after")),
    *(f"darc_master.before committing {service}" for service in SERVICES),
    *(f"darc_master.before replying {service}" for service in SERVICES),
)
CLOCK_STEPS = ("+2", "-2", "+110", "-110", "+3600", "-3600")  # s
REPLACED = ("renamed over", "truncated", "removed")
TRIGGER_FILES = (1, 2, 3)
COMMANDS = (  # of the second machine
    *("darc_kill_all", "darc_start_master", "darc_stop_master", "darc_replace_secret"),
    *("darc_start_all_services", "darc_stop_all_services", "darc --service all restart"),
    *("darc abort_all", "darc stop_master", "darc reload", "darc --service all status"),
)
SAME_NAME, OTHER_NAME = "under the same name", "under another name"
#: What is done to the observation that is there before, and who was stopped meanwhile.
BEFORE = ("stopped", "aborted")
BACKLOGS = ("", "", "amber_clustering", "dada_trigger", "lofar_trigger", "voevent_generator")
ANOTHER_STOPPED = "another one is stopped"
MASTER_KILLED = "the master is killed"
NODE_STOPPED = "the node is stopped"
CROSSINGS = (ANOTHER_STOPPED, MASTER_KILLED, NODE_STOPPED)
#: One run in so many begins with something else.
BEGINNINGS = 4
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
#: What people say, and what becomes of Kafka; one run in so many has a switch.
MEASURE = "measure"
SAYINGS = ("retract", "confirm", MEASURE)
SWITCHES = ("all", "vtp", "kafka", "webhook", "file")
SWITCHED = 3
OF_ALERTS = (
    *((Kind.SAID, what) for what in (*SAYINGS, "retract")),
    (Kind.TEST_NOTICE, ""),
    (Kind.KAFKA_AWAY, ""),
    (Kind.KAFKA_SLOW, ""),
    (Kind.KAFKA_KILLED, ""),
    (Kind.KILL, "voevent_generator"),
    *((Kind.DIE_AT, f"voevent_generator.{p}") for p in ("before following", "after sending")),
)
#: Results are written once an observation was stopped: some faults strike in so many s after that.
LATE_SECONDS = 1.5
LATE_POWER_LOSS = 0.3
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
    Kind.POWER_LOSS: 3,
    Kind.CLOCK_STEP: 2,
    Kind.SHARE_HANGS: 2,
    Kind.FILE_REPLACED: 2,
    Kind.WILD_VALUES: 2,
    Kind.SECOND_MACHINE: 2,
}


class Fault(Struct, frozen=True, order=True):
    """One fault.

    :param time: s since the start of the replay; before it, what the run begins with; from its end
        on, s since the observation was stopped, and the replay's duration
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
        elif kind is Kind.CLOCK_STEP:
            target, lasts = rng.choice(CLOCK_STEPS), 2 * lasting
        elif kind is Kind.SHARE_HANGS:
            lasts = 3 * lasting
        elif kind is Kind.FILE_REPLACED:
            target = f"{rng.choice(TRIGGER_FILES)} {rng.choice(REPLACED)}"
        elif kind is Kind.SECOND_MACHINE:
            target = f"{rng.choice(COMMANDS)} {rng.choice((SAME_NAME, OTHER_NAME))}"
        elif kind is Kind.POWER_LOSS and rng.random() < LATE_POWER_LOSS:
            time = rng.uniform(duration, duration + LATE_SECONDS)
        faults.append(Fault(time, kind, target, lasts))
    # By numbers of their own, so that the others stay as they are when these change.
    faults += _of_processing(random.Random(f"processing {seed}"), duration)
    faults += _of_the_beginning(random.Random(f"beginning {seed}"))
    faults += _of_alerts(random.Random(f"alerts {seed}"), duration)
    if any(fault.kind is Kind.POWER_LOSS for fault in faults):
        # What was read of a file that is there no more cannot be read again after the cut.
        faults = [fault for fault in faults if fault.kind is not Kind.FILE_REPLACED]
    return sorted(faults)


def _of_the_beginning(rng: random.Random) -> list[Fault]:
    if rng.randrange(BEGINNINGS):
        return []
    if rng.random() < 0.5:
        backlog = rng.choice(BACKLOGS)
        target = rng.choice(BEFORE) + (f", {backlog} was away" if backlog else "")
        return [Fault(-1.0, Kind.AGAIN, target, rng.uniform(0.3, 2.0))]
    return [Fault(-1.0, Kind.CROSSING, rng.choice(CROSSINGS), rng.uniform(0.0, 0.4))]


def _of_alerts(rng: random.Random, duration: float) -> list[Fault]:
    faults = []
    for kind, target in rng.sample(OF_ALERTS, rng.randint(2, 4)):
        late = kind is not Kind.DIE_AT and rng.random() < 0.2
        time = rng.uniform(duration, duration + LATE_SECONDS) if late else rng.uniform(0, duration)
        lasting = kind in {Kind.KAFKA_AWAY, Kind.KAFKA_SLOW, Kind.KAFKA_KILLED}
        faults.append(Fault(time, kind, target, rng.uniform(0.1, 2.0) if lasting else 0.0))
    # One: of several, the times for which it is certainly off could not be told.
    if not rng.randrange(SWITCHED):
        time, lasts = rng.uniform(0.0, duration), rng.uniform(0.1, 2.0)
        faults.append(Fault(time, Kind.SWITCH, rng.choice(SWITCHES), lasts))
    return faults


def _of_processing(rng: random.Random, duration: float) -> list[Fault]:
    faults = []
    for kind, target in rng.sample((rng.choice(POOL_DEATHS), *PROCESSING), rng.randint(1, 2)):
        late = kind is Kind.RESULTS_AWAY or (kind is not Kind.DATA_STOP and rng.random() < 0.4)
        time = rng.uniform(duration, duration + LATE_SECONDS) if late else rng.uniform(0, duration)
        lasts = 0.0 if kind in {Kind.KILL, Kind.DIE_AT} else rng.uniform(0.1, 1.5)
        faults.append(Fault(time, kind, target, lasts))
    return faults
