"""What follows from what comes in: which event it is about, and which notice is next."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Iterable

from darc.config.records import Struct, replace
from darc.model.event import AlertType, Association, Doubt, Event, MeasuredBurst
from darc.model.finding import BurstFinding
from darc.model.sources import Source
from darc.model.trigger import Trigger
from darc.science.association import LEAST_PROBABILITY, association_probability, separation
from darc.science.selection import CANDIDATE
from darc.science.smearing import TOLERANCE
from darc.science.source_match import DM_SPREAD, match_in_beam

log = logging.getLogger(__name__)

#: A further measurement is published where its S/N is so many times that of the one before.
BETTER = 1.1
#: Times of a search and of its data agree within this, beside widths and DMs (s): trigger files
#: give six digits, 10 ms after 1000 s.
TIME_TOLERANCE = 0.02
#: A finding of less than this part of the trigger's S/N is of something else beside the burst, or
#: of a part of it: it says nothing against the burst, and nothing new of it.
LEAST_SNR = 0.7
#: The classifier's retraction is held for so long that other beams can be heard (s): workers finish
#: what they extract within some seconds of each other.
HOLD = 5.0

#: Of a trigger's DM (pc cm-3), where its width says nothing.
LEAST_DM_ERROR = 0.01
#: Listed sources whose DM is farther off, in errors, are not looked at.
FARTHEST_DM = 8.0


class NextStep(Struct, frozen=True):
    """What a finding means for its event.

    :param event: with what was measured
    :param kind: of the notice that follows; None: none does
    """

    event: Event
    kind: AlertType | None = None
    reason: str = ""


def association_of(
    trigger: Trigger,
    dm_error: float,
    earlier: Iterable[Event],
    retracted: Collection[str] = (),
    listed: Iterable[Source] = (),
) -> Association | None:
    """Return the source of a trigger, where it was seen before.

    That is the known source in whose field it was found, by DM; else a listed one, by position and
    DM, that it is of more probably than not; else that of an event within the beam, likewise.

    :param dm_error: of its DM as found, pc cm-3
    :param earlier: events that it may share a source with, the latest first
    :param retracted: ids of events that were: they name no source any more
    :param listed: sources that it may be of, wherever the observation was pointed
    """
    earlier = list(earlier)
    if trigger.name != CANDIDATE and trigger.src_name:
        same = (one.id for one in earlier if one.trigger.src_name == trigger.src_name)
        probability = association_probability(0.0, 0.0, trigger.dm_cluster - trigger.dm, dm_error)
        return Association(trigger.src_name, round(probability, 4), next(same, ""))
    if known := _listed_source(trigger, dm_error, listed):
        name, probability = known
        same = (one.id for one in earlier if name in (one.trigger.src_name, _name_of(one)))
        return Association(name, round(probability, 4), next(same, ""))
    best: Association | None = None
    for event in earlier:
        try:
            probability = round(_same_source(trigger, dm_error, event), 4)
        except (ValueError, ArithmeticError) as error:
            log.warning("event %s cannot be compared with later bursts: %s", event.id, error)
            continue
        is_best = best is None or probability > best.probability
        if is_best and probability >= LEAST_PROBABILITY:
            best = Association(_source_of(event, earlier, retracted), probability, event.id)
    return best


def _listed_source(
    trigger: Trigger, dm_error: float, listed: Iterable[Source]
) -> tuple[str, float] | None:
    """Return the listed source that a trigger is of more probably than not, and how probably."""
    width = 2 * math.sqrt(max(0.0, trigger.semiMaj * trigger.semiMin)) / 60
    if trigger.ra is None or trigger.dec is None or width == 0:
        return None
    error = max(dm_error, LEAST_DM_ERROR)
    place, dm = (trigger.ra, trigger.dec), trigger.dm_cluster
    # Of thousands of pulsars, few have such a DM.
    near = [one for one in listed if abs(one.dm - dm) < FARTHEST_DM * math.hypot(error, DM_SPREAD)]
    found = match_in_beam(place, width, dm, error, near)
    return found if found is not None and found[1] > 0.5 else None


def _name_of(event: Event) -> str | None:
    return event.association.source if event.association else None


def _source_of(event: Event, earlier: Iterable[Event], retracted: Collection[str]) -> str:
    """Return the source that an event names: the earliest of its events, or its own name."""
    if event.association is None:
        return event.id
    source = event.association.source
    if source not in retracted:
        return source
    same = [one for one in earlier if one.association and one.association.source == source]
    return min(same, key=lambda one: one.made).id


def _same_source(trigger: Trigger, dm_error: float, event: Event) -> float:
    other = event.trigger
    if trigger.ra is None or trigger.dec is None or other.ra is None or other.dec is None:
        return 0.0
    dm = event.measured.dm if event.measured else other.dm_cluster
    error = math.hypot(dm_error, other.dm_err)
    if association_probability(0.0, 0.0, trigger.dm_cluster - dm, error) < LEAST_PROBABILITY:
        return 0.0
    distance = separation(trigger.ra, trigger.dec, other.ra, other.dec)
    radius = math.hypot(trigger.semiMaj, other.semiMaj) / 60
    return association_probability(distance, radius, trigger.dm_cluster - dm, error)


def event_of(
    finding: BurstFinding,
    events: Iterable[Event],
    at_top: Callable[[Trigger], float],
    delay_per_dm: float,
) -> tuple[Event, str] | None:
    """Return the event that a finding belongs to, and by what; None: there is none.

    :param at_top: arrival of a trigger at the centre of the highest channel, Unix s
    :param delay_per_dm: delay across the band, s per pc cm-3
    """
    nearest: tuple[float, Event] | None = None
    for event in events:
        trigger = event.trigger
        if finding.identity and finding.identity == trigger.identity:
            return event, "identity"
        smeared = abs(finding.dm - trigger.dm_cluster) * delay_per_dm
        # A broad finding must not come near by its own width.
        widths = (min(finding.width, trigger.width) + trigger.width) / 1e3
        if smeared > TOLERANCE + widths:
            continue
        try:
            apart = abs(finding.arrival - at_top(trigger))
        except (ValueError, ArithmeticError) as error:
            # One event, whose numbers cannot be, must not keep findings from the others.
            log.warning("event %s cannot be compared with findings: %s", event.id, error)
            continue
        agrees = apart <= TIME_TOLERANCE + widths + smeared
        if agrees and (nearest is None or apart < nearest[0]):
            nearest = apart, event
    return (nearest[1], "time and DM") if nearest else None


def next_step(
    event: Event, finding: BurstFinding, how: str, *, updates: bool, retract_below: float | None
) -> NextStep:
    """Return what a finding means for its event.

    :param how: it was found to belong to it
    :param updates: whether measurements are published
    :param retract_below: probability; None: nothing is retracted by the classifier
    """
    if finding.probability is not None:
        best = max(finding.probability, event.best_probability or 0.0)
        seen = replace(event, best_probability=best)
    else:
        seen = event
    by = f"processor of {finding.host}"
    numbers = finding.snr, finding.arrival, finding.dm, None, finding.width, finding.probability
    measured = MeasuredBurst(*numbers, by, finding.cb, finding.sb, finding.picture)
    if finding.snr < LEAST_SNR * event.trigger.snr:
        return NextStep(seen)
    own = _of_same_beam(event, finding.cb)
    if own and finding.probability is not None and _may_retract(seen, retract_below):
        return NextStep(replace(seen, doubt=_doubt(event, finding, finding.probability)))
    if not _is_better(event, finding):
        return NextStep(seen)
    known = replace(seen, measured=measured)
    if not updates:
        return NextStep(known)
    probability = "" if finding.probability is None else f", probability {finding.probability:.3g}"
    where = "" if finding.cb is None else f", compound beam {finding.cb}"
    why = (
        f"measured in the data{where} (matched by {how}): S/N {finding.snr:.1f},"
        f" DM {finding.dm:.2f} pc/cm^3, width {finding.width:.4g} ms{probability}"
    )
    return NextStep(known, AlertType.UPDATE, why)


def decided(event: Event, retract_below: float | None) -> NextStep:
    """Return what follows from a doubt that was held, now that other beams were heard.

    :param retract_below: see `next_step`
    """
    doubt, known = event.doubt, replace(event, doubt=None)
    if doubt is None or not _may_retract(event, retract_below):
        return NextStep(known)
    why = (
        f"interference by the classifier: probability {doubt.probability:.3g} of a burst,"
        f" below {retract_below:g}"
    )
    return NextStep(known, AlertType.RETRACTION, why)


def _may_retract(event: Event, retract_below: float | None) -> bool:
    """Whether a classifier saw the event, and none, nor a person, took it for a burst."""
    if retract_below is None or event.best_probability is None or event.verdict:
        return False
    return event.best_probability < retract_below


def _doubt(event: Event, finding: BurstFinding, probability: float) -> Doubt:
    """Return the doubt with another finding in the event's beam: that of the highest S/N counts."""
    before = event.doubt
    if before is not None and before.snr >= finding.snr:
        return before
    since = before.since if before else time.time()
    return Doubt(since, finding.snr, probability, f"processor of {finding.host}")


def _of_same_beam(event: Event, cb: int | None) -> bool:
    return cb is None or event.trigger.cb is None or cb == event.trigger.cb


def _is_better(event: Event, finding: BurstFinding) -> bool:
    """Whether a finding is the first in the event's beam, or clearly of higher S/N.

    Of another beam it is better than the search's or another's alone, as its position is not known.
    """
    own = _of_same_beam(event, finding.cb)
    if event.measured is None:
        return own or finding.snr > event.trigger.snr
    if own is event.is_measured_elsewhere:
        return own
    return finding.snr > BETTER * event.measured.snr
