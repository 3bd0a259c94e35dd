"""The search of files that are hardly longer than the pulses that are looked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from darc.candidates.file_search import plan_search
from darc.data_files.filterbank_reader import Filterbank

sys.path.insert(0, str(Path(__file__).parents[1] / "numbers"))
from noise_files import NoiseFile, Pulsar, write

TSAMP = 64e-6


def strongest(path: Path) -> tuple[float, int]:
    """S/N and width of the strongest pulse from S/N 5 on, in samples; 0: there is none."""
    with Filterbank(path) as file:
        jobs = plan_search(
            file,
            observation="",
            dm_min=0,
            dm_max=100,
            snr_min=5,
            mask=None,
            clip=(3.25, 3),
            isolated=True,
        )
    best = (0.0, 0)
    for job in jobs:
        found = job.run()
        for one in [] if found is None else found:
            best = max(best, (float(one["snr"]), int(one["downsampling"])))
    return best


@pytest.mark.parametrize("length", [0.02, 0.05, 0.1])
def test_noise_of_a_twentieth_of_a_second_is_noise(length: float, tmp_path: Path) -> None:
    for seed in range(3):
        path = tmp_path / f"{seed}.fil"
        write(NoiseFile(seed, "white", int(length / TSAMP), 16, TSAMP, 1250.0, 1550.0, 8), path)
        snr, width = strongest(path)
        assert snr < 6.5, width


def test_a_pulse_in_a_tenth_of_a_second_has_its_sn(tmp_path: Path) -> None:
    what = NoiseFile(1, "white", 1600, 16, TSAMP, 1250.0, 1550.0, 8)
    path = tmp_path / "pulse.fil"
    # One turn is the whole file. A boxcar has 0.94 of the matched filter, cleaning takes some more,
    # and noise changes it by 1.
    write(what, path, Pulsar(what.length, 20.0, 0.004, 20.0))
    snr, width = strongest(path)
    assert 0.75 * 20 < snr < 1.05 * 20 + 1
    assert width == pytest.approx(2.8 * 0.004 * 1600, rel=0.5)
