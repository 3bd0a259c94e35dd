"""State of a service, from its process state and its heartbeat, as one table."""

from __future__ import annotations

import enum

#: Exit status of a process that gave up starting; supervisord does not restart it. It is one of
#: `exitcodes` in supervisor/defaults.conf.
GAVE_UP = 78


class ServiceState(enum.StrEnum):
    """State of a service, as ``darc --service NAME status`` reports it."""

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
    """Heartbeat of a service's process at its queues."""

    NONE = enum.auto()  # not attached
    BEATING = enum.auto()
    SILENT = enum.auto()  # attached, but its work loop sends no heartbeat


_ALIVE = {
    Heartbeat.NONE: ServiceState.STARTING,
    Heartbeat.BEATING: ServiceState.RUNNING,
    Heartbeat.SILENT: ServiceState.UNRESPONSIVE,
}

#: supervisord's name of the process state → heartbeat → state
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


def service_state(process_state: str, heartbeat: Heartbeat) -> ServiceState:
    """Return the state of a service; running means attached to its queues and with a heartbeat.

    :param process_state: supervisord's name for the state of the process
    """
    return _STATES[process_state][heartbeat]
