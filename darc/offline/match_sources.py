"""Which listed source a candidate is of (docs/offline.md)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from darc.config.yaml_tree import yaml_text
from darc.model.psrcat import as_source_list
from darc.model.sources import SourceListError, merge_lists, parse_source_list
from darc.node.source_lists import read_source_list
from darc.runtime.log import printable
from darc.runtime.paths import packaged
from darc.runtime.program import number
from darc.science.source_match import (
    DM_SPREAD,
    FWHM,
    GAUSSIAN_AREA,
    UNLISTED_DMS,
    Measured,
    Unlisted,
    probabilities,
)

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
    parser.add_argument(
        "--min-dec",
        type=number(-90, 90),
        default=-90.0,
        metavar="DEG",
        help="--convert: of the sources to print, which are then those with a position",
    )
    parser.add_argument("--max-dec", type=number(-90, 90), default=90.0, metavar="DEG")
    parser.add_argument("--ra", type=number(0, 360), metavar="DEG", help="ICRS, of the beam")
    parser.add_argument("--dec", type=number(-90, 90), metavar="DEG")
    parser.add_argument(
        "--beam", type=number(1e-9, 180), metavar="DEG", help="its full half-power width"
    )
    parser.add_argument("--dm", type=number(0, 100_000), metavar="DM")
    parser.add_argument("--dm-error", type=number(1e-9, 1e5), default=1.0, metavar="DM")
    parser.add_argument("--spread", type=number(0, 1e5), default=DM_SPREAD, metavar="DM")
    parser.add_argument("--dm-range", type=number(1e-9, 1e5), default=UNLISTED_DMS, metavar="DM")
    parser.add_argument(
        "--area", type=number(1e-9, 41_253), metavar="DEG2", help="default: the beam's"
    )
    parser.add_argument("--ratio", type=number(1e-9, 1e9), default=1.0, metavar="R")
    return parser


def _converted(options: argparse.Namespace) -> str:
    """Return the YAML of the sources that are asked for.

    :raises OSError: the file cannot be read
    :raises ValueError: it is invalid, or too many of its sources are asked for
    """
    found = read_source_list(options.convert)
    low, high = options.min_dec, options.max_dec
    if (low, high) != (-90, 90):
        found = found.chosen(
            lambda one: one.position is not None and low <= one.position[1] <= high
        )
    text = yaml_text(as_source_list(found))
    try:
        parse_source_list(text, str(options.convert))
    except SourceListError as error:
        raise ValueError(
            f"{options.convert}: {len(found.sources)} sources make no source list"
            f" ({error.problems[0]}): choose some by --min-dec and --max-dec, or name the file"
            " itself as one of match_files (docs/results.md)"
        ) from error
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the matches; return the exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        if options.convert is not None:
            sys.stdout.write(_converted(options))
            return 0
        if None in (options.ra, options.dec, options.beam, options.dm):
            parser.error("--ra, --dec, --beam and --dm are needed")
        paths = options.sources or [packaged("conf/source_list.yaml")]
        known = merge_lists(read_source_list(path) for path in paths)
    except (OSError, ValueError) as error:
        print(printable(str(error)), file=sys.stderr)
        return 1
    measured = Measured(options.ra, options.dec, options.beam / FWHM, options.dm, options.dm_error)
    area = options.area or GAUSSIAN_AREA * options.beam**2
    found = probabilities(
        measured,
        known.with_position(),
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
