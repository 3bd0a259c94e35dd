"""Generator of AMBER trigger files with known bursts and interference.

python -m simulator.generator OUTDIR --bursts 5 --duration 30 --seed 1
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from darc.config.records import Struct, to_builtins
from darc.config.yaml_tree import yaml_text
from darc.runtime.program import LONGEST, number, whole
from simulator.amber_files import format_header, format_line, trigger_name
from simulator.bursts import AmberSearch, Burst, Candidate, DmGrid, detections, random_bursts
from simulator.player import Player, TimedFile

__all__ = [
    "AmberSearch",
    "Burst",
    "DmGrid",
    "Generated",
    "Truth",
    "make_observation_candidates",
    "random_bursts",
    "timed_files",
]


class Truth(Struct, frozen=True):
    """A burst, and AMBER's best detection of it."""

    burst: Burst
    instance: int  # from 1
    dm: float
    downsampling: int
    time: float  # start of the bin (s)
    snr: float
    lines: int  # number of its lines in all files


class Generated(Struct, frozen=True):
    """Lines per instance with the time at which AMBER writes them (s), and the bursts in them."""

    instances: list[list[tuple[float, bytes]]]
    truth: list[Truth]


def make_observation_candidates(
    bursts: Sequence[Burst],
    *,
    duration: float,
    seed: int,
    interference_rate: float = 2.0,
    instances: int = 3,
    search: AmberSearch | None = None,
) -> Generated:
    """Return the lines of an observation, which only depend on the arguments.

    A batch's lines are due when it is complete, ordered by beam and DM but not by time.

    :param duration: s
    :param interference_rate: lines per second, of all instances together
    :param instances: number of the search's grids to use
    :raises ValueError: a burst that AMBER would not detect, or less than a batch
    """
    search = search or AmberSearch()
    if search.batches(duration) < 1:
        raise ValueError(f"{duration} s is less than a batch")
    grids = search.grids[:instances]
    found: list[list[Candidate]] = [[] for _ in grids]
    truth = []
    for burst in bursts:
        seen = [list(detections(burst, grid, search, duration)) for grid in grids]
        lines = sum(map(len, seen))
        if not lines:
            raise ValueError(f"not within reach of this search: {burst}")
        number, best = max(
            ((number, candidate) for number, part in enumerate(seen, 1) for candidate in part),
            key=lambda pair: pair[1].snr,
        )
        truth.append(Truth(burst, number, best.dm, best.step, best.time(search), best.snr, lines))
        for part, more in zip(found, seen, strict=True):
            part.extend(more)
    rng = np.random.default_rng(seed)
    for _ in range(rng.poisson(interference_rate * duration)):
        number, candidate = _interference(rng, grids, search, duration)
        found[number].append(candidate)
    return Generated([_lines(part, search) for part in found], truth)


def _interference(
    rng: np.random.Generator, grids: Sequence[DmGrid], search: AmberSearch, duration: float
) -> tuple[int, Candidate]:
    """Draw a line: mostly broad and at low DM, barely above the threshold, in one beam."""
    number = 0 if rng.random() < 0.97 else int(rng.integers(len(grids)))
    grid = grids[number]
    trials = math.ceil((grid.stop - grid.start) / grid.step)
    dm_id = int(min(rng.exponential(50.0) / grid.step, trials - 1))
    step = int(rng.choice([step for step in search.steps if step >= max(search.steps) / 4]))
    return number, Candidate(
        beam=int(rng.integers(search.beams)),
        dm_id=dm_id,
        dm=grid.start + grid.step * dm_id,
        step=step,
        bin=int(rng.integers(search.batch_samples // step)),
        batch=int(rng.integers(search.batches(duration))),
        snr=search.snr_min + rng.exponential(1.5),
        compacted_dms=int(rng.geometric(0.1)),
    )


def _lines(candidates: list[Candidate], search: AmberSearch) -> list[tuple[float, bytes]]:
    candidates.sort(key=lambda c: (c.batch, c.beam, c.dm_id, -c.step, c.bin))
    return [
        (
            (c.batch + 1) * search.batch_length_s,
            format_line(
                beam=c.beam,
                batch=c.batch,
                sample=c.bin,
                integration_step=c.step,
                time=c.time(search),
                dm_id=c.dm_id,
                dm=c.dm,
                snr=c.snr,
                compacted_dms=c.compacted_dms,
            ),
        )
        for c in candidates
    ]


def timed_files(generated: Generated, beam: int) -> list[TimedFile]:
    """Return the trigger files of a compound beam, for the player."""
    return [
        TimedFile(trigger_name(beam, number), format_header(), lines)
        for number, lines in enumerate(generated.instances, 1)
    ]


def observation_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of a command that makes an observation, with what all of them ask."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("outdir", type=Path)
    parser.add_argument("--bursts", type=whole(0, 100_000), default=5)
    parser.add_argument("--duration", type=number(0.001, LONGEST), default=30.0, help="s")
    parser.add_argument("--seed", type=whole(0, 2**63), default=1)
    parser.add_argument(
        "--dm", type=number(0, 1e5), nargs=2, default=(100.0, 2000.0), help="pc cm-3"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Write trigger files at once, and truth.yaml beside them."""
    parser = observation_parser("Make AMBER trigger files with known bursts.")
    parser.add_argument("--interference", type=number(0, 1e6), default=2.0, help="lines per second")
    parser.add_argument(
        "--beam", type=whole(0, 999), default=0, help="compound beam, names the files"
    )
    parser.add_argument("--beams", type=whole(1, 1000), default=12, help="number of TABs or SBs")
    parser.add_argument(
        "--beam-period", type=whole(1, 1000), default=1, help="1 for TABs, 12 for SBs"
    )
    args = parser.parse_args(arguments)
    search = AmberSearch(beams=args.beams, beam_period=args.beam_period)
    try:
        bursts = random_bursts(
            args.bursts, args.duration, tuple(args.dm), args.seed, beams=args.beams
        )
        generated = make_observation_candidates(
            bursts,
            duration=args.duration,
            seed=args.seed,
            interference_rate=args.interference,
            search=search,
        )
        Player(args.outdir, timed_files(generated, args.beam), speed=math.inf).play()
    except (OSError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    truth = {
        "duration": args.duration,
        "seed": args.seed,
        "bursts": to_builtins(generated.truth),
    }
    (args.outdir / "truth.yaml").write_text(yaml_text(truth))


if __name__ == "__main__":
    main()
