"""AMBER's detections of a dispersed pulse: trial DMs, widths, beams and times."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from darc.config.records import Struct
from darc.science.dispersion import delay


class DmGrid(Struct, frozen=True):
    """Trial DMs of one AMBER instance: start + step * DM_id (pc cm-3), below stop."""

    start: float
    stop: float
    step: float


class AmberSearch(Struct, frozen=True):
    """Parameters of AMBER's search. The defaults resemble ARTS."""

    grids: tuple[DmGrid, ...] = (
        DmGrid(0.0, 820.0, 0.2),
        DmGrid(820.0, 1640.0, 0.4),
        DmGrid(1640.0, 3000.0, 2.5),
    )  # one per instance
    steps: tuple[int, ...] = (1, 5, 10, 50, 100, 250, 500, 1000)  # widths (samples)
    tsamp: float = 81.92e-6  # s
    batch_samples: int = 12_500
    freq_centre: float = 1369.60327  # MHz
    bandwidth: float = 300.0  # MHz
    n_channels: int = 1536
    snr_min: float = 8.0
    beams: int = 12
    beam_period: int = 1  # distance of a burst's next brightest beam: 1 for TABs, 12 for SBs
    beam_falloff: float = 0.7  # ratio of the S/N there to that in the previous beam
    compaction: int = 10  # number of neighbouring DM trials per line

    @property
    def batch_length_s(self) -> float:
        """Length of a batch (s)."""
        return self.batch_samples * self.tsamp

    def apparent_delay(self, dm_error: float) -> float:
        """Return the delay (s) of a pulse at a trial DM that is too low by `dm_error` (pc cm-3)."""
        top = self.freq_centre + (self.bandwidth - self.bandwidth / self.n_channels) / 2
        return delay(dm_error, self.freq_centre, top)

    def batches(self, duration: float) -> int:
        """Return the number of complete batches in `duration` s."""
        return int(duration / self.batch_length_s + 1e-9)


class Burst(Struct, frozen=True):
    """A dispersed pulse."""

    time_s: float  # arrival at the centre of the highest channel, s since the start
    dm: float  # pc cm-3
    width_samples: int
    snr: float  # at the true DM and width
    beam: int  # brightest beam
    scattering_s: float = 0.0  # decay time to 1/e at the band's centre; for filterbanks


class Candidate(Struct, frozen=True):
    """Values of a line of a trigger file."""

    beam: int
    dm_id: int
    dm: float
    step: int
    bin: int  # of `step` samples, in its batch
    batch: int
    snr: float
    compacted_dms: int = 1

    def time(self, search: AmberSearch) -> float:
        """Return the start of the bin (s since the observation's start)."""
        return (self.batch * search.batch_samples + self.bin * self.step) * search.tsamp


def dm_response(dm_error: float, width_ms: float, freq_centre: float, bandwidth: float) -> float:
    """Return the fraction of the S/N that is left at a wrong DM.

    Source: Cordes & McLaughlin 2003, equations 12 and 13.

    :param dm_error: pc cm-3
    :param freq_centre: MHz
    :param bandwidth: MHz
    """
    zeta = 6.91e-3 * abs(dm_error) * bandwidth / (width_ms * (freq_centre / 1e3) ** 3)
    return math.sqrt(math.pi) / 2 * math.erf(zeta) / zeta if zeta > 1e-6 else 1.0


