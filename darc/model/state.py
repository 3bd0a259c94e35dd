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


class Pulse(enum.Enum):
    """What the queues know of a service's process."""

    NONE = enum.auto()  # not attached
    BEATING = enum.auto()
    SILENT = enum.auto()  # attached, but its work loop does not beat


_ALIVE = {
    Pulse.NONE: ServiceState.STARTING,
    Pulse.BEATING: ServiceState.RUNNING,
    Pulse.SILENT: ServiceState.UNRESPONSIVE,
}

#: supervisord's name of the process state → pulse → state
_STATES = {
    "STOPPED": dict.fromkeys(Pulse, ServiceState.STOPPED),
    "STARTING": _ALIVE,
    "RUNNING": _ALIVE,
    "BACKOFF": dict.fromkeys(Pulse, ServiceState.STARTING),
    "STOPPING": dict.fromkeys(Pulse, ServiceState.STOPPING),
    "EXITED": dict.fromkeys(Pulse, ServiceState.STOPPED),
    "FATAL": dict.fromkeys(Pulse, ServiceState.FAILED),
    "UNKNOWN": dict.fromkeys(Pulse, ServiceState.FAILED),
}


def service_state(process_state: str, pulse: Pulse) -> ServiceState:
    """Running means ready: the process is up, attached to its queues, and its loop beats.

    :param process_state: supervisord's name for the state of the process
    """
    return _STATES[process_state][pulse]
