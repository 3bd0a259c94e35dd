"""What left a node about bursts, by every road, and whether it adds up.

Of a road it is what its receiver has: Kafka's consumer, servers of the webhook, a subscriber behind
Comet, and the directory of files. What the service says of its events has to agree with that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct, field

from darc.services.voevent_generator.notice_schema import check_notice

TOPIC, TEST_TOPIC = "gcn.notices.arts.frb", "gcn.notices.arts.frb.test"
UPDATE, RETRACTION = "update", "retraction"
#: That something was, and nobody knows whether it was heard.
ASKED = "asked"
#: States of a notice on a road by which it may have come there.
_MAY_HAVE_LEFT = ("acknowledged", "given up")
_IVORN = re.compile(r'<voe:VOEvent [^>]*ivorn="([^"]+)"')
_ROLE = re.compile(r'<voe:VOEvent [^>]*role="([^"]+)"')

Place = tuple[str, int]  # id of an event, and number of the notice


class Arrived(Struct, frozen=True):
    """A notice as it came.

    :param public: by the topic, address or role of bursts; None: the road has one for all
    :param time: Unix s, of this machine's clock
    """

    road: str
    content: bytes
    public: bool | None
    time: float


class Switched(Struct, frozen=True):
    """A time for which a road, or all ("all"), was certainly disabled: Unix s, this machine's."""

    road: str
    begin: float
    end: float


class Announced(Struct):
    """What was announced in an observation.

    :param events: as the service tells them
    :param arrived: in order of arrival, on each road
    :param ordered: what was accepted of a person, by event
    :param disabled: triggers that were not sent for that, as the service has counted
    :param clock_is_right: no fault has set the node's
    :param is_reloaded: the configuration may be read again, which has a say in whether all is off
    """

    events: list[dict[str, Any]] = field(default_factory=list)
    arrived: list[Arrived] = field(default_factory=list)
    ordered: dict[str, set[str]] = field(default_factory=dict)
    switched: list[Switched] = field(default_factory=list)
    disabled: int = 0
    clock_is_right: bool = True
    is_reloaded: bool = False

    @property
    def kinds(self) -> dict[str, list[str]]:
        """Kinds of the notices of each burst, by what its trigger is in any observation."""
        return {
            _burst(event): [notice["kind"] for notice in event["notices"]]
            for event in self.events
            if event["tense"] == "current"
        }

    @property
    def injected(self) -> set[str]:
        """Likewise the bursts that were injected."""
        return {_burst(event) for event in self.events if event["tense"] == "injection"}

    def problems(self) -> list[str]:
        """What does not add up."""
        found = []
        notices = {
            (event["id"], notice["number"]): (event, notice)
            for event in self.events
            for notice in event["notices"]
        }
        places = {notice["ivorn"]: place for place, (_, notice) in notices.items()}
        came: dict[str, list[tuple[Place, Arrived]]] = {}
        for one in self.arrived:
            place = _place(one, places)
            if place in notices:
                came.setdefault(one.road, []).append((place, one))
            else:
                found.append(f"{one.road}: of no event that is told: {one.content[:300]!r}")
        for place, (event, notice) in notices.items():
            found += _of_roads(place, event, notice, came)
        for road, some in came.items():
            found += _of_order(road, [place for place, _ in some], notices)
        found += self._of_contents(came, notices)
        found += self._of_orders()
        return found + self._of_switches(came, notices)

    def differs(self, reference: Announced, runs: int) -> list[str]:
        """What is not as in the run in which nothing struck.

        :param runs: how often the observation was started
        """
        found = []
        mine = {*self.kinds, *(f"injection {one}" for one in self.injected)}
        theirs = {*reference.kinds, *(f"injection {one}" for one in reference.injected)}
        missing, more = theirs - mine, mine - theirs
        if more or len(missing) > self.disabled:
            found.append(
                f"bursts: missing {sorted(missing)} ({self.disabled} as sending was disabled),"
                f" too much {sorted(more)}"
            )
        firsts: dict[str, set[str]] = {}
        for event in self.events:
            if event["tense"] == "current":
                firsts.setdefault(_burst(event), set()).add(event["id"])
        found += [
            f"burst {burst} has {len(ids)} first notices: {sorted(ids)}"
            for burst, ids in firsts.items()
            if len(ids) > runs
        ]
        return found

    # -- each --------------------------------------------------------------------------------------

    def _of_contents(
        self, came: dict[str, list[tuple[Place, Arrived]]], notices: dict[Place, Any]
    ) -> list[str]:
        """The same bytes of each notice, valid, and where its kind belongs."""
        found = []
        contents: dict[tuple[Place, bool], set[bytes]] = {}
        for road, some in came.items():
            for place, one in some:
                contents.setdefault((place, road == "vtp"), set()).add(one.content)
                tense = notices[place][0]["tense"]
                if one.public is not None and one.public is not (tense == "current"):
                    found.append(f"{road}: {place}, {tense}, came where others belong")
                if tense == "injection" and road in ("vtp", "file"):
                    found.append(f"{road}: {place} is of an injection")
        for (place, xml), values in contents.items():
            if len(values) > 1:
                found.append(f"{place}: {len(values)} different contents: {sorted(values)[:2]}")
            if not xml:
                found += _invalid(place, next(iter(values)), notices[place])
        return found

    def _of_orders(self) -> list[str]:
        """What a person was told is on its way has come to something."""
        found = []
        for event in self.events:
            wanted = self.ordered.get(event["id"], set())
            retracted = event["state"] == RETRACTION
            if RETRACTION in wanted and not retracted and _left_by(event):
                found.append(f"{event['id']} was to be retracted: {event['notices']}")
            kinds = [notice["kind"] for notice in event["notices"]]
            # What is said of a burst that cannot leave now is not said later, but a retraction.
            if UPDATE in wanted and UPDATE not in kinds and not (retracted or self.switched):
                found.append(f"{event['id']} was to be updated: {event['notices']}")
            if retracted and not wanted:
                found.append(f"{event['id']} was retracted by nobody: {event['notices']}")
            if event["owed"]:
                found.append(f"{event['id']}: retraction owed to {event['owed']}")
        return found

    def _of_switches(
        self, came: dict[str, list[tuple[Place, Arrived]]], notices: dict[Place, Any]
    ) -> list[str]:
        """Nothing was made for a road while it was off, but what is owed afterwards."""
        found = []
        certain = [off for off in self.switched if off.road != "all" or not self.is_reloaded]
        for off in certain if self.clock_is_right else ():
            for road, some in came.items():
                for place, _ in some if off.road in ("all", road) else ():
                    notice = notices[place][1]
                    if notice["kind"] != RETRACTION and off.begin < notice["at"] < off.end:
                        found.append(f"{road} was disabled when {place} was made, which left by it")
        return found


