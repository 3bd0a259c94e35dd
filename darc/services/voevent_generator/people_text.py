"""What people are told of an event: short, with what they can do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import quote

from darc.config.config import Config
from darc.config.records import Struct
from darc.delivery.harmless_text import harmless
from darc.model.event import AlertType, Event, RoadName, Tense
from darc.services.voevent_generator.trial_trigger import is_trial

_NAME = 200  # characters
_REASON = 1000
_MARKS = {Tense.TEST: "TEST: ", Tense.INJECTION: "INJECTION: "}
_KINDS = {
    AlertType.INITIAL: "Burst",
    AlertType.SUBSEQUENT: "Burst of a source that was seen before",
    AlertType.UPDATE: "Update of a burst",
    AlertType.RETRACTION: "RETRACTED burst",
}
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)-")


class PeopleText(Struct, frozen=True):
    """A message as it is kept.

    :param picture: path; empty: none
    """

    title: str
    text: str
    picture: str = ""


def people_message(event: Event, config: Config) -> bytes:
    """Return the message about the latest notice of an event, which `read_message` reads.

    :param event: with the roads by which the notice leaves
    """
    measured = event.measured
    told = event.latest.kind is AlertType.UPDATE and measured is not None
    picture = measured.picture if told and measured else ""
    body = "\n".join(_lines(event, config))
    return json.dumps([_title(event), body, picture]).encode()


def read_message(content: bytes) -> PeopleText:
    """Return the message in the output of `people_message`."""
    title, text, picture = json.loads(content)
    return PeopleText(title, text, picture)


def _title(event: Event) -> str:
    if is_trial(event):
        return f"TEST: no burst, a test of this road ({event.id})"
    snr, dm = event.brightness[0], _dm(event)
    what = f"{_MARKS.get(event.tense, '')}{_KINDS[event.latest.kind]}"
    return f"{what}: S/N {snr:.1f}, DM {dm:.1f} pc/cm^3 ({event.id})"


def _lines(event: Event, config: Config) -> Iterator[str]:
    notice = event.latest
    if is_trial(event):
        yield "Nothing has happened. Messages about bursts come by this way."
        return
    if notice.kind is AlertType.RETRACTION:
        who = "a person" if notice.supervised else harmless(notice.by, _NAME)
        yield f"It was none. Retracted by {who}: {harmless(notice.reason, _REASON)}"
    elif notice.reason:
        yield f"Why: {harmless(notice.reason, _REASON)}"
    yield f"Event: {harmless(event.name, _NAME)}, {event.id}"
    if event.association:
        source, sure = harmless(event.association.source, _NAME), event.association.probability
        yield f"Source: {source} (probability of the association {sure:.3g})"
    yield from _numbers(event)
    yield _roads(event)
    yield from _links(event, config)
    if notice.kind is not AlertType.RETRACTION:
        yield f"To retract it: darc alerts retract {event.id} --reason 'interference'"


def _dm(event: Event) -> float:
    return event.measured.dm if event.measured else event.trigger.dm_cluster


def _numbers(event: Event) -> Iterator[str]:
    trigger, measured = event.trigger, event.measured
    width = measured.width if measured else trigger.width
    by = "measured in the data" if measured else "by the search"
    probability = ""
    if measured and measured.probability is not None:
        probability = f", probability of a burst {measured.probability:.3g}"
    snr = event.brightness[0]
    yield f"S/N {snr:.1f}, DM {_dm(event):.2f} pc/cm^3, width {width:.4g} ms: {by}{probability}"
    if measured:
        yield f"Time: {_utc(measured.arrival)} UTC at the top of the band"
    else:
        yield f"Time: {_utc(trigger.arrival)} UTC at the centre of the band"
    beam = "" if trigger.cb is None else f", compound beam {trigger.cb}"
    if trigger.ra is None or trigger.dec is None:
        yield f"Position: not known{beam}"
    else:
        place = f"RA {trigger.ra:.4f} deg, Dec {trigger.dec:+.4f} deg (ICRS)"
        yield f"Position: {place}, within {trigger.semiMaj:.3g} arcmin{beam}"


def _utc(unix: float) -> str:
    moment = datetime.fromtimestamp(unix, UTC)
    return moment.isoformat(" ", "milliseconds").removesuffix("+00:00")


def _roads(event: Event) -> str:
    """Return by which other roads the notice leaves, and what became of the first one there."""
    now = [str(road) for road in event.latest.roads if road is not RoadName.CHAT]
    leaves = f"Leaves by {', '.join(now)}" if now else "Leaves by no other road: only you are told"
    if event.latest.kind.is_first:
        return f"{leaves}."
    first = {road: one for road, one in event.first.roads.items() if road is not RoadName.CHAT}
    states = ", ".join(f"{road} {state}" for road, state in first.items())
    return f"{leaves}. The first notice: {states or 'by no other road'}."


def _links(event: Event, config: Config) -> Iterator[str]:
    address = config.chat.results_url
    name = event.trigger.datetimesource
    # A page has the name of its directory, which nothing outside can choose.
    if address and (date := _DATE.match(name)) and "/" not in name:
        page = f"{address.rstrip('/')}/{''.join(date.groups())}/{quote(name)}/"
        yield f"Results, once they are there: {page}"
    if config.alarms.page_url:
        yield f"Status page: {config.alarms.page_url}"
