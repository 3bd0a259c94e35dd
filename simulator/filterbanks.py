"""Writer of simulated filterbank data to growing files, as the telescope's writer does.

python -m simulator.filterbanks OUTDIR --bursts 5 --duration 30 --seed 1 [--speed 1]
"""

from __future__ import annotations

import argparse
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from darc.config.records import Struct, to_builtins
from darc.config.yaml_tree import yaml_text
from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.filterbank_writer import FilterbankWriter
from darc.runtime.program import number, whole
from darc.science.synthesised_beam import synthesised_beams
from simulator.bursts import random_bursts
from simulator.filterbank_data import CHUNK, Filterbanks, SimulatedInstrument, filterbank_paths
from simulator.generator import make_observation_candidates, observation_parser, timed_files
from simulator.interference import random_interference
from simulator.player import Player


class WrittenBlock(Struct, frozen=True):
    """A block that was written to the files of all TABs."""

    end: int  # samples in each file after it
    due: float  # s since the start
    late: float  # s between due time and the write of the last TAB


class FilterbankPlayer:
    """Writer of the files of all TABs, block by block, each when its last sample is due.

    If it cannot keep up, it writes as fast as possible, without dropping data.

    :param directory: created if missing; the files must not exist in it
    :param duration: s
    :param cb: number of the compound beam, which names the files
    :param speed: seconds of the observation per second; infinity writes at once
    :param block_samples: samples in time that are written together
    :param threads: number of TABs written in parallel
    :param log: receives an entry per block
    :param monotonic: the clock
    :raises ValueError: the duration is less than a sample, or a number is not above 0
    """

    def __init__(
        self,
        directory: Path,
        filterbanks: Filterbanks,
        *,
        duration: float,
        cb: int = 0,
        speed: float = 1.0,
        block_samples: int = CHUNK,
        threads: int = 1,
        log: list[WrittenBlock] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        tsamp = filterbanks.instrument.header.tsamp
        self._n_samples = round(duration / tsamp)
        if not (speed > 0 and block_samples >= 1 and threads >= 1 and self._n_samples >= 1):
            raise ValueError(
                f"speed {speed}, {block_samples} samples in a block, {threads} threads, "
                f"{self._n_samples} samples in all; allowed: above 0"
            )
        self._directory = directory
        self._filterbanks = filterbanks
        self._cb = cb
        self._speed = speed
        self._block_samples = block_samples
        self._threads = threads
        self._log = log
        self._monotonic = monotonic

    def play(self, stop: threading.Event | None = None, *, start: float | None = None) -> bool:
        """Write everything.

        :param stop: when set, the rest is not written
        :param start: the observation's start on the clock; now, if it is not given
        :returns: whether all was written
        :raises FileExistsError: a file exists already
        :raises OSError: a file cannot be written
        """
        start = self._monotonic() if start is None else start
        stop = stop or threading.Event()
        instrument = self._filterbanks.instrument
        self._directory.mkdir(parents=True, exist_ok=True)
        paths = filterbank_paths(self._directory, self._cb, instrument.n_tabs)
        with ExitStack() as opened:
            files = [opened.enter_context(FilterbankWriter(p, instrument.header)) for p in paths]
            pool = opened.enter_context(ThreadPoolExecutor(self._threads))
            for begin in range(0, self._n_samples, self._block_samples):
                end = min(begin + self._block_samples, self._n_samples)
                due = end * instrument.header.tsamp / self._speed
                if stop.is_set() or stop.wait(max(0.0, start + due - self._monotonic())):
                    return False

                def write(tab: int, begin: int = begin, end: int = end) -> None:
                    files[tab].append(self._filterbanks.block(tab, begin, end))

                for _ in pool.map(write, range(instrument.n_tabs)):
                    pass  # an error of a thread is raised here
                if self._log is not None:
                    late = self._monotonic() - start - due
                    self._log.append(WrittenBlock(end, due, late))
        return True


def write_filterbanks(directory: Path, filterbanks: Filterbanks, *, duration: float) -> list[Path]:
    """Write the files of all TABs at once; see `FilterbankPlayer`.

    :return: the files, in order of TABs
    """
    FilterbankPlayer(directory, filterbanks, duration=duration, speed=math.inf).play()
    return filterbank_paths(directory, 0, filterbanks.instrument.n_tabs)


def play_both(triggers: Player, data: FilterbankPlayer, start: float) -> None:
    """Write trigger files beside the data; an error of one ends the other.

    :param start: the observation's start, monotonic s
    """
    stop = threading.Event()
    with ThreadPoolExecutor(1) as beside:
        written = beside.submit(triggers.play, stop, start=start)
        try:
            data.play(start=start)
        except BaseException:
            stop.set()
            raise
        written.result()


def _parser() -> argparse.ArgumentParser:
    parser = observation_parser(
        "Make the filterbank files of an observation with known bursts, the trigger files that"
        " AMBER would write of them, and truth.yaml beside them."
    )
    parser.add_argument("--snr", type=number(0, 1e6), nargs=2, default=(20.0, 50.0))
    parser.add_argument(
        "--widths", type=whole(1, 1_000_000), nargs="+", default=(5, 10, 50, 100), help="samples"
    )
    parser.add_argument("--interference", type=number(0, 1e6), default=6.0, help="a minute")
    parser.add_argument(
        "--cb", type=whole(0, 999), default=0, help="compound beam, names the files"
    )
    parser.add_argument("--tabs", type=whole(1, 100), default=12)
    parser.add_argument(
        "--sbs", type=whole(0, 1000), default=0, help="SBs that are searched; 0: TABs are"
    )
    parser.add_argument("--channels", type=whole(1, 1_048_576), default=1536)
    parser.add_argument(
        "--band", type=number(1e-3, 1e9), nargs=2, default=(1219.603, 1519.603), help="MHz"
    )
    parser.add_argument("--tsamp", type=number(1e-9, 1e3), default=81.92e-6, help="s")
    parser.add_argument(
        "--bits", type=whole(1, 32), default=8, help="of a sample: 1, 2, 4, 8, 16 or 32"
    )
    parser.add_argument("--ascending", action="store_true", help="lowest frequency first")
    parser.add_argument("--tstart", type=number(0, 1e6), help="MJD, into the headers")
    parser.add_argument(
        "--speed", type=number(1e-3, math.inf), default=1.0, help="inf: all at once"
    )
    parser.add_argument("--threads", type=whole(1, 256), default=1, help="TABs at a time")
    return parser


def _instrument(args: argparse.Namespace) -> SimulatedInstrument:
    low, high = args.band
    width = (high - low) / args.channels
    header = FilterbankHeader(
        nchans=args.channels,
        nbits=args.bits,
        tsamp=args.tsamp,
        fch1=low + width / 2 if args.ascending else high - width / 2,
        foff=width if args.ascending else -width,
        tstart=args.tstart,
        source_name="made",
    )
    sbs = None
    if args.sbs:
        # As at ARTS, whose SBs are counted against the frequency at which TABs repeat.
        sbs = synthesised_beams(
            n_sbs=args.sbs,
            n_subbands=32,
            n_tabs=args.tabs,
            band_low=1201,
            bandwidth=300,
            reference_freq=1501,
        )
    return SimulatedInstrument(header=header, n_tabs=args.tabs, sbs=sbs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write filterbank and trigger files, as fast as the observation goes or at once."""
    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        instrument = _instrument(args)
        search = instrument.search()
        bursts = random_bursts(
            args.bursts,
            args.duration,
            tuple(args.dm),
            args.seed,
            widths=args.widths,
            snr_range=tuple(args.snr),
            beams=instrument.n_beams,
        )
        interference = random_interference(
            args.duration, instrument.band, args.seed, per_minute=args.interference
        )
        made = Filterbanks(instrument, bursts, interference, seed=args.seed, search=search)
        generated = make_observation_candidates(
            made.searched, duration=args.duration, seed=args.seed, search=search
        )
        triggers = Player(args.outdir, timed_files(generated, args.cb), speed=args.speed)
        data = FilterbankPlayer(
            args.outdir,
            made,
            duration=args.duration,
            cb=args.cb,
            speed=args.speed,
            threads=args.threads,
        )
        play_both(triggers, data, time.monotonic())
    except (OSError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    truth = {
        "duration": args.duration,
        "seed": args.seed,
        "made": to_builtins(bursts),
        "bursts": to_builtins(generated.truth),
        "interference": to_builtins(interference),
    }
    (args.outdir / "truth.yaml").write_text(yaml_text(truth))


if __name__ == "__main__":
    main()
