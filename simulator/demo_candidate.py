"""Last part of the demo: processing the sample file, and its candidate as a picture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console

from darc.candidates.results.candidate_file import read_candidate
from darc.runtime.paths import packaged
from simulator.demo_node import DemoError
from simulator.demo_report import say
from simulator.make_samples import FILTERBANK, TRIGGERS

#: Of the picture in the terminal.
ROWS, COLUMNS = 16, 64
_SHADES = " ·:░▒▓█"
PROCESS_SECONDS = 180.0


def show_candidate(console: Console, output: Path) -> None:
    """Process the sample file with darc_process, and show its candidate.

    :param output: directory for the results; made
    :raises DemoError: there is no candidate
    """
    samples = packaged("conf/samples")
    words = [str(samples / FILTERBANK), str(samples / TRIGGERS), "--output", str(output)]
    say(console, "Last, data: the sample filterbank and what darc_process finds in it ...")
    code = "import sys; from darc.cli.process_file import main; sys.exit(main())"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            capture_output=True,
            text=True,
            timeout=PROCESS_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DemoError(f"darc_process: not done within {PROCESS_SECONDS:.0f} s") from error
    pictures = sorted(output.glob("site/*/*/pictures/*.png"))
    files = sorted((output / "data").glob("*.hdf5"))
    if done.returncode or not pictures or not files:
        raise DemoError(f"darc_process found no candidate: {done.stderr or done.stdout}")
    candidate = read_candidate(files[0])
    found = candidate.measured
    say(
        console,
        f"\nDM {candidate.pulse.dm:.1f}, S/N {found.snr:.1f}: frequency over time, dedispersed\n",
    )
    for line in shaded(candidate.freq_time[::-1]):
        say(console, f"  {line}")
    say(console, f"\nPicture:     file://{pictures[0]}")
    say(console, f"Results:     {done.stdout.splitlines()[-1]}")


def shaded(data: npt.NDArray[np.floating]) -> list[str]:
    """Return an array as lines of characters, denser for larger values.

    :param data: (rows, columns), the first row on top
    """
    rows, columns = min(ROWS, data.shape[0]), min(COLUMNS, data.shape[1])
    parts = [np.array_split(part, columns, axis=1) for part in np.array_split(data, rows, axis=0)]
    means = np.array([[cell.mean() for cell in line] for line in parts])
    low, high = np.percentile(means, 40), means.max()
    scale = (len(_SHADES) - 1) / (high - low) if high > low else 0.0
    levels = np.clip(np.rint((means - low) * scale), 0, len(_SHADES) - 1).astype(int)
    return ["".join(_SHADES[level] for level in line) for line in levels]
