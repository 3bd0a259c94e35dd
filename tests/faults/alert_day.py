"""A day of generated observations through the service that announces bursts, by every road.

python tests/faults/alert_day.py --hours 24 --seed 1

Each hour is an observation of one field. Its triggers come as workers hand them in, several beams'
of a burst among them; then measurements, verdicts and injections, each by a script that says what
is to come of the burst. Roads lead to a Kafka broker with a consumer, webhooks, files, and Comet
with a subscriber. Afterwards each burst has the end that its script has, each notice is valid by
our schema and each VOEvent by its own, and what they cite is there.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct, field
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parents[2]))  # for the simulator

from faults.alert_record import Announced, of_subscriber
from faults.alert_roads import AlertRoads
from triggers import made_trigger
from voevents import read_event

from darc.model.arrival import utc_of
from darc.model.event import Event, Tense
from darc.model.finding import AlertOrder, BurstFinding
from darc.model.notice import arrival_at_top
from darc.model.trigger import Trigger
from darc.node.losses import LossKind
from darc.node.node_config import load_config
from darc.queues.messages import Commit, ContentKind, QueueEntry
from darc.queues.plain_connection import pack, unpack
from darc.services.voevent_generator.composer import Composer
from darc.services.voevent_generator.event_life import HOLD
from darc.services.voevent_generator.event_report import reported
from darc.services.voevent_generator.service import VOEventGenerator
from simulator.comet_broker import CometBroker, Subscriber

HOUR = 3600.0
PATIENCE_SECONDS = 300.0
RETRACT_BELOW = 0.1
#: Bursts of unknown sources in an observation; their DMs are so far apart that none are associated.
BURSTS = 11
LOWEST_DM, DM_STEP = 300.0, 80.0  # pc cm-3
SECONDS_APART = 100.0
KNOWN = (("frb", "FRB 20121102A", 558.1), ("pulsar", "B0531+21", 56.8))
INITIAL, SUBSEQUENT, UPDATE, RETRACTION = "initial", "subsequent", "update", "retraction"
#: What may be done about a burst, and the kinds of the notices that follow.
SCRIPTS: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "measured, too faint": (),
    "measured": (UPDATE,),
    "measured, then hardly better": (UPDATE,),
    "measured, then better": (UPDATE, UPDATE),
    "interference by the classifier": (RETRACTION,),
    "interference, but not in another beam": (),
    "confirmed": (UPDATE,),
    "confirmed, then interference": (UPDATE, UPDATE),
    "retracted": (RETRACTION,),
    "measured, then retracted": (UPDATE, RETRACTION),
}


class Expected(Struct, frozen=True):
    """What is to come of a burst.

    :param identity: of the trigger that is to announce it
    :param kinds: of its notices, in order
    :param script: what is done about it
    :param source: identity of the burst that the notice is to name as its source, or a name
    """

    identity: str
    tense: Tense
    kinds: tuple[str, ...]
    script: str
    source: str = ""


class DayService(VOEventGenerator):
    """The service without a node: what it commits is kept here, as the journal would."""

    def prepare(self) -> None:
        super().prepare()
        self.memory: dict[str, Any] = {}
        self.losses_said: list[tuple[str, str, str]] = []
        self.number = 0

    @property
    def _is_ready(self) -> bool:
        return True

    def commit(self, commit: Commit) -> None:
        plain = unpack(pack(commit.to_plain()))
        self.memory |= Commit.from_plain(plain).memory

    def lost(self, kind: LossKind, what: str, why: str, number: int = 1) -> None:
        self.losses_said.append((kind.id, what, why))

    def hand_in(self, *values: Trigger | BurstFinding | AlertOrder) -> None:
        """Take an entry, and act upon it."""
        self.number += 1
        content = pack([one.to_plain() for one in values])
        self.work(QueueEntry(self.number, ContentKind.TRIGGERS, content, "", 0.0, 0.0), None)
        while self._closes is not None:
            time.sleep(self.patience())
            self.idle()
        self.idle()

    def event_of(self, identity: str, tense: Tense) -> Event | None:
        same = (one for one in self.book if one.trigger.identity == identity)
        return next((one for one in same if one.tense is tense), None)

    def is_done(self) -> bool:
        """Whether all has left that is to."""
        self.idle()
        return not self.departures.described() and not any(one.doubt for one in self.book)


class Day(Struct):
    """What is generated.

    :param start: of the day, Unix s
    """

    service: DayService
    rng: random.Random
    start: float
    expected: list[Expected] = field(default_factory=list)
    ordered: dict[str, set[str]] = field(default_factory=dict)
    window: int = 0

    def observe(self, hour: int) -> None:
        """Generate an observation of one field."""
        rng = self.rng
        place = {"ra": 15.0 * hour, "dec": rng.uniform(-30.0, 70.0)}
        scripts = rng.sample(list(SCRIPTS), len(SCRIPTS))
        for number, script in enumerate(scripts[:BURSTS]):
            dm = LOWEST_DM + DM_STEP * number + rng.uniform(-5.0, 5.0)
            self.burst(hour, self.trigger(hour, dm=dm, **place), script)
        self.repeat(hour, place)
        kind, name, dm = rng.choice(KNOWN)
        found = self.trigger(
            hour, dm=dm, name=kind, src_name=name, dm_err=0.0, dm_cluster=dm + 0.3, **place
        )
        self.burst(hour, found, "measured", first=SUBSEQUENT, source=name)
        injected = self.trigger(hour, dm=250.0, injection=True, test=True, **place)
        self.burst(hour, injected, rng.choice(list(SCRIPTS)), tense=Tense.INJECTION)
        test = self.trigger(hour, dm=270.0, test=True, **place)
        self.burst(hour, test, rng.choice(list(SCRIPTS)), tense=Tense.TEST)
        unknown = {"ra": None, "dec": None, "flux": None, "ymw16": None, "galactic_model": None}
        self.burst(hour, self.trigger(hour, dm=rng.uniform(300, 3000), **unknown), "measured")
        if hour % 6 == 0:
            self.service.hand_in(AlertOrder("test", "", "", "me@here", time.time()))

    def repeat(self, hour: int, place: dict[str, float]) -> None:
        """A source of several bursts, of which the first is retracted."""
        bursts = [self.trigger(hour, dm=2500.0 + n / 4, **place) for n in range(4)]
        self.burst(hour, bursts[0], "retracted")
        self.burst(hour, bursts[1], "nothing")
        source = bursts[1].identity
        self.burst(hour, bursts[2], "measured", first=SUBSEQUENT, source=source)
        self.burst(hour, bursts[3], "confirmed", first=SUBSEQUENT, source=source)

    def trigger(self, hour: int, **values: Any) -> Trigger:
        self.window += 1
        utc = utc_of(self.start + HOUR * hour + SECONDS_APART * (self.window % 30))
        own = {"observation": f"day{hour:02d}", "window": self.window, "utc": utc}
        snr = self.rng.uniform(20.0, 60.0)
        return made_trigger(**{"cb": 5, "snr": snr, "dm_cluster": values["dm"], **own, **values})

    def burst(
        self,
        hour: int,
        best: Trigger,
        script: str,
        *,
        first: str = INITIAL,
        source: str = "",
        tense: Tense = Tense.CURRENT,
    ) -> None:
        """Hand in a burst's triggers, of other beams too, and do what its script says."""
        service, rng = self.service, self.rng
        beams = [
            replace(best, cb=6 + n, window=0, dm_bin=n + 1, snr=best.snr * rng.uniform(0.3, 0.9))
            for n in range(rng.randrange(4))
        ]
        triggers = [*beams, best]
        rng.shuffle(triggers)
        service.hand_in(*triggers)
        if rng.random() < 0.3:  # a beam that is late
            service.hand_in(replace(best, cb=20, dm_bin=9, snr=best.snr * 2))
        kinds = first, *SCRIPTS[script]
        self.expected.append(Expected(best.identity, tense, kinds, script, source))
        event = service.event_of(best.identity, tense)
        assert event, f"{best.identity} was not announced: {service.losses_said[-3:]}"
        if RETRACTION in kinds:
            self.ordered[event.id] = {RETRACTION}
        for entry in self.entries(event, script):
            service.hand_in(*entry)

    def entries(self, event: Event, script: str) -> Iterator[list[BurstFinding | AlertOrder]]:
        """What comes in about a burst, in order."""
        trigger = event.trigger
        parts = {
            "measured": [self.finding(trigger, 1.3, 0.9)],
            "too faint": [self.finding(trigger, 0.5, 0.02)],
            "then hardly better": [self.finding(trigger, 1.35, 0.95)],
            "then better": [self.finding(trigger, 1.6, 0.95)],
            "interference by the classifier": [self.finding(trigger, 0.9, 0.02)],
            "interference": [self.finding(trigger, 0.9, 0.02)],
            "then interference": [self.finding(trigger, 0.9, 0.02)],
            "but not in another beam": [self.finding(trigger, 0.8, 0.9, cb=6)],
            "confirmed": [self.order("confirm", event)],
            "retracted": [self.order("retract", event)],
            "then retracted": [self.order("retract", event)],
        }
        words = [word for word in script.split(", ") if word != "nothing"]
        if words[1:] == ["too faint"]:
            words = words[1:]
        for word in words:
            yield parts[word]

    def finding(
        self, trigger: Trigger, part: float, probability: float, **more: Any
    ) -> BurstFinding:
        """A measurement of so many times the trigger's S/N."""
        setup = Composer(self.service.config, self.service.settings).setup(trigger)
        found = BurstFinding(
            observation=trigger.observation,
            cb=trigger.cb,
            sb=trigger.sb,
            arrival=arrival_at_top(trigger, setup)[0] + self.rng.uniform(-0.005, 0.005),
            dm=trigger.dm_cluster,
            snr=part * trigger.snr,
            width=trigger.width,
            probability=probability,
            host="arts007",
        )
        return replace(found, **more)

    @staticmethod
    def order(action: str, event: Event) -> AlertOrder:
        return AlertOrder(action, event.id, "by its looks", "me@here", time.time())


