"""Another oracle that is not ours: sigpyproc reads the files, and measures them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cells import INSTRUMENTS, KINDS
from oracle import Scene, read

pytest.importorskip("sigpyproc", reason="sigpyproc is not here; it needs Python 3.12")

from sigpyproc.core.filters import MatchedFilter
from sigpyproc.readers import FilReader

NAMES = ("64 channels 400-800", "ASKAP-like, 336 channels", "4-8 GHz, 256 channels")
FEW_BITS = ("4 bits, 128 channels", "2 bits, 96 channels", "1 bit, 512 channels")


@pytest.mark.parametrize("name", [*NAMES, *FEW_BITS])
def test_it_reads_what_was_written(name: str, tmp_path: Path) -> None:
    instrument = INSTRUMENTS[name]
    scene = Scene(instrument, KINDS["flat"].components, 3, seed=1)
    scene.write(tmp_path / "x.fil", 20.0)
    theirs = FilReader(str(tmp_path / "x.fil"))
    assert theirs.header.nchans == instrument.nchans
    assert theirs.header.nbits == instrument.nbits
    assert theirs.header.tsamp == instrument.tsamp
    block = np.asarray(theirs.read_block(0, 512).data)
    rows = scene.rows[:, :512]
    assert (block == (rows[::-1] if instrument.descending else rows)).all()
    assert (block == read(tmp_path / "x.fil")[1][:512, 0].T).all()


@pytest.mark.parametrize("name", [*NAMES, *FEW_BITS])
@pytest.mark.parametrize("width", [3, 30])
def test_it_measures_what_is_there(name: str, width: int, tmp_path: Path) -> None:
    instrument = INSTRUMENTS[name]
    scene = Scene(instrument, KINDS["flat"].components, width, seed=1)
    for asked in (15.0, 40.0):
        truth = scene.write(tmp_path / "x.fil", asked)
        series = FilReader(str(tmp_path / "x.fil")).dedisperse(instrument.dm)
        found = MatchedFilter(
            np.asarray(series.data), nbins_max=4 * truth.width, spacing_factor=1.1
        )
        # The first sample of the sum is that of the highest channel's centre.
        first = instrument.delays(instrument.dm)[-1]
        begin, end = found.on_pulse
        assert (begin + end) / 2 - first == pytest.approx(truth.centre, abs=2 + truth.width / 2)
        boxcar = truth.boxcar + truth.seen - truth.matched
        assert found.snr == pytest.approx(boxcar, rel=0.06, abs=1.0)
