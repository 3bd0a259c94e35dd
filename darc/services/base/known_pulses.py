"""Triggers of the same pulse, as of a bright one in several compound beams (docs/triggers.md).

Neighbouring beams and side lobes detect a pulse at the same time and DM, so the beam does not
matter. Its arrival is known much better than the interval, which is the time to wait for other
triggers. A very bright pulse is also detected at other DMs, as faint as the smearing makes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from darc.config.records import Struct, astuple
from darc.model.trigger import Trigger
from darc.science.dispersion import delay
from darc.science.selection import CANDIDATE
from darc.science.smearing import PEAKED, TOLERANCE, left_in_boxcar

#: Bursts that are remembered, to recognise late triggers of a day; and tests, and injections: these
#: may come each minute, and must not have a burst forgotten.
KEPT, KEPT_OTHERS = 1000, 200
#: Bandwidth as a fraction of the frequency, where a trigger does not state its band.
_USUAL_BANDWIDTH, _MOST_BANDWIDTH = 0.2, 1.9
_LEAST_MHZ = 1.0
_LEAST_WIDTH = 1e-6  # s


class TriggeredPulse(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Pulse with the parameters of one of its triggers.

    :param arrival: at the centre of the band (Unix s)
    :param test: whether it is a test
    :param dm: pc cm-3; NaN where an earlier version has not saved it: matches any
    :param width: s
    :param source: name of the known source; empty: none
    :param dm_found: for a known source, the DM of the cluster; otherwise as `dm` (pc cm-3)
    :param injection: whether it is one: never the same pulse as one of the sky
    """

    arrival: float
    identity: str
    test: bool
    dm: float = math.nan
    width: float = _LEAST_WIDTH
    snr: float = 0.0
    source: str = ""
    dm_found: float = math.nan
    injection: bool = False

    @classmethod
    def of(cls, trigger: Trigger, *, test: bool) -> TriggeredPulse:
        """Return the pulse of a trigger.

        :param test: the trigger is a test
        """
        return cls(
            trigger.arrival,
            trigger.identity,
            test,
            dm=trigger.dm,
            width=max(trigger.width / 1e3, _LEAST_WIDTH),
            snr=trigger.snr,
            source=trigger.src_name or "",
            dm_found=trigger.dm if trigger.name == CANDIDATE else trigger.dm_cluster,
            injection=trigger.injection,
        )

    def to_plain(self) -> list[Any]:
        """Return the pulse as a list, for a service's memory; `convert` reads it.

        Its end is missing as earlier versions left it out, where it says nothing.
        """
        plain = [*astuple(self)]
        if math.isnan(self.dm):
            return plain[:3]
        return plain if self.injection else plain[:-1]

    def is_same(self, other: TriggeredPulse, interval: float, delay_per_dm: float) -> bool:
        """Whether both are the same pulse.

        :param interval: time within which the triggers of a pulse arrive (s)
        :param delay_per_dm: dispersion delay across the band (s per pc cm-3)
        """
        if self.test is not other.test or self.injection is not other.injection:
            return False
        if abs(self.arrival - other.arrival) > interval:
            return False
        if math.isnan(self.dm) or math.isnan(other.dm):
            return True
        if self.source and self.source == other.source:
            return True
        brighter, fainter = (self, other) if self.snr >= other.snr else (other, self)
        wrong = min(
            abs(one - two) for one in (self.dm, self.dm_found) for two in (other.dm, other.dm_found)
        )
        smeared = wrong * delay_per_dm - (TOLERANCE + self.width + other.width)
        if smeared <= 0:
            return True
        left = left_in_boxcar(brighter.width, fainter.width, smeared)
        return fainter.snr <= PEAKED * brighter.snr * left


def _delay_per_dm(trigger: Trigger) -> float:
    """Return the dispersion delay across a trigger's band (s per pc cm-3)."""
    # Values from outside may be any number; the limits prevent a division by 0.
    centre = max(trigger.nu_GHz * 1e3, _LEAST_MHZ)
    bandwidth = _USUAL_BANDWIDTH * centre
    if trigger.nchan:
        bandwidth = min(trigger.nchan * trigger.delta_nu_MHz, _MOST_BANDWIDTH * centre)
    return delay(1.0, centre - bandwidth / 2, centre + bandwidth / 2)


def by_pulse(triggers: Iterable[Trigger], interval: float) -> list[list[Trigger]]:
    """Group triggers by pulse: those that match the strongest of a group belong to it.

    :param interval: time within which the triggers of a pulse arrive (s)
    :return: groups, the strongest first; in a group, by arrival
    """
    groups: list[tuple[TriggeredPulse, list[tuple[float, Trigger]]]] = []
    pulses = [(TriggeredPulse.of(trigger, test=False), trigger) for trigger in triggers]
    for pulse, trigger in sorted(pulses, key=lambda one: (-one[0].snr, one[0].arrival)):
        per_dm = _delay_per_dm(trigger)
        for strongest, members in groups:
            if pulse.is_same(strongest, interval, per_dm):
                members.append((pulse.arrival, trigger))
                break
        else:
            groups.append((pulse, [(pulse.arrival, trigger)]))
    return [
        [trigger for _, trigger in sorted(members, key=lambda one: one[0])] for _, members in groups
    ]


class KnownPulses:
    """The latest pulses that were sent.

    :param interval: time within which the triggers of a pulse arrive (s)
    """

    def __init__(self, interval: float, pulses: Iterable[TriggeredPulse] = ()) -> None:
        self.interval = interval
        self._pulses = list(pulses)

    def find(self, trigger: Trigger, *, test: bool) -> TriggeredPulse | None:
        """Return the known pulse of a trigger, if any; a test does not match an observation."""
        pulse, per_dm = TriggeredPulse.of(trigger, test=test), _delay_per_dm(trigger)
        for known in self._pulses:
            if pulse.is_same(known, self.interval, per_dm):
                return known
        return None

    def add(self, trigger: Trigger, *, test: bool) -> None:
        """Remember the pulse of a trigger; the oldest one of its kind is forgotten."""
        new = TriggeredPulse.of(trigger, test=test)
        self._pulses.append(new)
        most = KEPT_OTHERS if new.test or new.injection else KEPT
        kind = new.test, new.injection
        same = [one for one in self._pulses if (one.test, one.injection) == kind]
        if len(same) > most:
            self._pulses.remove(same[0])

    def to_plain(self) -> list[list[Any]]:
        """Return the pulses as lists, for a service's memory."""
        return [pulse.to_plain() for pulse in self._pulses]
