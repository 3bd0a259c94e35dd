"""Events and roads as plain values, for ``darc alerts`` and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from darc.model.event import Event, RoadName, RoadState
from darc.services.voevent_generator.pending_event import PendingEvent


def reported(event: Event, errors: Mapping[tuple[str, bool], str]) -> dict[str, Any]:
    """Return an event with its notices; times are Unix s.

    :param errors: of reports under way, by event and whether to the live server
    """
    trigger, measured = event.trigger, event.measured
    return {
        "id": event.id,
        "name": event.name,
        "tense": str(event.tense),
        "state": str(event.latest.kind),
        "owed": [str(road) for road in event.owed_roads()],
        "trigger": trigger.identity,
        "arrival": trigger.arrival,
        "dm": measured.dm if measured else trigger.dm_cluster,
        "snr": event.brightness[0],  # in the beam that is told
        "width": measured.width if measured else trigger.width,
        "beam": trigger.cb,
        "probability": measured.probability if measured else None,
        "source": event.association.source if event.association else None,
        "verdict": event.verdict,
        "reports": [
            {
                "server": one.server,
                "state": str(one.state),
                "at": one.at,
                "by": one.by,
                "internal_name": one.internal_name,
                "number": one.number,
                "name": one.name,
                "why": one.why or errors.get((event.id, one.live), ""),
            }
            for one in event.reports
        ],
        "notices": [
            {
                "number": one.number,
                "kind": str(one.kind),
                "at": one.at,
                "by": one.by,
                "reason": one.reason,
                "ivorn": one.ivorn,
                "roads": {str(road): str(state) for road, state in one.roads.items()},
            }
            for one in event.notices
        ],
    }


def road_report(
    road: RoadName,
    switched_on: bool,
    waiting: Sequence[tuple[PendingEvent, str]],
    counts: Mapping[str, int],
    enabled: bool,
) -> dict[str, Any]:
    """Return the state of a road.

    :param switched_on: its own switch
    :param waiting: items of all roads, and the errors of their last attempts
    :param counts: of notices, by road and what became of them
    :param enabled: sending as a whole
    """
    here = [(item, error) for item, error in waiting if item.road is road]
    states = [state for state in RoadState if state is not RoadState.WAITING]
    return {
        "enabled": switched_on and enabled,
        "switch": switched_on,
        "waiting": len(here),
        "oldest": min((item.made.unix for item, _ in here), default=None),
        "error": next((error for _, error in here if error), ""),
        **{str(state): counts.get(f"{road} {state}", 0) for state in states},
    }
