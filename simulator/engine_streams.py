"""Candidates as Heimdall, FREDDA and DSA-110's search write them, in time.

python -m simulator.engine_streams heimdall DIR --start 2026-05-18-23:51:13 --beams 13 --duration 30
"""

from __future__ import annotations

import argparse
import math
import socket
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from darc.config.records import Struct, replace
from darc.model.arrival import mjd_of
from darc.runtime.program import LONGEST, number, whole

#: Header of FREDDA's files.
FREDDA_HEADER = b"# S/N, sampno, secs from file start, boxcar, idt, dm, beamno, mjd\n"
_START = "%Y-%m-%d-%H:%M:%S"


class EngineCandidate(Struct, frozen=True):
    """A candidate of a search engine.

    :param time: since the start, at the engine's reference frequency (s)
    :param dm: pc cm-3
    :param log2_width: width is 2 to the power of it (samples)
    :param beam: as the engine numbers it
    """

    time: float
    dm: float
    snr: float
    log2_width: int
    beam: int


class EngineSearch(Struct, frozen=True):
    """What a search engine is like.

    :param tsamp: s
    :param start: of the data, Unix s
    :param gulp: length of the data that are searched at a time (s)
    :param mjd_ahead: how much the clock of FREDDA's MJDs is ahead of UTC (s): 37 of TAI since 2017
    """

    tsamp: float
    start: float
    gulp: float = 1.0
    mjd_ahead: float = 0.0

    def sample(self, candidate: EngineCandidate) -> int:
        """Return the number of a candidate's sample."""
        return round(candidate.time / self.tsamp)

    def heimdall_line(self, candidate: EngineCandidate) -> bytes:
        """Return a line of Heimdall's."""
        sample, width = self.sample(candidate), 2**candidate.log2_width
        members = max(1, int(candidate.snr))
        words = [
            f"{candidate.snr:g}",
            f"{sample}",
            f"{sample * self.tsamp:g}",
            f"{candidate.log2_width}",
            f"{int(candidate.dm)}",
            f"{candidate.dm:g}",
            f"{members}",
            f"{max(0, sample - width)}",
            f"{sample + width}",
        ]
        return "\t".join(words).encode() + b"\n"

    def dsa_line(self, candidate: EngineCandidate) -> bytes:
        """Return a line of DSA-110's search."""
        sample = self.sample(candidate)
        mjd = mjd_of(self.start + sample * self.tsamp)
        return (
            f"{candidate.snr:g} {sample % 4096} {sample} {mjd:.14f} {candidate.log2_width}"
            f" {int(candidate.dm)} {candidate.dm:g} {candidate.beam}\n"
        ).encode()

    def fredda_line(self, candidate: EngineCandidate) -> bytes:
        """Return a line of FREDDA's, whose boxcar is one less than the width.

        Its MJDs have 9 decimals: 86 µs.
        """
        sample = self.sample(candidate)
        mjd = mjd_of(self.start + sample * self.tsamp + self.mjd_ahead)
        return (
            f"{candidate.snr:.2f} {sample} {sample * self.tsamp:.4f}"
            f" {2**candidate.log2_width - 1} {int(candidate.dm)} {candidate.dm:.2f}"
            f" {candidate.beam} {mjd:.9f}\n"
        ).encode()


def burst_candidates(peak: EngineCandidate, n: int, seed: int = 1) -> list[EngineCandidate]:
    """Return a burst as a search sees it: its best candidate, and weaker ones around."""
    rng = np.random.default_rng(seed)
    found = [peak]
    for _ in range(n - 1):
        off = rng.normal()
        found.append(
            replace(
                peak,
                time=max(0.0, peak.time + 1e-3 * rng.normal()),
                dm=max(0.0, peak.dm * (1 + 0.01 * off)),
                snr=max(6.0, peak.snr * (0.9 - 0.3 * min(1.0, abs(off)))),
                log2_width=max(0, peak.log2_width + int(rng.integers(-1, 2))),
            )
        )
    return found


def noise_candidates(
    rate: float, duration: float, *, beams: Sequence[int], seed: int = 1
) -> list[EngineCandidate]:
    """Return weak candidates at random times.

    :param rate: per second, of all beams together
    :param duration: s
    """
    rng = np.random.default_rng(seed)
    n = int(rng.poisson(rate * duration))
    return [
        EngineCandidate(
            time=float(rng.uniform(0, duration)),
            dm=float(rng.uniform(5, 2000)),
            snr=float(6 + rng.exponential(0.8)),
            log2_width=int(rng.integers(0, 8)),
            beam=int(rng.choice(beams)),
        )
        for _ in range(n)
    ]


def heimdall_name(start: float, beam: int) -> str:
    """Return the name of a beam's file."""
    return f"{datetime.fromtimestamp(start, UTC):{_START}}_{beam:02d}.cand"


