"""The state of a service, from what supervisord and the queues know of it, as one table."""

from __future__ import annotations

import enum

#: Exit status of a process that tried to start and gave up: not started again by itself. It is one
#: of `exitcodes` in supervisor/defaults.conf.
GAVE_UP = 78


class ServiceState(enum.StrEnum):
    """What ``darc --service NAME status`` answers."""

    RUNNING = "running"
    STOPPED = "stopped"
    STARTING = "starting"
    STOPPING = "stopping"
    UNRESPONSIVE = "unresponsive"
    FAILED = "failed"


class ServiceOutcome(enum.StrEnum):
    """What ``start`` and ``stop`` answer of a service."""

    STARTED = "started"
    RUNNING_ALREADY = "already running"
    STARTING = "starting"  # still, when the answer was due
    STOPPED = "stopped"
    FAILED = "failed"
    # somebody took it out
    NO_PROGRAM = "failed: supervisord has no program of this name; darc reload adds it"


#: Those with which a command has failed.
FAILURES = frozenset({ServiceOutcome.FAILED, ServiceOutcome.NO_PROGRAM})


class Heartbeat(enum.Enum):
    """What the queues know of a service's process."""

    NONE = enum.auto()  # not attached
    BEATING = enum.auto()
    SILENT = enum.auto()  # attached, but its work loop does not beat


_ALIVE = {
    Heartbeat.NONE: ServiceState.STARTING,
    Heartbeat.BEATING: ServiceState.RUNNING,
    Heartbeat.SILENT: ServiceState.UNRESPONSIVE,
}

#: supervisord's name of the process state → pulse → state
_STATES = {
    "STOPPED": dict.fromkeys(Heartbeat, ServiceState.STOPPED),
    "STARTING": _ALIVE,
    "RUNNING": _ALIVE,
    "BACKOFF": dict.fromkeys(Heartbeat, ServiceState.STARTING),
    "STOPPING": dict.fromkeys(Heartbeat, ServiceState.STOPPING),
    "EXITED": dict.fromkeys(Heartbeat, ServiceState.STOPPED),
    "FATAL": dict.fromkeys(Heartbeat, ServiceState.FAILED),
    "UNKNOWN": dict.fromkeys(Heartbeat, ServiceState.FAILED),
}


def service_state(process_state: str, pulse: Heartbeat) -> ServiceState:
    """Running means ready: the process is up, attached to its queues, and its loop beats.

    :param process_state: supervisord's name for the state of the process
    """
    return _STATES[process_state][pulse]
