"""A cluster as nodes might tell of it, without any node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from darc import __version__
from darc.model.overview import (
    FORMAT,
    Disk,
    Handover,
    LogLine,
    NodeOverview,
    ObservationOverview,
    ServiceOverview,
    StageLatency,
)
from darc.monitor.cluster_watch import ClusterStatus, NodeStatus
from darc.monitor.findings import RuleContext
from darc.monitor.shell_commands import ShellCommands
from darc.node.command_client import Unreached

MASTER = "arts041"
ON_MASTER = (
    *("offline_processing", "status_website", "voevent_generator"),
    *("lofar_trigger", "processor"),
)
ON_WORKERS = (
    *("offline_processing", "amber_listener", "amber_clustering", "dada_trigger", "processor"),
)
NAMES = {
    "voevent_generator": "VOEvent generator",
    "status_website": "Status website",
    "amber_listener": "AMBER listener",
    "amber_clustering": "AMBER clustering",
    "offline_processing": "Offline processing",
    "dada_trigger": "IQUV triggering",
    "lofar_trigger": "LOFAR triggering",
    "processor": "Processor",
}
_CAUSES = {
    "Connection refused": Unreached.REFUSED,
    "Name or service not known": Unreached.UNKNOWN_HOST,
}
CONTEXT = RuleContext(NAMES, MASTER, ShellCommands(alone=False))
#: 2026-11-22 01:13:22 UTC
NOW = 1795310002.0

_LINE = "2026-11-22 01:12:{second:02d}.418 {level} {name} [190518009]: {text}"
_TEXTS = (
    "window 812 closed: 4112 candidates, 3 clusters",
    "IQUV DM 56.70 to 58.10, S/N 10.0; LOFAR DM 113.4, S/N 20.0",
    "committed: 1 entry completed, 1 put",
)


def service(name: str, state: str = "running", now: float = NOW, **changes: Any) -> ServiceOverview:
    """A service that has run for three hours, unless something else is said."""
    running = state in ("running", "starting", "unresponsive", "stopping")
    made = ServiceOverview(
        name=name,
        state=state,
        since=now - 11_320.0,
        restarts=0,
        deaths=0,
        died=None,
        pid=4711 if running else 0,
        memory=42_729_472 if running else 0,
        cpu=2.1 if running else 0.0,
        queue=0,
        oldest=None,
        sending=True if name in ("lofar_trigger", "voevent_generator") else None,
        last_trigger=None,
        last_error=None,
        log_file=f"/home/arts/darc/log/{name}.log",
        log_end=tuple(
            _LINE.format(second=second, level="INFO", name=name, text=_TEXTS[second % 3])
            for second in range(10)
        ),
        outcomes={},
        latency=(),
    )
    return replace(made, **changes)


def overview(
    host: str,
    services: Iterable[str | ServiceOverview] = ON_WORKERS,
    now: float = NOW,
    **changes: Any,
) -> NodeOverview:
    """A node that has run for four hours."""
    made = NodeOverview(
        format=FORMAT,
        change=f"{now - 14_400:.3f}/3",
        hostname=host,
        role="master" if host == MASTER else "worker",
        version=__version__,
        node_id="0" * 32,
        time=now,
        waited=0.0,
        started=now - 14_400.0,
        master_started=now - 14_399.0,
        master=MASTER,
        mode="mixed",
        stopping=False,
        supervisord="",
        looked=now,
        read=now,
        asked=now,
        journal_full=False,
        disks=(
            Disk("run_dir", f"/data/darc/run/{host}", 4 * 10**12, 10**12),
            Disk("home", "/home/arts/darc", 10**13, 4 * 10**12),
        ),
        itself=service("darc_master", now=now),
        services=tuple(service(one, now=now) if isinstance(one, str) else one for one in services),
        observations=(),
        handovers=(),
    )
    return replace(made, **changes)


def node(
    host: str, *services: str | ServiceOverview, now: float = NOW, **changes: Any
) -> NodeStatus:
    """A node that answers."""
    told = overview(host, services or ON_WORKERS, now, **changes)
    return NodeStatus(host, told, reached=True, heard=now)


def silent(host: str, reason: str, since: float = NOW - 300.0) -> NodeStatus:
    return NodeStatus(host, reason=reason, cause=_CAUSES.get(reason), since=since)


def cluster(*nodes: NodeStatus, now: float = NOW) -> ClusterStatus:
    return ClusterStatus(now, nodes)


def workers() -> list[str]:
    return [f"arts{number:03d}" for number in range(1, 41)]


def healthy(now: float = NOW) -> ClusterStatus:
    """41 nodes, and nothing wrong."""
    nodes = [node(MASTER, *ON_MASTER, now=now), *(node(host, now=now) for host in workers())]
    return cluster(*nodes, now=now)


def troubled(now: float = NOW) -> ClusterStatus:
    """41 nodes that observe, and a bad night."""
    nodes = {one.name: one for one in healthy(now).nodes}
    running = ObservationOverview("190518009", "B0531+21", "running", now - 312, now + 588, ())
    before = ObservationOverview(
        "190518008", "R3", "in processing", now - 4512, now - 912, ("processor",)
    )
    coming = ObservationOverview("190518010", "3C286", "pending", now + 900, now + 1500, ())
    for name, one in nodes.items():
        assert one.overview
        seen = (running, coming) + ((before,) if name < "arts004" else ())
        nodes[name] = replace(one, overview=replace(one.overview, observations=seen))
    _with_times(nodes)
    set_service(
        nodes,
        "arts003",
        service(
            *("amber_clustering", "failed", now),
            since=now - 671,
            restarts=4,
            deaths=4,
            died=now - 671,
            last_error=LogLine(
                now - 672, "ends: MemoryError: Unable to allocate 3.81 GiB for an array"
            ),
        ),
    )
    set_service(nodes, "arts017", service("dada_trigger", "unresponsive", now, since=now - 48))
    set_service(nodes, "arts029", service("amber_listener", "starting", now, since=now - 3))
    set_service(
        nodes,
        "arts012",
        service("amber_listener", "running", now, died=now - 2, deaths=1, restarts=1),
    )
    set_service(nodes, MASTER, service("voevent_generator", "stopped", now, since=now - 5400))
    handover = Handover(
        "lofar_trigger",
        reached=False,
        since=now - 430,
        waiting=12,
        text="arts041:5201: [Errno 113] No route to host",
    )
    change(nodes, "arts021", handovers=(handover,))
    change(nodes, "arts033", journal_full=True)
    change(nodes, "arts008", disks=(Disk("run_dir", "/data/darc/run/arts008", 4 * 10**12, 10**10),))
    change(nodes, "arts036", version="0.0.9")
    nodes["arts025"] = replace(nodes["arts025"], clock=3.4)
    for name in ("arts038", "arts039", "arts040"):
        gone = silent(name, "Connection refused", now - 1260)
        nodes[name] = replace(gone, overview=nodes[name].overview, heard=nodes[name].heard)
    nodes["arts011"] = silent("arts011", "no answer within 10 s", now - 95)
    return cluster(*nodes.values(), now=now)


def few(now: float = NOW) -> ClusterStatus:
    """Those of them that have something to show."""
    names = {MASTER, "arts001", *(f"arts0{number}" for number in ("03", "11", "12", "17", "29"))}
    return cluster(*(one for one in troubled(now).nodes if one.name in names), now=now)


def set_service(nodes: dict[str, NodeStatus], name: str, changed: ServiceOverview) -> None:
    told = nodes[name].overview
    assert told
    services = tuple(changed if one.name == changed.name else one for one in told.services)
    change(nodes, name, services=services)


def change(nodes: dict[str, NodeStatus], name: str, **changes: Any) -> None:
    told = nodes[name].overview
    assert told
    nodes[name] = replace(nodes[name], overview=replace(told, **changes))


def _with_times(nodes: dict[str, NodeStatus]) -> None:
    common = ("read", "queued", "closed", "clustered", "decided", "taken")
    for name, one in nodes.items():
        assert one.overview
        for service_name, last in (
            ("dada_trigger", ("sent", "line to sent")),
            ("lofar_trigger", ("gathered", "sent", "line to sent")),
            ("voevent_generator", ("gathered", "sent", "accepted", "line to accepted")),
        ):
            found = [each for each in one.overview.services if each.name == service_name]
            if not found:
                continue
            stages = tuple(
                StageLatency(stage, 7, 0.4 + 1.3 * place, 2.0 + 3.1 * place, 3.0 + 9.7 * place)
                for place, stage in enumerate((*common, *last))
            )
            text = "190518009/41/7: FRB candidate, DM 562.10, S/N 23.4, width 1.31 ms, beam 35"
            set_service(
                nodes,
                name,
                replace(
                    found[0],
                    latency=stages,
                    outcomes={"sent": 7, "of a pulse announced before": 3},
                    last_trigger=LogLine(one.overview.time - 77, text),
                ),
            )
