"""Alarm states: combine problems that start, end and recur into few messages. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from darc.config import typed
from darc.config.records import Struct, field
from darc.config.settings import AlarmSettings
from darc.monitor.alarms.alarm_rules import HostProblem, ProblemSnapshot
from darc.monitor.findings import FAILED, one_text
from darc.monitor.shell_commands import ranges

ALARM, UPDATE, OVER = "alarm", "update", "over"
#: A problem that was absent for so long (s) has to last again, unless it was an alarm already.
GAP_SECONDS = 10.0
#: Upper limit of the doubled delays, and how long earlier alarms are remembered (s).
LONGEST_SECONDS = 3600.0


class AlarmItem(Struct, frozen=True):
    """Problem that is the same on several hosts.

    :param since: Unix s; None: unknown
    :param text: details
    :param command: shell command for the operator; empty: none is known
    """

    title: str
    hosts: tuple[str, ...]
    since: float | None
    text: str
    command: str


class AlarmMessage(Struct, frozen=True):
    """Message to the receivers of alarms.

    :param id: unique for each message
    :param alarm: the same for all messages of an alarm
    :param kind: `alarm`, `update` (the hosts have changed) or `over`
    :param time: Unix s
    :param items: current problems; of an alarm that is over, the former ones
    :param over: where it is over, and why
    """

    id: str
    alarm: str
    kind: str
    time: float
    title: str
    hosts: tuple[str, ...]
    service: str
    grave: bool
    since: float | None
    items: tuple[AlarmItem, ...]
    over: tuple[AlarmItem, ...]


class HostAlarm(Struct):
    """State of an alarm on one host. Times are Unix s.

    :param title: with ``{host}``
    :param seen: when it was seen first
    :param last: when it was seen last, or its host was unknown
    :param is_open: it has lasted long enough
    :param told: a message has contained it
    :param news: it has changed since the last message
    :param gave_up: supervisord had given up a service
    :param number: losses; an increase is a change
    :param over: since when it is over
    :param over_told: a message has said that it is over
    """

    title: str
    text: str
    service: str
    grave: bool
    since: float | None
    seen: float
    last: float
    is_open: bool = False
    told: bool = False
    news: bool = True
    gave_up: bool = False
    over: float | None = None
    over_told: bool = False
    aside: str = ""
    number: int = 0


class Episode(Struct):
    """An alarm, from its first host to its end on the last one.

    :param messages: number of messages sent
    :param next: time of the next message at the earliest (Unix s); None: none is due yet
    """

    opened: float
    places: dict[str, HostAlarm] = field(default_factory=dict)
    messages: int = 0
    next: float | None = None


class AlarmStates:
    """States of all alarms; :meth:`update` returns the messages that are due.

    :param settings: their delays
    """

    def __init__(self, settings: AlarmSettings) -> None:
        self.settings = settings
        self._episodes: dict[str, Episode] = {}
        self._before: dict[str, tuple[float, int]] = {}  # subject: time of end, recurrences
        self._remedies: dict[tuple[str, str], Callable[[Sequence[str]], str]] = {}

    def update(self, sight: ProblemSnapshot) -> list[AlarmMessage]:
        """Update the states from a snapshot; return the messages that are due, each once."""
        now = sight.time
        seen = {(one.subject, one.finding.host) for one in sight.sightings}
        for sighting in sight.sightings:
            self._see(sighting, now)
        for subject, episode in list(self._episodes.items()):
            for host in list(episode.places):
                if (subject, host) not in seen:
                    self._miss(subject, episode, host, sight)
        messages = [
            message
            for subject, episode in list(self._episodes.items())
            for message in self._say(subject, episode, now)
        ]
        known = {(subject, host) for subject, one in self._episodes.items() for host in one.places}
        self._remedies = {key: one for key, one in self._remedies.items() if key in known}
        self._before = {
            subject: one
            for subject, one in self._before.items()
            if now - one[0] < LONGEST_SECONDS or subject in self._episodes
        }
        return messages

    def clock_was_set(self, by: float) -> None:
        """Shift all times by a change of the clock (s); durations stay the same."""
        for episode in self._episodes.values():
            if episode.next is not None:
                episode.next += by
            for place in episode.places.values():
                place.seen += by
                place.last += by
                if place.over is not None:
                    place.over += by
        self._before = {subject: (at + by, times) for subject, (at, times) in self._before.items()}

    def open(self) -> Iterator[tuple[str, float]]:
        """Yield the alarms that were sent and are not over: title, and since when (Unix s)."""
        for subject, episode in self._episodes.items():
            if episode.messages:
                for item in self._items(subject, episode, _is_there):
                    yield item.title, episode.opened if item.since is None else item.since

    # -- one host ----------------------------------------------------------------------------------

    def _see(self, sighting: HostProblem, now: float) -> None:
        finding, subject = sighting.finding, sighting.subject
        episode = self._episodes.setdefault(subject, Episode(now))
        place = episode.places.get(finding.host)
        if place is None or (place.over is not None and place.over_told):
            place = HostAlarm("", "", "", finding.grave, None, now, now)
            episode.places[finding.host] = place
        place.last, place.over, place.aside = now, None, ""
        if place.since is None:
            place.since = finding.since
        gives_up = finding.state == FAILED and not place.gave_up
        if gives_up:
            place.gave_up = place.news = True  # less severe before
        if finding.number > place.number:
            place.number, place.news = finding.number, True
        title = finding.title.template
        if gives_up or not place.told:  # its end is sent under the same title
            place.title, place.service, place.grave = title, finding.service, finding.grave
        if place.title == title:
            place.text = finding.text
        self._remedies[subject, finding.host] = finding.remedy
        if not place.is_open and now - place.seen >= sighting.hold:
            place.is_open = True
            if episode.next is None:
                episode.next = now + self.settings.gather

    def _miss(self, subject: str, episode: Episode, host: str, sight: ProblemSnapshot) -> None:
        place, now = episode.places[host], sight.time
        if not place.is_open:
            if now - place.last > GAP_SECONDS:
                del episode.places[host]
        elif place.over is None:
            if host in sight.unknown:
                place.last = now
            elif now - place.last >= self._clear(subject):
                place.over = place.last
                place.aside = sight.aside.get((subject, host), "")

    def _clear(self, subject: str) -> float:
        """Return how long a problem must be absent (s); doubled at each recurrence."""
        _, times = self._before.get(subject, (0.0, 0))
        return min(self.settings.clear * 2.0**times, max(self.settings.clear, LONGEST_SECONDS))

    # -- messages ----------------------------------------------------------------------------------

    def _say(self, subject: str, episode: Episode, now: float) -> Iterator[AlarmMessage]:
        places = episode.places.values()
        opened = [place for place in places if place.is_open]
        if not opened:
            if not places:
                del self._episodes[subject]
            return
        if all(place.over is not None for place in opened):
            if episode.messages:
                yield self._message(OVER, subject, episode, now)
                times = self._before.get(subject, (0.0, 0))[1]
                self._before[subject] = (now, times + 1)
            del self._episodes[subject]
            return
        joined = any(place.over is None and place.news for place in opened)
        left = any(place.told and place.over and not place.over_told for place in opened)
        if not (joined or left) or episode.next is None or now < episode.next:
            return
        for place in places:
            if not episode.messages and not place.is_open:
                place.is_open = place.last == now  # it is part of the first message
        yield self._message(UPDATE if episode.messages else ALARM, subject, episode, now)
        for place in places:
            if place.is_open:
                place.told |= place.over is None
                place.news = False
                place.over_told |= place.over is not None
        wait = min(self.settings.repeat * 2.0**episode.messages, LONGEST_SECONDS)
        episode.messages += 1
        episode.next = now + wait

    def _message(self, kind: str, subject: str, episode: Episode, now: float) -> AlarmMessage:
        there = tuple(self._items(subject, episode, _is_there))
        over = tuple(self._items(subject, episode, _has_gone))
        shown = over if kind == OVER else there
        hosts = tuple(host for item in shown for host in item.hosts)
        more = f" and {len(shown) - 2} more" if len(shown) > 2 else ""
        alarm = f"{subject}/{episode.opened:.3f}"
        number = "over" if kind == OVER else str(episode.messages + 1)
        return AlarmMessage(
            id=f"{alarm}/{number}",
            alarm=alarm,
            kind=kind,
            time=now,
            title="; ".join(item.title for item in shown[:2]) + more,
            hosts=hosts,
            service=next(iter(episode.places.values())).service,
            grave=any(place.grave for place in episode.places.values()),
            since=min((item.since for item in shown if item.since is not None), default=None),
            items=there,
            over=over,
        )

    def _items(
        self, subject: str, episode: Episode, which: Callable[[HostAlarm], bool]
    ) -> Iterator[AlarmItem]:
        """Yield an item for each problem, with all hosts where it is the same."""
        groups: dict[tuple[str, str], list[str]] = {}
        for host, place in episode.places.items():
            if which(place):
                groups.setdefault((place.title, place.aside), []).append(host)
        for (title, aside), hosts in groups.items():
            places = [episode.places[host] for host in hosts]
            remedy = self._remedies.get((subject, hosts[0]))
            yield AlarmItem(
                title=title.replace("{host}", ranges(hosts)),
                hosts=tuple(hosts),
                since=min((one.since for one in places if one.since is not None), default=None),
                text=aside or one_text((host, episode.places[host].text) for host in hosts),
                command=remedy(hosts) if remedy else "",
            )

    # -- memory across restarts --------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """Return the state to save: what has become an alarm."""
        episodes = {}
        for subject, one in self._episodes.items():
            places = {host: place for host, place in one.places.items() if place.is_open}
            if places:
                kept = Episode(one.opened, places, one.messages, one.next)
                episodes[subject] = typed.to_plain(kept)
                for place in episodes[subject]["places"].values():
                    del place["last"], place["text"]  # they change in each round: no commit
        return {"episodes": episodes, "before": {key: list(of) for key, of in self._before.items()}}

    def recall(self, plain: Mapping[str, Any], now: float) -> None:
        """Restore a saved state (now: Unix s); an alarm is not over before the first round."""
        for subject, one in plain["episodes"].items():
            places = {
                host: HostAlarm(**place, text="", last=now) for host, place in one["places"].items()
            }
            self._episodes[subject] = Episode(one["opened"], places, one["messages"], one["next"])
        self._before = {key: (float(of[0]), int(of[1])) for key, of in plain["before"].items()}


def _is_there(place: HostAlarm) -> bool:
    return place.is_open and place.over is None


def _has_gone(place: HostAlarm) -> bool:
    return place.is_open and place.told and place.over is not None and not place.over_told
