"""Folding of files: made-up pulsars, real samples, prepfold's stand-ins, and the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from msgspec.structs import replace
from nodes import wait_for
from offline_files import HEADER, UNIX_START, write_pulsar

from darc.data_files.filterbank_header import FilterbankError
from darc.data_files.open_data_file import open_data_file
from darc.model.offline_tables import Ephemeris, TableError, parse_pulsars
from darc.offline import file_stream
from darc.offline.fold_file import FoldingError, fold_filterbank, predicted_model
from darc.offline.fold_report import write_prepfold_report
from darc.offline.prepfold import Prepfold, PrepfoldError, parse_bestprof, run_prepfold
from darc.offline.searching import find_period
from darc.runtime.paths import packaged
from darc.science.folding import PhaseModel

WSRT = (3828630.63, 443593.39, 5064922.99)
BESTPROF = """# Input file       =  CB00.fil
# Reduced chi-sqr  =  12.5
# Prob(Noise)      <  0   (~20.1 sigma)
# Best DM          =  26.764
# P_topo (ms)      =  714.519  +/- 1.2e-05
# P'_topo (s/s)    =  -1.5e-10 +/- 2e-12
######################################################
"""


def bestprof() -> str:
    values = np.random.default_rng(1).normal(100, 1, 64)
    values[20:23] += 30
    return BESTPROF + "".join(f"{number:4d}  {value:.7g}\n" for number, value in enumerate(values))


def test_a_pulsar_has_its_period_snr_and_phase(tmp_path: Path) -> None:
    path = tmp_path / "pulsar.fil"
    write_pulsar(path, PhaseModel.constant(4.0), dm=60.0, duration=20.0, height=0.5)
    found = fold_filterbank(path, period=0.25, dm=60.0, n_bins=100)
    # 20 000 samples in 32 channels, of which a twentieth are in the pulse.
    expected = 0.5 * np.sqrt(20000 * 32 * 0.05 * 0.95)
    assert found.peak.snr == pytest.approx(expected, rel=0.05)
    assert found.detected
    assert found.period == pytest.approx(0.25, rel=1e-5)
    assert found.peak.first in (99, 0, 1)
    assert found.peak.width == pytest.approx(5, abs=1)
    dispersed = fold_filterbank(path, period=0.25, dm=0.0, n_bins=100)
    # The band is late by 21 ms: of the pulse's 12.5 ms a trapezium is left, with 0.62 of the S/N.
    assert dispersed.peak.snr == pytest.approx(0.62 * expected, rel=0.05)


def test_the_crabs_period_is_found_within_its_uncertainty(tmp_path: Path) -> None:
    """The ephemeris is off by 0.01 Hz, as after a glitch: a third of a turn in half a minute."""
    path = tmp_path / "crab.fil"
    ephemeris = parse_pulsars(packaged("conf/pulsars.yaml").read_text(), "")["B0531+21"]
    predicted = predicted_model(ephemeris, HEADER, UNIX_START, 60.0, WSRT)
    truth = predicted.corrected(0.01, 0.0, 0.0)
    write_pulsar(path, truth, dm=ephemeris.dm, duration=60.0, height=0.5, width=0.1)
    found = fold_filterbank(path, ephemeris=ephemeris, position=WSRT)
    assert found.frequency == pytest.approx(truth.frequency(0.0), abs=1e-3)
    assert found.predicted == pytest.approx(predicted.frequency(0.0))
    assert found.peak.snr > 0.5 * 0.5 * np.sqrt(60000 * 32 * 0.09)


def test_no_sample_is_left_out_between_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search takes three samples together; a block has a thousand."""
    header = replace(HEADER, tsamp=0.1e-3)
    path = tmp_path / "fast.fil"
    write_pulsar(path, PhaseModel.constant(7.0), dm=60.0, duration=20.0, height=0.5, header=header)
    monkeypatch.setattr(file_stream, "BLOCK_BYTES", 1000 * header.nchans)
    with open_data_file(path, series=True) as file:
        found = find_period(file, 60.0, 100.0)
    assert found
    # Steps of the search are 1/20 Hz. One sample of a thousand left out would be 7.007 Hz and more.
    assert found[0].frequency == pytest.approx(7.0, abs=0.003)


def test_what_cannot_be_folded_is_said(tmp_path: Path) -> None:
    path = tmp_path / "short.fil"
    write_pulsar(path, PhaseModel.constant(1.0), dm=0, duration=2.0, height=1)
    with pytest.raises(FoldingError, match=r"2\.000 s are 2\.0 rotations"):
        fold_filterbank(path, period=1.0, dm=0)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - HEADER.nchans * 2000])
    with pytest.raises(FilterbankError, match="no samples"):
        fold_filterbank(path, period=1.0, dm=0)
    with pytest.raises(FileNotFoundError):
        fold_filterbank(tmp_path / "none.fil", period=1.0, dm=0)


