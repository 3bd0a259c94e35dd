"""The demo's bursts: which are put in, and which triggers are theirs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from darc.replay.bursts import Search, random_bursts
from darc.replay.generator import Generated, Truth, make_observation_candidates
from darc.science.clustering import fixed_dm_edges

#: As ARTS searches: synthesised beams, in which a burst comes again every twelfth.
SEARCH = Search(beams=71, beam_period=12)
INSTANCES = 3
#: pc cm-3; far beyond the Milky Way's in the demo's direction.
DM_RANGE = (100.0, 2200.0)
SNR_RANGE = (25.0, 50.0)
WIDTHS = (5, 10, 50)  # samples
INTERFERENCE = 40.0  # lines per second
#: The bounds of the boxes of amber_clustering: its defaults.
WINDOW = 1.0  # s
DM_BIN_TOP = 10_000.0  # pc cm-3
# A burst's triggers are this near to how AMBER saw it best.
DM_TOLERANCE = 5.0  # pc cm-3
# At wrong DMs it is seen so many windows earlier or later at most, and no stronger.
ECHO_WINDOWS = 1


def make(bursts: int, duration: float, seed: int) -> Generated:
    """Bursts that a node has to find, each in a box (DM bin, time window) of its own.

    :param duration: s
    :raises ValueError: no room for so many
    """
    chosen = random_bursts(
        bursts,
        duration,
        DM_RANGE,
        seed,
        separation=2 * WINDOW,
        margin=1.5,
        widths=WIDTHS,
        snr_range=SNR_RANGE,
        beams=SEARCH.beams,
        dm_edges=fixed_dm_edges(DM_BIN_TOP).tolist(),
        dm_margin=DM_TOLERANCE,
        window=WINDOW,
    )
    return make_observation_candidates(
        chosen,
        duration=duration,
        seed=seed,
        interference_rate=INTERFERENCE,
        instances=INSTANCES,
        search=SEARCH,
    )


@dataclass(frozen=True, slots=True)
class Found:
    """A trigger, as a service's log tells of it."""

    identity: str
    window: int
    dm: float  # pc cm-3
    snr: float
    width_ms: float
    beam: int


_TRIGGER = re.compile(
    r": trigger (?P<identity>[^/\s]+/(?P<window>-?\d+)/\d+): \S+, DM (?P<dm>[\d.]+),"
    r" S/N (?P<snr>[\d.]+), width (?P<width>[\d.]+) ms, beam (?P<beam>\d+)"
)


def triggers_in(log: str, task_id: str) -> list[Found]:
    """The triggers of an observation that a service's log tells of."""
    return [
        Found(
            match["identity"],
            int(match["window"]),
            float(match["dm"]),
            float(match["snr"]),
            float(match["width"]),
            int(match["beam"]),
        )
        for match in _TRIGGER.finditer(log)
        if match["identity"].startswith(f"{task_id}/")
    ]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the bursts.

    :param found: by burst, the trigger that is its own, or None
    :param echoes: triggers of the same bursts, as they are seen at wrong DMs
    :param others: triggers that no burst explains
    """

    found: tuple[Found | None, ...]
    echoes: tuple[Found, ...]
    others: tuple[Found, ...]

    @property
    def complete(self) -> bool:
        return None not in self.found

    @property
    def triggers(self) -> int:
        return sum(map(bool, self.found)) + len(self.echoes) + len(self.others)


def match(truths: Sequence[Truth], triggers: Sequence[Found]) -> Outcome:
    """Tell which trigger is which burst's: the same time window, and the same DM."""
    left = list(triggers)
    found = []
    for truth in truths:
        own = [trigger for trigger in left if _is_of(trigger, truth)]
        best = max(own, key=lambda trigger: trigger.snr, default=None)
        found.append(best)
        if best:
            left.remove(best)
    echoes = [trigger for trigger in left if any(_echoes(trigger, t) for t in truths)]
    others = [trigger for trigger in left if trigger not in echoes]
    return Outcome(tuple(found), tuple(echoes), tuple(others))


def _is_of(trigger: Found, truth: Truth) -> bool:
    same_window = trigger.window == int(truth.time // WINDOW)
    return same_window and abs(trigger.dm - truth.dm) <= DM_TOLERANCE


def _echoes(trigger: Found, truth: Truth) -> bool:
    near = abs(trigger.window - int(truth.time // WINDOW)) <= ECHO_WINDOWS
    return near and trigger.snr <= truth.snr
