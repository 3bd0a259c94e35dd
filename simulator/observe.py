"""Plays an observation to the node of this machine: half a minute of a small simulated telescope.

python -m simulator.observe DIR [--duration S] [--bursts N] [--seed N]

It writes DIR/CB00.parset, which `darc --parset` starts and stops. From the observation's start on,
filterbank data and the trigger files that AMBER would write of them grow in DIR, in real time.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from darc.data_files.filterbank_header import FilterbankHeader
from darc.runtime.program import number, whole
from simulator.bursts import Burst, random_bursts
from simulator.filterbank_data import Filterbanks, SimulatedInstrument
from simulator.filterbanks import FilterbankPlayer, play_both
from simulator.generator import make_observation_candidates, timed_files
from simulator.player import Player
from simulator.write_parsets import MadeObservation, write_observation

#: Between the parset and the observation's start: time to type (s).
DELAY = 20.0
#: Towards the Galactic north pole: right ascension and declination, deg.
POINTING = (192.859, 27.128)
SOURCE = "FRB_FIELD"
#: One tied-array beam of 256 channels: a laptop can keep up.
HEADER = FilterbankHeader(nchans=256, nbits=8, tsamp=5e-4, fch1=1519.0, foff=-1.171875)
DM_RANGE, WIDTHS = (150.0, 900.0), (5, 10, 20)


def write_parset(
    directory: Path, *, duration: float, start: float, iquv: bool = False
) -> MadeObservation:
    """Write what survey control sends: the parset of an observation of this telescope.

    :param duration: s
    :param start: Unix time (s)
    :param iquv: whether there is a ring buffer of raw data, of which dumps are requested
    :raises FileExistsError: there was one already
    """
    return write_observation(
        directory,
        task_id=time.strftime("%y%m%d%H%M", time.gmtime(start)),
        source=SOURCE,
        start=start,
        duration=duration,
        n_tabs=1,
        pointing=POINTING,
        more={
            "min_freq": HEADER.f_lowest,
            "bw": HEADER.nchans * HEADER.channel_width,
            "nchan": HEADER.nchans,
            "tsamp": HEADER.tsamp,
            "enable_iquv": iquv,
        },
    )


def some_bursts(number: int, duration: float, seed: int) -> list[Burst]:
    """Bursts of all kinds within so many seconds.

    :raises ValueError: there is no room for so many
    """
    return random_bursts(number, duration, DM_RANGE, seed, widths=WIDTHS, beams=1)


def play(
    observation: MadeObservation, bursts: Sequence[Burst], *, duration: float, seed: int
) -> None:
    """Write data and trigger files as they would grow, until the observation's end.

    :param duration: s
    :param seed: of the noise
    :raises OSError: a file cannot be written
    """
    instrument = SimulatedInstrument(header=HEADER)
    search = instrument.search()
    data = Filterbanks(instrument, bursts, seed=seed, search=search)
    generated = make_observation_candidates(
        data.searched, duration=duration, seed=seed, search=search
    )
    start = time.monotonic() + observation.start - time.time()
    triggers = Player(observation.amber_dir, timed_files(generated, beam=0))
    filterbank = FilterbankPlayer(
        observation.parset.parent / "output" / "filterbank", data, duration=duration
    )
    play_both(triggers, filterbank, start)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m simulator.observe", description=__doc__)
    parser.add_argument("directory", type=Path, metavar="DIR", help="made")
    parser.add_argument("--duration", type=number(10, 3600), default=30.0, metavar="S")
    parser.add_argument("--bursts", type=whole(0, 100), default=4, metavar="N")
    parser.add_argument("--seed", type=whole(0, 2**63), default=4, metavar="N")
    parser.add_argument(
        "--delay", type=number(1, 3600), default=DELAY, metavar="S", help="until the start"
    )
    options = parser.parse_args(arguments)
    duration = options.duration
    try:
        bursts = some_bursts(options.bursts, duration, options.seed)
        directory = options.directory.absolute()
        start = time.time() + options.delay
        observation = write_parset(directory, duration=duration, start=start)
        print(f"{observation.parset}: starts in {options.delay:g} s, takes {duration:g} s")
        sys.stdout.flush()
        play(observation, bursts, duration=duration, seed=options.seed)
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    for burst in bursts:
        print(f"burst at {burst.time_s:.3f} s, DM {burst.dm:.1f} pc cm-3, S/N {burst.snr:.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