class DayResult(Struct):
    """What came of a day.

    :param kinds: number of the notices by tense and kind
    :param came: number of the messages by road
    """

    problems: list[str]
    kinds: dict[str, int]
    came: dict[str, int]
    seconds: float


def run_day(hours: int, seed: int) -> DayResult:
    """Generate the observations of so many hours, and check all that left."""
    with ExitStack() as opened:
        home = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="darc-day-")))
        roads = opened.enter_context(closing(AlertRoads()))
        broker = opened.enter_context(CometBroker())
        subscriber = opened.enter_context(Subscriber(broker.broadcast_port))
        rules = {
            "send_events": True,
            "test": False,
            "send_updates": True,
            "retract_below": RETRACT_BELOW,
            "settle": 0.01,
            "interval": 0.5,
            "broker_host": "127.0.0.1",
            "broker_port": broker.port,
            "voevent_dir": str(home / "voevents"),
            "file": {"directory": str(home / "notices")},
            **roads.configuration(),
        }
        (home / "config.yaml").write_text(yaml.safe_dump({"voevent_generator": rules}))
        service = DayService(load_config(home / "config.yaml"))
        opened.callback(service.departures.withdraw)
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        day = Day(service, random.Random(seed), today.timestamp() - 24 * HOUR)
        began = time.monotonic()
        for hour in range(hours):
            day.observe(hour)
        _wait_for(service.is_done)
        events = [reported(event, {}) for event in service.book]
        acknowledged = {
            notice["ivorn"]
            for event in events
            for notice in event["notices"]
            if "vtp" in notice["roads"]
        }
        _wait_for(lambda: len(subscriber.received) >= len(acknowledged))
        seconds = time.monotonic() - began
        arrived = [*of_subscriber(subscriber.received), *roads.arrived(home / "notices")]
        announced = Announced(events, arrived, day.ordered)
        problems = [str(loss) for loss in service.losses_said] + announced.problems()
        problems += _of_scripts(day, service) + _of_citations(announced, service)
        kinds = Counter(
            f"{event['tense']} {notice['kind']}" for event in events for notice in event["notices"]
        )
        return DayResult(problems, dict(kinds), dict(Counter(o.road for o in arrived)), seconds)


