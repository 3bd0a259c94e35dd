"""The checker of what left about bursts: it takes what adds up, and names what does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from faults.alert_record import Announced, Arrived, Switched
from msgspec.structs import replace
from triggers import made_trigger

from darc.model.event import AlertType, Event, RoadName, RoadState, Tense, event_id
from darc.model.notice import make_notice
from darc.model.voevent import ObservationSetup
from darc.services.voevent_generator.event_report import reported

SETUP = ObservationSetup("WSRT", "ARTS", 300.0, 1536, 2, 8, 1.0, 85.0)
ROADS = RoadName.KAFKA, RoadName.FILE
MADE = 1.8e9


def event(tense: Tense = Tense.CURRENT, state: RoadState = RoadState.ACKNOWLEDGED) -> Event:
    """A burst that was announced and retracted."""
    trigger = made_trigger()
    made = Event(event_id(trigger, tense), trigger, tense, MADE)
    for number, kind in enumerate((AlertType.INITIAL, AlertType.RETRACTION), 1):
        notice = made.next_notice(kind, MADE + number, "me", "a satellite")
        made = made.with_notice(replace(notice, ivorn=f"ivo://darc/{number}"))
        for road in ROADS:
            made = made.with_state(number, road, state)
    return made


def arrived(one: Event, road: str, number: int, *, public: bool = True) -> Arrived:
    content = make_notice(one, one.notices[number - 1], SETUP, schema="urn:x", dm_error=1.0)
    return Arrived(road, content, None if road == "file" else public, MADE)


def complete(one: Event) -> Announced:
    public = one.tense is Tense.CURRENT
    came = [
        arrived(one, str(road), number, public=public) for road in ROADS for number in (1, 1, 2)
    ]
    return Announced([reported(one, {})], came, {one.id: {"retraction"}})


def test_what_came_twice_in_order_adds_up() -> None:
    assert complete(event()).problems() == []
    assert complete(event()).differs(complete(event()), 1) == []


def _lost(found: Announced) -> None:
    found.arrived = [one for one in found.arrived if one.road != "kafka"]


def _reversed(found: Announced) -> None:
    found.arrived.reverse()


def _changed(found: Announced) -> None:
    first = found.arrived[1]
    found.arrived[1] = replace(first, content=first.content + b" ")


def _published(found: Announced) -> None:
    found.arrived[0] = replace(found.arrived[0], public=False)


def _never_asked(found: Announced) -> None:
    found.ordered.clear()


def _of_nobody(found: Announced) -> None:
    found.events.clear()


def _while_off(found: Announced) -> None:
    found.switched.append(Switched("kafka", MADE, MADE + 1.5))


def _not_retracted(found: Announced) -> None:
    found.events[0]["notices"][1]["roads"]["file"] = "given up"


def _off_the_road(found: Announced) -> None:
    del found.events[0]["notices"][0]["roads"]["kafka"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_lost, "is acknowledged, and has not come"),
        (_reversed, "was retracted before it was announced"),
        (_changed, "2 different contents"),
        (_published, "came where others belong"),
        (_never_asked, "was retracted by nobody"),
        (_of_nobody, "of no event that is told"),
        (_while_off, "was disabled when"),
        (_not_retracted, "no retraction by ['file']"),
        (_off_the_road, "is absent, and has come"),
    ],
)
def test_what_does_not_add_up_is_named(spoil: Callable[[Announced], None], said: str) -> None:
    found = complete(event())
    spoil(found)
    assert said in "\n".join(found.problems())


def test_what_was_withdrawn_must_not_have_come() -> None:
    problems = complete(event(state=RoadState.WITHDRAWN)).problems()
    assert any("is withdrawn, and has come" in problem for problem in problems)


def test_an_injection_is_in_no_file() -> None:
    problems = complete(event(Tense.INJECTION)).problems()
    assert [problem for problem in problems if not problem.startswith("file: ")] == []
    assert len(problems) == 3


def test_a_second_first_notice_of_a_burst_is_named() -> None:
    found, reference = complete(event()), complete(event())
    found.events.append({**found.events[0], "id": "another"})
    (problem,) = found.differs(reference, 1)
    assert "has 2 first notices" in problem
    found.events.clear()
    assert "missing" in found.differs(reference, 1)[0]
    found.disabled = 1
    assert found.differs(reference, 1) == []
