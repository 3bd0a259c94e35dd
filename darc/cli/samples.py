"""``darc samples``: a filterbank, its triggers and a parset, for first tests."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from darc.cli.interactive import TerminalError, word_parser
from darc.runtime.paths import packaged

EXAMPLES = """\
They are simulated: a pulse of DM 352 in noise, the triggers that AMBER would write, and the
parset of a worker.

examples:
  darc samples                    into the directory where you are
  darc_process sample.fil sample.trigger
"""


def make_parser() -> argparse.ArgumentParser:
    parser = word_parser(
        "samples",
        "Copy a small sample filterbank, its trigger file and a parset into a directory.",
        EXAMPLES,
    )
    parser.add_argument(
        "directory", type=Path, nargs="?", default=Path(), metavar="DIR", help="default: here"
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Copy the samples; return the exit status."""
    directory: Path = make_parser().parse_args(arguments).directory
    directory.mkdir(parents=True, exist_ok=True)
    samples = sorted(packaged("conf/samples").iterdir())
    for sample in samples:
        if (directory / sample.name).exists():
            raise TerminalError(f"{directory / sample.name}: exists already, and was not changed")
    for sample in samples:
        shutil.copyfile(sample, directory / sample.name)
        print(directory / sample.name)
    return 0
