"""Apply a changed configuration to a running supervisord."""

from __future__ import annotations

from darc.master.service_control import ServiceControl
from darc.node.process_names import MASTER
from darc.node.supervisor import Supervisor


def apply_sections(supervisor: Supervisor, services: ServiceControl) -> list[str]:
    """Add, restart and remove the services whose supervisord sections changed.

    Services whose section did not change keep running.

    :return: a note for each kind of change, for the operator
    :raises SupervisorError: supervisord refuses a section
    """
    changes = supervisor.reread()
    notes = []
    states = supervisor.processes()
    if MASTER in changes.changed:
        notes.append("the master's section changes with a restart of the node")
    changed = [name for name in changes.changed if name != MASTER]
    ending = [*changes.removed, *changed]
    running = {name for name, process in states.items() if not process.state.ended}
    restarted = [name for name in changed if name in running]
    services.stop([name for name in ending if name in running])
    for name in ending:
        supervisor.remove(name)
    for name in (*changes.added, *changed):
        supervisor.add(name)
    for name in restarted:
        supervisor.start(name)
    for word, names in (
        ("added", changes.added),
        ("removed", changes.removed),
        ("restarted", restarted),
    ):
        if names:
            notes.append(f"{word}: {', '.join(sorted(names))}")
    return notes
