"""The demo's bursts, and matching them with triggers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from darc.config.records import Struct
from darc.science.clustering import fixed_dm_edges
from simulator.bursts import AmberSearch, Burst
from simulator.generator import Generated, Truth, make_observation_candidates

#: As ARTS searches: synthesised beams, in which a burst comes again every twelfth.
SEARCH = AmberSearch(beams=71, beam_period=12)
INSTANCES = 3
INTERFERENCE = 40.0  # lines per second
#: amber_clustering looks at one of AMBER's batches at a time.
WINDOW = SEARCH.batch_length_s
DM_BIN_TOP = 10_000.0  # pc cm-3, its default
#: It closes a window so long after the first line of it (s), its default.
GATHER = 1.0
#: It decides about a window when nothing new came for so long (s), its default.
SETTLE = 0.1
#: From this S/N on, bursts go to LOFAR and into VOEvents: its default.
ALERT_SNR = 20.0
#: So every third burst is too weak for that, but for nothing else.
STRONG, WEAK = (25.0, 45.0), (16.0, 18.0)
#: pc cm-3; far beyond the Milky Way's in the demo's direction.
DM_RANGE = (100.0, 2000.0)
#: Widths in samples. The trial DMs of the last instance are too coarse for narrow bursts; broad
#: ones at low DMs leave so many candidates that they count as interference (thresh_lofar).
NARROW, BROAD = (5, 10), 50
# A burst's triggers are this near to how AMBER saw it best.
DM_TOLERANCE = 5.0  # pc cm-3
# At wrong DMs it is seen so many windows earlier or later at most, and no stronger.
ECHO_WINDOWS = 1
# Dumps of raw data (6.14 s) must not overlap: of one that begins before the end of the last,
# dada_dbevent keeps nothing. In batches: the first burst's, and at least so many to the next.
FIRST, SPACING = 2, 6


def make(bursts: int, duration: float, seed: int) -> Generated:
    """Return bursts to be found by the node, each in its own (DM bin, time window).

    :param duration: s
    :raises ValueError: no room for so many
    """
    rng = np.random.default_rng(seed)
    chosen = [
        Burst(
            time_s=round(time, 4),
            dm=dm,
            width_samples=BROAD if dm >= SEARCH.grids[-1].start else int(rng.choice(NARROW)),
            snr=round(rng.uniform(*(WEAK if number % 3 == 1 else STRONG)), 2),
            beam=int(rng.integers(SEARCH.beams)),
        )
        for number, (time, dm) in enumerate(
            zip(_times(rng, bursts, duration), _dms(rng, bursts), strict=True)
        )
    ]
    return make_observation_candidates(
        chosen,
        duration=duration,
        seed=seed,
        interference_rate=INTERFERENCE,
        instances=INSTANCES,
        search=SEARCH,
    )


def is_strong(truth: Truth) -> bool:
    """Whether a burst should trigger LOFAR and a VOEvent."""
    return truth.snr >= ALERT_SNR


def _times(rng: np.random.Generator, n: int, duration: float) -> list[float]:
    """Return times away from the ends of batches, with all windows closed before the end."""
    last = int((duration - GATHER) / WINDOW - 0.25) - 1
    room = last - FIRST - SPACING * (n - 1)
    if room < 0:
        raise ValueError(f"no room for {n} bursts in {duration:g} s")
    batches = FIRST + np.sort(rng.integers(0, room + 1, n)) + SPACING * np.arange(n)
    times: list[float] = ((batches + np.linspace(0.2, 0.8, n)) * WINDOW).tolist()
    return times


def _dms(rng: np.random.Generator, n: int) -> list[float]:
    """Return DMs away from the edges of DM bins and AMBER instances, and from each other.

    Bursts are identified by their DMs.
    """
    edges = fixed_dm_edges(DM_BIN_TOP).tolist()
    taken: list[float] = [*edges, *(grid.start for grid in SEARCH.grids)]
    drawn: list[float] = []
    for _ in range(1000 * n):
        dm = round(rng.uniform(*DM_RANGE), 1)
        if len(drawn) < n and all(abs(dm - other) > 2 * DM_TOLERANCE for other in taken):
            drawn.append(dm)
            taken.append(dm)
    if len(drawn) < n:
        raise ValueError(f"no room for {n} bursts between DM {DM_RANGE[0]:g} and {DM_RANGE[1]:g}")
    return drawn


class FoundTrigger(Struct, frozen=True):
    """A trigger in a service's log."""

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


def triggers_in(log: str, task_id: str) -> list[FoundTrigger]:
    """Return the triggers of an observation in a service's log."""
    return [
        FoundTrigger(
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


class BurstOutcomes(Struct, frozen=True):
    """Outcome of the bursts.

    :param found: the trigger of each burst, or None
    :param echoes: triggers of the same bursts at wrong DMs
    :param others: triggers of no burst
    """

    found: tuple[FoundTrigger | None, ...]
    echoes: tuple[FoundTrigger, ...]
    others: tuple[FoundTrigger, ...]

    @property
    def complete(self) -> bool:
        return None not in self.found

    @property
    def triggers(self) -> int:
        return sum(map(bool, self.found)) + len(self.echoes) + len(self.others)


def match(truths: Sequence[Truth], triggers: Sequence[FoundTrigger]) -> BurstOutcomes:
    """Assign triggers to bursts by time window and DM."""
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
    return BurstOutcomes(tuple(found), tuple(echoes), tuple(others))


def _is_of(trigger: FoundTrigger, truth: Truth) -> bool:
    same_window = trigger.window == int(truth.time // WINDOW)
    return same_window and abs(trigger.dm - truth.dm) <= DM_TOLERANCE


def _echoes(trigger: FoundTrigger, truth: Truth) -> bool:
    near = abs(trigger.window - int(truth.time // WINDOW)) <= ECHO_WINDOWS
    return near and trigger.snr <= truth.snr
