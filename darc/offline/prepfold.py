"""PRESTO's prepfold, if it is installed.

Source: the code of PRESTO 4: options of clig/prepfold_cmd.cli, the text file ``*.bestprof`` of
prepfold_utils.c.
"""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from darc.config.records import Struct
from darc.offline.fold_file import N_SUBBANDS, N_SUBINTS
from darc.runtime.end_with_parent import end_with
from darc.science.arrays import Doubles
from darc.science.profile import Peak, profile_peak

_LINE = re.compile(r"#\s*([^=<]+?)\s*[=<]\s*(.*)")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_OUTPUT_SHOWN = 300  # characters


class PrepfoldError(RuntimeError):
    """prepfold failed, or its result is not usable."""


class Prepfold(Struct, frozen=True, eq=False):
    """Result of prepfold.

    :param period: topocentric, s
    :param period_derivative: topocentric, s/s
    :param dm: pc cm-3
    :param reduced_chi_squared: of the profile, for white noise
    :param peak: pulse of the profile
    :param profile: shape (n_bins,)
    :param files: files to keep: plot, and its data
    """

    period: float
    period_derivative: float
    dm: float
    reduced_chi_squared: float
    peak: Peak
    profile: Doubles
    files: tuple[Path, ...]


def run_prepfold(
    program: str,
    path: Path,
    directory: Path,
    *,
    period: float,
    period_derivative: float,
    dm: float,
    n_bins: int,
    time_limit: float,
) -> Prepfold:
    """Fold a file with prepfold.

    :param path: filterbank file
    :param directory: working directory; files of an earlier run are not used as a result
    :param period: topocentric, at the first sample, s
    :param period_derivative: topocentric, at the first sample, s/s
    :param dm: pc cm-3
    :param time_limit: s
    :raises PrepfoldError: prepfold failed or timed out, or its result is not usable
    :raises OSError: the directory is not writable
    """
    directory.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="prepfold-", dir=directory))
    options = {
        "-p": repr(period),
        "-pd": repr(period_derivative),
        "-dm": repr(dm),
        "-n": str(n_bins),
        "-npart": str(N_SUBINTS),
        "-nsub": str(N_SUBBANDS),
        "-o": "folded",
    }
    command = [program, "-topo", "-noxwin", "-nodmsearch"]
    command += [word for option in options.items() for word in option]
    _run([*command, str(path.absolute())], work, time_limit)
    tables = sorted(work.glob("*.pfd.bestprof"))
    if not tables:
        raise PrepfoldError(f"{program} wrote no *.pfd.bestprof")
    try:
        text = tables[0].read_text(encoding="utf-8", errors="replace")
        found = parse_bestprof(text, str(tables[0]))
    except OSError as error:
        raise PrepfoldError(str(error)) from error
    kept = (".pfd", ".pfd.ps", ".pfd.png", ".pfd.bestprof")
    files = tuple(sorted(file for file in work.iterdir() if file.name.endswith(kept)))
    return Prepfold(*found, files)


def _run(command: list[str], work: Path, time_limit: float) -> None:
    output = work / "output.txt"
    with output.open("wb") as sink:
        try:
            process = subprocess.Popen(
                command,
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(end_with, os.getpid()),  # noqa: PLW1509 - single-threaded
            )
        except OSError as error:
            raise PrepfoldError(f"{command[0]} does not start: {error}") from error
        try:
            status = process.wait(time_limit)
        except subprocess.TimeoutExpired:
            raise PrepfoldError(f"{command[0]} took more than {time_limit:.0f} s, ended") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if status != 0:
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        said = output.read_text(encoding="utf-8", errors="replace").strip()[-_OUTPUT_SHOWN:]
        raise PrepfoldError(f"{command[0]} failed, {how}: {said}")


def parse_bestprof(text: str, name: str) -> tuple[float, float, float, float, Peak, Doubles]:
    """Parse a ``*.bestprof`` file.

    :param name: file name, for messages
    :return: period (s), its derivative, DM (pc cm-3), reduced chi squared, peak and profile
    :raises PrepfoldError: a value is missing or not a number
    """
    values: dict[str, str] = {}
    profile: list[float] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            if match := _LINE.match(line):
                values[match[1]] = match[2]
        elif words := line.split():
            try:
                profile.append(float(words[1]))
            except (IndexError, ValueError):
                raise PrepfoldError(f"{name}:{number}: {line[:60]!r} is no bin and value") from None
    milliseconds, derivative, dm, chi = (
        _value(values, key, name)
        for key in ("P_topo (ms)", "P'_topo (s/s)", "Best DM", "Reduced chi-sqr")
    )
    if milliseconds <= 0:
        raise PrepfoldError(f"{name}: P_topo (ms): {milliseconds}; allowed: above 0")
    bins = np.array(profile)
    if len(bins) < 4 or not np.isfinite(bins).all():
        raise PrepfoldError(f"{name}: a profile of {len(bins)} bins, or not all are numbers")
    return milliseconds / 1e3, derivative, dm, chi, profile_peak(bins / _noise(values, bins)), bins


def _noise(values: dict[str, str], bins: Doubles) -> float:
    """Return the standard deviation of a profile's bin that prepfold derives from the data.

    Old versions do not write it: then from the median absolute deviation of the bins.
    """
    match = _NUMBER.match(values.get("Profile StdDev", ""))
    given = float(match[0]) if match else 0.0
    if math.isfinite(given) and given > 0:
        return given
    return 1.4826 * float(np.median(np.abs(bins - np.median(bins)))) or 1.0


def _value(values: dict[str, str], key: str, name: str) -> float:
    match = _NUMBER.match(values.get(key, ""))
    if match is None or not math.isfinite(float(match[0])):
        raise PrepfoldError(f"{name}: {key}: {values.get(key, 'missing')[:60]!r} is no number")
    return float(match[0])