def _wait_for(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS + HOLD
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s"
        time.sleep(0.02)


def _of_scripts(day: Day, service: DayService) -> list[str]:
    """Each burst has one event, with the notices that its script leads to."""
    found = []
    trials = [event for event in service.book if event.trigger.observation == "test notice"]
    if len(service.book) != len(day.expected) + len(trials):
        found.append(f"{len(service.book)} events of {len(day.expected)} bursts")
    ids = {
        event.trigger.identity: event.id for event in service.book if event.tense is Tense.CURRENT
    }
    for one in day.expected:
        event = service.event_of(one.identity, one.tense)
        assert event
        kinds = tuple(str(notice.kind) for notice in event.notices)
        if kinds != one.kinds:
            found.append(f"{one.identity} ({one.script}): {kinds} in the place of {one.kinds}")
        source = event.association.source if event.association else ""
        if source != ids.get(one.source, one.source):
            found.append(f"{one.identity}: its source is {source!r}, not that of {one.source!r}")
        if [notice.number for notice in event.notices] != [*range(1, len(kinds) + 1)]:
            found.append(f"{one.identity}: notices are not numbered from 1: {event.notices}")
    return found


def _of_citations(announced: Announced, service: DayService) -> list[str]:
    """Each VOEvent is valid, and cites what came before it, and nothing else."""
    found = []
    contents = {
        read.get("ivorn"): read
        for one in announced.arrived
        if one.road == "vtp"
        for read in [read_event(one.content)]
    }
    for event in service.book:
        before: list[str] = []
        for notice in event.notices:
            read = contents.get(notice.ivorn)
            kind = str(notice.kind)
            if read is None:  # of an injection
                continue
            cited = [
                (one.get("cite"), str(one))
                for citations in read.findall("Citations")
                for one in citations.EventIVORN
            ]
            wanted = [(RETRACTION, ivorn) for ivorn in before] if kind == RETRACTION else []
            if kind == UPDATE:
                wanted = [("supersedes", before[-1])]
            earlier = event.association.event_id if event.association else ""
            if kind == SUBSEQUENT and earlier:
                follows = service.book.find(earlier)
                assert follows
                wanted = [("followup", follows.first.ivorn)]
            if cited != wanted:
                found.append(f"{event.id} {notice.number} cites {cited}, not {wanted}")
            before.append(notice.ivorn)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # a line for each notice and road
    result = run_day(options.hours, options.seed)
    print(f"{options.hours} observations of an hour in {result.seconds:.0f} s")
    for title, counts in (("notices", result.kinds), ("came", result.came)):
        print(f"{title}: " + ", ".join(f"{what} {n}" for what, n in sorted(counts.items())))
    for problem in result.problems:
        print(problem)
    print(f"{len(result.problems)} problems")
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
