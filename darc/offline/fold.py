"""Fold a file: python -m darc.offline.fold FILE [--period S] [--dm DM] [--pulsar NAME].

Without a period, the ephemeris of a known pulsar is used if the file's header names one
(conf/pulsars.yaml); otherwise a period is searched for. The results are written to the current
directory, as FILE's name with .pdf, .png and .yaml.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from darc.data_files.data_file_error import DataFileError
from darc.data_files.data_source import source_of
from darc.data_files.open_data_file import open_data_file
from darc.model.offline_tables import Ephemeris, TableError, parse_pulsars
from darc.node.source_lists import read_source_list
from darc.offline.fold_file import FoldingError, fold_filterbank
from darc.offline.fold_report import write_report
from darc.runtime.paths import packaged
from darc.runtime.program import if_numbers, number, whole


def main() -> None:
    """Run the command."""
    words = argparse.ArgumentParser(
        prog="python -m darc.offline.fold",
        description="Fold a data file, a known pulsar's or one of unknown period.",
    )
    words.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="SIGPROC filterbank, PSRFITS or DADA; several: of one observation",
    )
    words.add_argument("--period", type=number(1e-6, 1e5), help="as the telescope sees it, s")
    words.add_argument("--dm", type=number(0, 1e5), help="pc cm-3")
    words.add_argument(
        "--dm-max", type=number(1e-3, 1e5), default=100.0, help="highest of a search (100)"
    )
    words.add_argument("--pulsar", help="name; by default as the file's header has it")
    words.add_argument("--bins", type=whole(1, 65536), default=128, help="of the profile (128)")
    words.add_argument(
        "--ifs",
        type=if_numbers,
        help="polarisations that are added, as 1,2; by default both of two, the first of more",
    )
    words.add_argument("--output", type=Path, default=Path(), help="directory (the current one)")
    given = words.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        sys.exit(_fold(given))
    except (FoldingError, DataFileError, TableError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def _fold(given: argparse.Namespace) -> int:
    given.file = source_of(given.files)
    with open_data_file(given.file, given.ifs, series=True) as file:
        in_header = file.header.source_name or ""
        if file.header.nifs > 1:
            used = " + ".join(str(number + 1) for number in file.ifs)
            print(f"of {file.header.nifs} IFs, {used}: --ifs names others", file=sys.stderr)
    name, ephemeris = known_pulsar(given.pulsar or in_header)
    if given.pulsar and ephemeris is None:
        print(f"{given.pulsar} is not in conf/pulsars.yaml", file=sys.stderr)
        return 1
    found = fold_filterbank(
        given.file,
        name=name or in_header,
        period=given.period,
        dm=given.dm,
        ephemeris=ephemeris,
        n_bins=given.bins,
        dm_max=given.dm_max,
        ifs=given.ifs,
    )
    given.output.mkdir(parents=True, exist_ok=True)
    for path in write_report(found, given.output / given.files[0].stem):
        print(path)
    print(
        f"{found.name}: period {found.period * 1e3:.6f} ms, DM {found.dm:.2f},"
        f" S/N {found.peak.snr:.1f}, by chance with a probability of"
        f" {found.false_alarm_probability:.2g}"
    )
    if not found.detected:
        print(f"no pulse was detected in {found.length:.1f} s")
    if found.undispersed:
        print("it is as strong at DM 0: interference, or too near to tell; --dm names a DM")
    return 0


def known_pulsar(name: str) -> tuple[str, Ephemeris | None]:
    """Return a pulsar's name, with aliases resolved, and its ephemeris from the packaged table.

    :return: None for the ephemeris if the pulsar is not in the table
    """
    source = read_source_list(packaged("conf/source_list.yaml")).lookup(name)
    name = source.name if source else name
    path = packaged("conf/pulsars.yaml")
    return name, parse_pulsars(path.read_text(encoding="utf-8"), str(path)).get(name)


if __name__ == "__main__":
    main()
