"""Whether a rule acts upon a notice: from the notice, the rule, and what the node observes alone.

Each function returns why not, in words; an empty text where it does.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence

from darc.config.records import Struct
from darc.model.outside_notice import OutsideNotice
from darc.model.sources import Source, SourceList
from darc.science.association import separation
from darc.services.alert_listener.settings import ANYWHERE, KNOWN_SOURCE, NoticeRule

#: A trigger time this far ahead of our clock is an error of somebody's (s).
AHEAD_SECONDS = 60.0
#: Positions of listed sources are no better than that (deg).
LEAST_ERROR = 0.01


class OwnNotices(Struct, frozen=True):
    """How notices of this instrument are known, which must never act here.

    :param topics: that it sends to
    :param instrument: observatory and backend, as its notices name them
    :param schema: address of its notices' schema
    """

    topics: frozenset[str]
    instrument: tuple[str, str]
    schema: str

    def include(self, notice: OutsideNotice) -> bool:
        """Whether a notice is one of these."""
        named = tuple(name.casefold() for name in notice.instrument)
        own = tuple(name.casefold() for name in self.instrument)
        return notice.source in self.topics or named == own or notice.schema == self.schema


class Field(Struct, frozen=True):
    """Where a node looks.

    :param beams: number, right ascension and declination (ICRS, deg) of each beam that it searches
    :param radius: of a beam, deg
    """

    beams: tuple[tuple[int, float, float], ...]
    radius: float


def unfit(rule: NoticeRule, notice: OutsideNotice, now: float) -> str:
    """Return why a rule is not for a notice, wherever the node looks.

    :param now: Unix s
    """
    if rule.topics and notice.source not in rule.topics:
        return "another topic"
    if notice.kind not in rule.types:
        return f"alert_type {notice.kind}"
    if notice.tense not in rule.tenses:
        return f"alert_tense {notice.tense}"
    if notice.trigger_time is None:
        return "no trigger_time"
    age = now - notice.trigger_time
    if not -AHEAD_SECONDS <= age <= rule.within:
        return f"{age:.1f} s after its trigger_time"
    return (
        _beyond("importance", notice.importance, rule.importance_min, operator.lt)
        or _beyond("snr", notice.snr, rule.notice_snr_min, operator.lt)
        or _beyond("far", notice.far, rule.far_max, operator.gt)
    )


def _beyond(
    name: str, value: float | None, limit: float | None, is_beyond: Callable[[float, float], bool]
) -> str:
    if limit is None:
        return ""
    if value is None:
        return f"no {name}"
    return f"{name} {value:g}" if is_beyond(value, limit) else ""


def elsewhere(
    rule: NoticeRule,
    notice: OutsideNotice,
    field: Field | None,
    sources: SourceList,
    dm_range: float,
) -> str:
    """Return why a notice is not of a place that a rule asks for.

    :param field: where the node looks; None: nowhere
    :param dm_range: half width around the DM of a known source, pc cm-3
    """
    if rule.where == ANYWHERE:
        return ""
    if rule.where == KNOWN_SOURCE:
        known = known_source(rule, notice, sources, dm_range)
        return "" if known else "no known source"
    if why := unplaced(rule, notice):
        return why
    if field is None:
        return "nothing is observed"
    return "" if beam_of(notice, field) is not None else "not in the beam"


def unplaced(rule: NoticeRule, notice: OutsideNotice) -> str:
    """Return why a notice's position is of no use."""
    if notice.position is None:
        return "no position"
    error = notice.position_error or 0.0
    return f"position to {error:g} deg" if error > rule.error_max else ""


def beam_of(notice: OutsideNotice, field: Field) -> int | None:
    """Return the beam that a notice's position may lie in: the nearest one, or None."""
    if notice.position is None:
        return None
    apart = [(separation(*notice.position, ra, dec), number) for number, ra, dec in field.beams]
    distance, number = min(apart, default=(math.inf, 0))
    return number if distance <= field.radius + (notice.position_error or 0.0) else None


def known_source(
    rule: NoticeRule, notice: OutsideNotice, sources: SourceList, dm_range: float
) -> Source | None:
    """Return the listed source that a notice names, or whose place and DM it has.

    :param dm_range: half width around the DM of a listed source (pc cm-3)
    """
    for name in _names(notice.known_source):
        if source := sources.lookup(name):
            return source
    if unplaced(rule, notice) or notice.position is None:
        return None
    error = notice.position_error or 0.0
    return _nearest(notice.position, error, notice.dm, sources.with_position(), dm_range)


def _names(stated: str) -> Iterable[str]:
    return (stated, stated.replace(" ", "")) if stated else ()


def _nearest(
    position: tuple[float, float],
    error: float,
    dm: float | None,
    sources: Sequence[Source],
    dm_range: float,
) -> Source | None:
    near = [
        (separation(*position, *source.position), source.name, source)
        for source in sources
        if source.position and (dm is None or abs(source.dm - dm) <= dm_range)
    ]
    inside = [one for one in near if one[0] <= max(error, LEAST_ERROR)]
    return min(inside, key=lambda one: one[:2])[2] if inside else None