def detections(
    burst: Burst, grid: DmGrid, search: AmberSearch, duration: float
) -> Iterator[Candidate]:
    """Yield a burst's candidates in one instance: in every beam, width and group of DMs."""
    centre = round((burst.dm - grid.start) / grid.step)
    for step in search.steps:
        snrs = _snr_per_trial(burst, step, grid, search)
        for beam, fraction in _beams(burst.beam, search):
            # Grouped around the centre in all beams, so that peaks agree in time and DM.
            groups: dict[int, list[int]] = {}
            for dm_id, snr in snrs.items():
                if fraction * snr >= search.snr_min:
                    groups.setdefault(round((dm_id - centre) / search.compaction), []).append(dm_id)
            for group in groups.values():
                best = max(group, key=snrs.__getitem__)
                dm = grid.start + grid.step * best
                time = burst.time_s + search.apparent_delay(burst.dm - dm)
                batch, sample = divmod(math.floor(time / search.tsamp + 1e-6), search.batch_samples)
                if 0 <= batch < search.batches(duration):
                    # The samples beyond the last whole bin of a batch are not searched.
                    place = min(sample // step, search.batch_samples // step - 1)
                    yield Candidate(
                        beam, best, dm, step, place, batch, fraction * snrs[best], len(group)
                    )


def _snr_per_trial(burst: Burst, step: int, grid: DmGrid, search: AmberSearch) -> dict[int, float]:
    """Return S/N by DM_id in the brightest beam, where it may exceed the threshold.

    A top-hat pulse seen through a top-hat window loses with the root of the ratio of the two
    widths; the wider of the two is what a wrong DM smears.
    """
    width = max(step, burst.width_samples)
    matched = burst.snr * math.sqrt(min(step, burst.width_samples) / width)

    def response(error: float) -> float:
        width_ms = width * search.tsamp * 1e3
        return dm_response(error, width_ms, search.freq_centre, search.bandwidth)

    reach = 1.0
    while matched * response(reach) >= search.snr_min:
        reach *= 2
    first = math.ceil((max(burst.dm - reach, grid.start) - grid.start) / grid.step)
    last = math.ceil((min(burst.dm + reach, grid.stop) - grid.start) / grid.step)
    return {
        dm_id: matched * response(grid.start + grid.step * dm_id - burst.dm)
        for dm_id in range(first, last)
    }


def _beams(brightest: int, search: AmberSearch) -> Iterator[tuple[int, float]]:
    """Yield the beams that detect a burst, with the fraction of its S/N."""
    for beam in range(brightest % search.beam_period, search.beams, search.beam_period):
        yield beam, search.beam_falloff ** (abs(beam - brightest) // search.beam_period)


def random_bursts(
    n: int,
    duration: float,
    dm_range: tuple[float, float],
    seed: int,
    *,
    separation: float = 2.0,
    margin: float = 2.0,
    widths: Sequence[int] = (5, 10, 50, 100),
    snr_range: tuple[float, float] = (20.0, 50.0),
    beams: int = 12,
    dm_edges: Sequence[float] = (),
    dm_margin: float = 5.0,
    window: float | None = None,
    window_offset: float = 0.0,
    window_margin: float = 0.2,
) -> list[Burst]:
    """Return bursts in order of time, with uniformly distributed parameters.

    :param dm_range: pc cm-3
    :param separation: least time between two (s)
    :param margin: free time at the observation's start and end (s)
    :param dm_edges: DMs to keep `dm_margin` away from
    :param window: keep `window_margin` away from window_offset + k * window (s)
    :raises ValueError: not enough room for so many
    """
    rng = np.random.default_rng(seed)

    def free_time(time: float, taken: list[float]) -> bool:
        phase = math.remainder(time - window_offset, window) if window else math.inf
        return abs(phase) >= window_margin and all(abs(time - t) >= separation for t in taken)

    def free_dm(dm: float, _: list[float]) -> bool:
        return all(abs(dm - edge) >= dm_margin for edge in dm_edges)

    times = _draw(rng, n, (margin, duration - margin), free_time)
    dms = _draw(rng, n, dm_range, free_dm)
    return [
        Burst(
            time_s=time,
            dm=dm,
            width_samples=int(rng.choice(widths)),
            snr=round(rng.uniform(*snr_range), 2),
            beam=int(rng.integers(beams)),
        )
        for time, dm in zip(sorted(times), dms, strict=True)
    ]


def _draw(
    rng: np.random.Generator,
    n: int,
    between: tuple[float, float],
    free: Callable[[float, list[float]], bool],
) -> list[float]:
    drawn: list[float] = []
    for _ in range(1000 * n if between[0] <= between[1] else 0):
        value = round(rng.uniform(*between), 4)
        if len(drawn) < n and free(value, drawn):
            drawn.append(value)
    if len(drawn) < n:
        raise ValueError(f"no room for {n} bursts between {between[0]} and {between[1]}")
    return drawn
