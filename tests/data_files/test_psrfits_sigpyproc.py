"""PSRFITS beside another reader that is not ours: sigpyproc, which needs Python 3.12."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from psrfits_files import write_psrfits

from darc.data_files.open_data_file import open_data_file

pytest.importorskip("sigpyproc", reason="sigpyproc is not here; it needs Python 3.12")

from sigpyproc.readers import PFITSReader

#: Keys that it needs.
HEADER = {
    "ANT_X": -4554231.6,
    "ANT_Y": 2816759.1,
    "ANT_Z": -3454036.1,
    "FRONTEND": "UWL",
    "NRCVR": 2,
    "FD_POLN": "LIN",
    "FD_HAND": -1,
    "FD_SANG": 0.0,
    "FD_XYPH": 0.0,
    "FD_MODE": "FA",
    "FA_REQ": 0.0,
    "BACKEND": "Medusa",
    "BECONFIG": "Medusa",
    "BE_PHASE": 1,
    "BE_DCC": 1,
    "BE_DELAY": 0.0,
    "TCYCLE": 0.0,
    "OBSFREQ": 1492.5,
    "OBSBW": -16.0,
    "OBSNCHAN": 16,
    "CHAN_DM": 0.0,
    "DATE-OBS": "2019-03-01T07:55:43",
}


def check(path: Path) -> None:
    theirs = PFITSReader(str(path))
    expected = np.asarray(theirs.read_block(0, theirs.header.nsamples).data).T
    with open_data_file(path) as file:
        found = file.read(0, file.n_samples())
        assert theirs.header.nchans == file.header.nchans
        assert theirs.header.fch1 == pytest.approx(file.header.fch1)
        assert theirs.header.foff == pytest.approx(file.header.foff)
        assert theirs.header.tsamp == pytest.approx(file.header.tsamp)
        assert theirs.header.tstart == pytest.approx(file.header.tstart, abs=1e-10)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["parkes_4bit.sf", "small.fits"])
def test_files_of_telescopes_as_it_reads_them(shared_data: Path, name: str) -> None:
    check(shared_data / "psrfits" / name)


@pytest.mark.parametrize("n_pols", [1, 2, 4])
@pytest.mark.parametrize(("n_bits", "signed"), [(1, 0), (4, 0), (8, 0), (8, 1), (16, 1)])
def test_written_files_as_it_reads_them(
    tmp_path: Path, n_bits: int, n_pols: int, signed: int
) -> None:
    """Not of 2 bits, to which it gives the levels of a sampler instead of 0 to 3.

    Of signed samples it knows those of 8 bits; those of 16 are signed for it in any case.
    """
    rng = np.random.default_rng(n_bits)
    shape = (3, n_pols, 16)
    path = write_psrfits(
        tmp_path / "a.sf",
        rng.integers(0, 2**n_bits, (3, 32, n_pols, 16)),
        n_bits=n_bits,
        scales=rng.uniform(0.5, 100, shape),
        offsets=rng.uniform(-100, 100, shape),
        primary=HEADER,
        weights=rng.choice([0.0, 0.5, 1.0], (3, 16)),
        subint={
            "SIGNINT": signed,
            "ZERO_OFF": 0.0 if n_bits == 16 else 0.5,  # which it does not subtract there
            "POL_TYPE": {1: "AA+BB", 2: "AABB", 4: "IQUV"}[n_pols],
        },
    )
    check(path)
