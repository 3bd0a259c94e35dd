"""Which listed source a candidate is of (docs/offline.md)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from darc.config.yaml_tree import yaml_text
from darc.model.psrcat import as_source_list, parse_psrcat
from darc.model.sources import SourceList, parse_source_list
from darc.runtime.log import printable
from darc.runtime.paths import packaged
from darc.runtime.program import number
from darc.science.source_match import DM_SPREAD, Measured, Unlisted, probabilities

_FWHM = 2.3548  # standard deviations
_LEAST = 1e-3


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m darc.offline.match_sources",
        description="Print the probability that a candidate is of each listed source, or convert"
        " the ATNF pulsar catalogue's psrcat.db to a list of sources.",
    )
    parser.add_argument(
        "--sources",
        type=Path,
        action="append",
        metavar="FILE",
        help="source list (YAML) or psrcat.db, several times for more; default: the packaged list",
    )
    parser.add_argument(
        "--convert", type=Path, metavar="PSRCAT.DB", help="print it as a source list, and end"
    )
    parser.add_argument("--ra", type=number(0, 360), metavar="DEG", help="ICRS, of the beam")
    parser.add_argument("--dec", type=number(-90, 90), metavar="DEG")
    parser.add_argument(
        "--beam", type=number(1e-9, 180), metavar="DEG", help="its full half-power width"
    )
    parser.add_argument("--dm", type=number(0, 100_000), metavar="DM")
    parser.add_argument("--dm-error", type=number(1e-9, 1e5), default=1.0, metavar="DM")
    parser.add_argument("--spread", type=number(0, 1e5), default=DM_SPREAD, metavar="DM")
    parser.add_argument("--dm-range", type=number(1e-9, 1e5), default=2000.0, metavar="DM")
    parser.add_argument(
        "--area", type=number(1e-9, 41_253), metavar="DEG2", help="default: the beam's"
    )
    parser.add_argument("--ratio", type=number(1e-9, 1e9), default=1.0, metavar="R")
    return parser


def read_sources(path: Path) -> SourceList:
    """Read a source list or a psrcat.db.

    :raises OSError: it cannot be read
    :raises ValueError: it is invalid
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix in (".yaml", ".yml"):
        return parse_source_list(text, str(path))
    return parse_psrcat(text, str(path))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the matches; return the exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        if options.convert is not None:
            sys.stdout.write(yaml_text(as_source_list(read_sources(options.convert))))
            return 0
        if None in (options.ra, options.dec, options.beam, options.dm):
            parser.error("--ra, --dec, --beam and --dm are needed")
        paths = options.sources or [packaged("conf/source_list.yaml")]
        lists = [read_sources(path) for path in paths]
    except (OSError, ValueError) as error:
        print(printable(str(error)), file=sys.stderr)
        return 1
    measured = Measured(options.ra, options.dec, options.beam / _FWHM, options.dm, options.dm_error)
    area = options.area or 1.133 * options.beam**2  # of a Gaussian beam
    found = probabilities(
        measured,
        # A pulsar of several lists counts once.
        {name: one for some in lists for name, one in some.sources.items()}.values(),
        Unlisted(area, options.dm_range, options.ratio),
        options.spread,
    )
    for name, probability in found.items():
        if probability >= _LEAST:
            print(printable(f"{probability:.3f} {name}"))
    print(f"{1 - sum(found.values()):.3f} none of {len(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