def test_the_real_tutorial_is_found_without_a_word(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "filterbank" / "tutorial.fil"
    if not path.exists():
        pytest.skip("the tutorial's filterbank is not here")
    command = [sys.executable, "-m", "darc.offline.fold", str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = yaml.safe_load((tmp_path / "tutorial.yaml").read_text())
    assert found["period_s"] == pytest.approx(0.25, abs=5e-6)
    assert found["dm"] == pytest.approx(30, abs=4)
    assert found["snr"] > 90
    assert found["detected"]
    assert found["false_alarm_probability"] < 1e-100
    assert not found["as_strong_at_dm_0"]
    assert (tmp_path / "tutorial.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "tutorial.png").read_bytes().startswith(b"\x89PNG")


def test_two_seconds_of_the_real_crab_are_folded_and_nothing_is_claimed(
    shared_data: Path, tmp_path: Path
) -> None:
    path = shared_data / "filterbank" / "parkes_8bit_1.fil"
    if not path.exists():
        pytest.skip("the Parkes filterbank is not here")
    command = [sys.executable, "-m", "darc.offline.fold", str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = yaml.safe_load((tmp_path / "parkes_8bit_1.yaml").read_text())
    assert found["pulsar"] == "B0531+21"
    assert found["period_predicted_s"] == pytest.approx(0.03376, abs=1e-4)
    assert not found["detected"]
    assert "no pulse was detected" in done.stdout


def test_what_prepfold_found_is_a_pulsar_if_the_data_say_so(tmp_path: Path) -> None:
    """Noise that prepfold takes for white is not taken for a pulsar."""
    found = Prepfold(*parse_bestprof(bestprof(), "x"), ())
    for height, detected in ((0.5, True), (0.0, False)):
        path = tmp_path / f"{height}.fil"
        write_pulsar(path, PhaseModel.constant(4.0), dm=60.0, duration=10.0, height=height)
        here = fold_filterbank(path, period=0.25, dm=60.0)
        write_prepfold_report("PSR", path, found, here, tmp_path / "out")
        values = yaml.safe_load((tmp_path / "out.yaml").read_text())
        assert (values["method"], values["detected"]) == ("prepfold", detected)
        assert values["snr"] > 50
    write_prepfold_report("PSR", path, found, None, tmp_path / "out")
    assert yaml.safe_load((tmp_path / "out.yaml").read_text())["detected"] is None


def test_the_noise_of_a_profile_is_that_which_prepfold_tells() -> None:
    told = BESTPROF.replace("# Best DM", "# Profile StdDev  =  2.5\n# Best DM")
    bins = "".join(f"{number} {100.0 + 50 * (number == 3)}\n" for number in range(8))
    peak = parse_bestprof(told + bins, "x")[4]
    assert peak.snr == pytest.approx(20 / np.sqrt(1 + 1 / 7))


# -- prepfold ----------------------------------------------------------------------------------


def stand_in(directory: Path, script: str) -> str:
    """A program that behaves like prepfold: the text of a .bestprof lies beside it."""
    (directory / "good.bestprof").write_text(bestprof())
    program = directory / "prepfold"
    program.write_text(f"#!/bin/sh\nhere={directory}\n{script}\n")
    program.chmod(0o755)
    return str(program)


def run(program: str, directory: Path, time_limit: float = 30.0):  # type: ignore[no-untyped-def]
    return run_prepfold(
        program, Path("CB00.fil"), directory / "work", period=0.7145, period_derivative=1e-15,
        dm=26.76, n_bins=64, time_limit=time_limit,
    )  # fmt: skip


def test_prepfold_is_told_what_to_do_and_believed(tmp_path: Path) -> None:
    program = stand_in(
        tmp_path,
        'echo "$@" > $here/words; cp $here/good.bestprof folded_PSR.pfd.bestprof;'
        " echo %!PS > folded_PSR.pfd.ps",
    )
    found = run(program, tmp_path)
    assert (found.period, found.dm) == (0.714519, 26.764)
    assert found.period_derivative == -1.5e-10
    assert (found.peak.first, found.peak.width) == (20, 3)
    assert [file.name for file in found.files] == ["folded_PSR.pfd.bestprof", "folded_PSR.pfd.ps"]
    words = (tmp_path / "words").read_text().split()
    for option, value in {"-p": "0.7145", "-dm": "26.76", "-n": "64", "-pd": "1e-15"}.items():
        assert words[words.index(option) + 1] == value
    assert words[-1] == str(Path("CB00.fil").absolute())
    assert {"-topo", "-noxwin"} <= set(words)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo no such file; exit 3", "exit status 3: no such file"),
        ("kill -SEGV $$", "signal 11"),
        ("true", "wrote no"),
        ("echo rubbish > a.pfd.bestprof", "is no bin and value"),
        ("echo > a.pfd.bestprof", "P_topo"),
    ],
)
def test_a_bad_prepfold_is_named(tmp_path: Path, script: str, says: str) -> None:
    with pytest.raises(PrepfoldError, match=says):
        run(stand_in(tmp_path, script), tmp_path)


def test_a_prepfold_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    program = stand_in(tmp_path, "sleep 600 & echo $! > $here/pid; sleep 600")
    with pytest.raises(PrepfoldError, match="more than 2 s"):
        run(program, tmp_path, time_limit=2.0)
    pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: not runs(pid), 10, "what prepfold has started ends")


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_profile_without_numbers_is_refused() -> None:
    with pytest.raises(PrepfoldError, match="profile of 0 bins"):
        parse_bestprof(BESTPROF, "x")
    with pytest.raises(PrepfoldError, match="Best DM"):
        parse_bestprof(bestprof().replace("Best DM          =  26.764", "Best DM = N/A"), "x")


def test_the_tables_that_come_along_and_wrong_ones() -> None:
    known = parse_pulsars(packaged("conf/pulsars.yaml").read_text(), "")
    assert set(known) == {"B0329+54", "B0531+21", "B0950+08", "B1933+16"}
    assert all(isinstance(one, Ephemeris) for one in known.values())
    with pytest.raises(TableError, match=r"file:1: a\.epoch: missing"):
        parse_pulsars("a: {spin: [1.0], uncertainty: 0, dm: 1, position: [1, 2]}", "file")