def gulps_of(
    candidates: Sequence[EngineCandidate], search: EngineSearch
) -> list[list[EngineCandidate]]:
    """Split candidates by gulp, in order of S/N within each."""
    n = 1 + max((int(one.time // search.gulp) for one in candidates), default=-1)
    gulps: list[list[EngineCandidate]] = [[] for _ in range(n)]
    for one in sorted(candidates, key=lambda one: -one.snr):
        gulps[int(one.time // search.gulp)].append(one)
    return gulps


def write_gulp(
    directory: Path,
    search: EngineSearch,
    gulp: Sequence[EngineCandidate],
    number: int | None = None,
) -> None:
    """Append a gulp to Heimdall's files, one per beam.

    :param number: of the gulp, which then has files of its own, as Heimdall itself writes them:
        their names have its UTC, and the times in them count from the search's start; None: all
        gulps are appended to files of the start
    """
    begin = search.start + (number or 0) * search.gulp
    for beam in sorted({one.beam for one in gulp}):
        lines = b"".join(search.heimdall_line(one) for one in gulp if one.beam == beam)
        with (directory / heimdall_name(begin, beam)).open("ab", buffering=0) as file:
            file.write(lines)


def append_fredda(directory: Path, search: EngineSearch, gulp: Sequence[EngineCandidate]) -> None:
    """Append a gulp to FREDDA's file of all beams, which begins with a header."""
    path = directory / f"{datetime.fromtimestamp(search.start, UTC):{_START}}.cand"
    lines = b"".join(search.fredda_line(one) for one in gulp)
    with path.open("ab", buffering=0) as file:
        file.write(lines if file.tell() else FREDDA_HEADER + lines)


def send_gulp(address: tuple[str, int], gulp: int, lines: Sequence[bytes]) -> None:
    """Send a gulp as one of DSA-110's searches does: a connection, closed after it.

    :raises OSError: nobody listens
    """
    with socket.create_connection(address, timeout=10.0) as connection:
        connection.sendall(f"{gulp}\n".encode() + b"".join(lines))


def play(
    gulps: Sequence[Sequence[EngineCandidate]],
    search: EngineSearch,
    write: Callable[[int, Sequence[EngineCandidate]], None],
    *,
    speed: float = 1.0,
) -> None:
    """Write each gulp when it is complete.

    :param write: is called with a gulp's number and its candidates
    :param speed: seconds of data per second; infinity: at once
    """
    began = time.monotonic()
    for gulp, candidates in enumerate(gulps):
        due = began + (gulp + 1) * search.gulp / speed
        time.sleep(max(0.0, due - time.monotonic()))
        write(gulp, candidates)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write or send candidates with bursts among them."""
    parser = argparse.ArgumentParser(description="Write candidates as a search engine does.")
    parser.add_argument("engine", choices=["heimdall", "fredda", "dsa110"])
    parser.add_argument("to", help="directory; dsa110: host:port")
    parser.add_argument("--start", help="UTC as 2026-05-18-23:51:13; by default now")
    parser.add_argument("--tsamp", type=number(1e-6, 1), default=64e-6, help="s")
    parser.add_argument("--beams", type=whole(1, 10_000), default=1, help="how many")
    parser.add_argument(
        "--first-beam",
        type=whole(0, 10_000),
        default=0,
        metavar="N",
        help="number of the first one, as in instrument.source.first_beam",
    )
    parser.add_argument("--duration", type=number(0.001, LONGEST), default=30.0, help="s")
    parser.add_argument("--bursts", type=whole(0, 100_000), default=5)
    parser.add_argument("--noise", type=number(0, 1e6), default=5.0, help="candidates per second")
    parser.add_argument("--seed", type=whole(0, 2**63), default=1)
    parser.add_argument("--speed", type=number(1e-3, math.inf), default=1.0)
    parser.add_argument(
        "--mjd-ahead", type=number(-100, 100), default=0.0, help="fredda: of UTC (s); TAI: 37"
    )
    parser.add_argument(
        "--gulp-files", action="store_true", help="heimdall: a file per gulp, named by its UTC"
    )
    args = parser.parse_args(arguments)
    start = time.time()
    if args.start:
        start = datetime.strptime(args.start, _START).replace(tzinfo=UTC).timestamp()
    search = EngineSearch(args.tsamp, start, mjd_ahead=args.mjd_ahead)
    rng = np.random.default_rng(args.seed)
    beams = range(args.first_beam, args.first_beam + args.beams)
    found = noise_candidates(args.noise, args.duration, beams=beams, seed=args.seed)
    for burst in range(args.bursts):
        when = (burst + 0.5) * args.duration / args.bursts
        dm, beam = float(rng.uniform(100, 1500)), int(rng.choice(beams))
        found += burst_candidates(EngineCandidate(when, dm, 30.0, 4, beam), 20, args.seed)
    try:
        play(
            gulps_of(found, search),
            search,
            _writer(args.engine, args.to, search, gulp_files=args.gulp_files),
            speed=args.speed,
        )
    except (OSError, ValueError) as error:
        parser.exit(1, f"{error}\n")


def _writer(
    engine: str, to: str, search: EngineSearch, *, gulp_files: bool = False
) -> Callable[[int, Sequence[EngineCandidate]], None]:
    if engine == "dsa110":
        host, _, port = to.rpartition(":")
        return lambda gulp, found: send_gulp(
            (host, int(port)), gulp, [search.dsa_line(one) for one in found]
        )
    directory = Path(to)
    directory.mkdir(parents=True, exist_ok=True)
    if engine == "heimdall":
        return lambda gulp, found: write_gulp(
            directory, search, found, gulp if gulp_files else None
        )
    return lambda gulp, found: append_fredda(directory, search, found)


if __name__ == "__main__":
    main()