def _of_roads(
    place: Place,
    event: dict[str, Any],
    notice: dict[str, Any],
    came: dict[str, list[tuple[Place, Arrived]]],
) -> list[str]:
    """What the service says became of a notice on each road, beside what came."""
    found = []
    for road in ("vtp", "kafka", "webhook", "file"):
        here = any(other == place for other, _ in came.get(road, ()))
        state = notice["roads"].get(road, "absent")
        if state == "waiting" or (state == "acknowledged" and not here):
            found.append(f"{road}: {place} of {event['trigger']} is {state}, and has not come")
        if here and state not in _MAY_HAVE_LEFT:
            found.append(f"{road}: {place} of {event['trigger']} is {state}, and has come")
    if notice["kind"] == RETRACTION:
        told = {road for road, state in notice["roads"].items() if state == "acknowledged"}
        if missed := _left_by(event) - told:
            found.append(f"{place}: no retraction by {sorted(missed)}")
    return found


def _left_by(event: dict[str, Any]) -> set[str]:
    """The roads by which a burst has left, or may have."""
    first = event["notices"][0]["roads"]
    return {road for road, state in first.items() if state in _MAY_HAVE_LEFT}


def _of_order(road: str, places: Sequence[Place], notices: dict[Place, Any]) -> list[str]:
    """On a road, each notice is first seen after those before it; a retraction after its first."""
    found = []
    seen: dict[str, list[int]] = {}
    for event, number in places:
        numbers = seen.setdefault(event, [])
        if number in numbers:
            continue
        if numbers and number < max(numbers):
            found.append(f"{road}: notice {number} of {event} after {max(numbers)}")
        first = notices[event, 1][1]
        is_retraction = notices[event, number][1]["kind"] == RETRACTION
        if is_retraction and 1 not in numbers and first["roads"].get(road) == "acknowledged":
            found.append(f"{road}: {event} was retracted before it was announced")
        numbers.append(number)
    return found


def _invalid(place: Place, content: bytes, told: tuple[Any, Any]) -> list[str]:
    """What is wrong with the JSON of a notice."""
    event, notice = told
    try:
        check_notice(content)
    except ValueError as error:
        return [f"{place}: {error}"]
    plain = json.loads(content)
    said = plain["id"], plain["record_number"], plain["alert_tense"], plain["alert_type"]
    meant = event["id"], notice["number"], event["tense"], notice["kind"]
    return [] if said == meant else [f"{place}: {said} where it is {meant}"]


def _place(one: Arrived, places: dict[str, Place]) -> Place | None:
    if one.road == "vtp":
        named = _IVORN.search(one.content.decode())
        return places.get(named[1]) if named else None
    plain = json.loads(one.content)
    return str(plain["id"]), int(plain["record_number"])


def _burst(event: dict[str, Any]) -> str:
    """Window and DM bin."""
    return str(event["trigger"]).split("/", 1)[1]


def of_subscriber(received: Iterable[Any]) -> list[Arrived]:
    """VOEvents that a subscriber got."""
    found = []
    for one in received:
        role = _ROLE.search(one.event.decode())
        assert role, one.event
        found.append(Arrived("vtp", one.event, role[1] == "observation", one.time))
    return found
