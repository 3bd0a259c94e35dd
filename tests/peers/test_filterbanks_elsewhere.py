"""Filterbanks that DARC writes, opened by `your`, blimpy and sigpyproc, and by PRESTO's rules.

What is not installed is skipped: `make peers` has them all.
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from peer_rules import NEEDED, PrestoError, read_as_presto

from darc.data_files.filterbank_header import FilterbankError, FilterbankHeader
from darc.data_files.filterbank_reader import Filterbank
from darc.data_files.filterbank_writer import FilterbankWriter
from darc.runtime.paths import packaged
from simulator import make_samples

#: As little as DARC itself needs.
LEAST = FilterbankHeader(nchans=32, nbits=8, tsamp=1e-3, fch1=1500.0, foff=-4.0)
FULL = replace(
    LEAST,
    tstart=58621.5,
    source_name="B0531+21",
    rawdatafile="x.ar",
    src_raj=53431.97,
    src_dej=220052.1,
    telescope_id=4,
    machine_id=10,
    data_type=1,
    az_start=12.5,
    za_start=30.0,
    nbeams=13,
    ibeam=3,
    barycentric=0,
    pulsarcentric=0,
    refdm=0.0,
)
HEADERS = {
    "least": LEAST,
    "full": FULL,
    "16 bits": replace(LEAST, nbits=16),
    "32 bits": replace(LEAST, nbits=32),
    "ascending": replace(LEAST, fch1=1376.0, foff=4.0),
    "no names": replace(LEAST, source_name="", rawdatafile="", signed=0, period=0.0, nbins=0),
}
#: A burst in the middle of the band's channels, at other times the lower they are.
TIME, LATER, HEIGHT = 200, 3, 90


def written(path: Path, header: FilterbankHeader, n: int = 500) -> np.ndarray:
    """Write a file with a bright pixel in each channel; return its samples."""
    data = np.random.default_rng(1).integers(
        0, min(2 ** min(header.nbits, 6), 40), (n, header.nchans)
    )
    for channel in range(header.nchans):
        data[TIME + LATER * channel, channel] = min(HEIGHT, 2 ** min(header.nbits, 16) - 1)
    with FilterbankWriter(path, header) as file:
        file.append(data)
    return data


class Opened:
    """What a program makes of a file: samples in the file's order, and numbers of the header."""

    def __init__(self, data: Any, **numbers: float) -> None:
        self.data = np.asarray(data)
        self.numbers = numbers


def by_your(path: Path) -> Opened:
    your = pytest.importorskip("your", reason="your is not installed (extra test)")
    opened = your.Your(str(path))
    header = opened.your_header
    return Opened(
        opened.get_data(0, int(header.nspectra)),
        nchans=header.nchans,
        nbits=header.native_nbits,
        tsamp=header.tsamp,
        fch1=header.fch1,
        foff=header.foff,
        tstart=header.tstart,
    )


def by_blimpy(path: Path) -> Opened:
    blimpy = pytest.importorskip("blimpy", reason="blimpy is not installed: make peers")
    opened = blimpy.Waterfall(str(path))
    names = ("nchans", "nbits", "tsamp", "fch1", "foff", "tstart")
    return Opened(opened.data[:, 0], **{name: opened.header[name] for name in names})


def by_sigpyproc(path: Path) -> Opened:
    readers = pytest.importorskip(
        "sigpyproc.readers", reason="sigpyproc is not installed; it needs Python 3.12: make peers"
    )
    importlib.import_module("astropy.utils.data").conf.allow_internet = False
    opened = readers.FilReader(str(path))
    names = ("nchans", "nbits", "tsamp", "fch1", "foff", "tstart")
    data = np.asarray(opened.read_block(0, opened.header.nsamples).data).T
    return Opened(data, **{name: getattr(opened.header, name) for name in names})


PROGRAMS: dict[str, Callable[[Path], Opened]] = {
    "your": by_your,
    "blimpy": by_blimpy,
    "sigpyproc": by_sigpyproc,
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("kind", HEADERS)
def test_it_is_opened_and_the_burst_is_where_it_was_written(
    program: str, kind: str, tmp_path: Path
) -> None:
    header, path = HEADERS[kind], tmp_path / "x.fil"
    data = written(path, header)
    opened = PROGRAMS[program](path)
    channels = np.arange(header.nchans)
    assert opened.data.shape == data.shape
    assert (opened.data == data).all()
    assert (opened.data.argmax(axis=0) == TIME + LATER * channels).all()
    said = {name: getattr(header, name) or 0.0 for name in opened.numbers}
    assert opened.numbers == pytest.approx(said)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_sample_of_darc_is_opened(program: str) -> None:
    path = packaged("conf/samples") / make_samples.FILTERBANK
    opened = PROGRAMS[program](path)
    with Filterbank(path) as file:
        assert (opened.data == file.read(0, file.n_samples())).all()


@pytest.mark.parametrize("nbits", [1, 2, 4])
def test_few_bits_are_opened_by_sigpyproc(nbits: int, tmp_path: Path) -> None:
    data = written(tmp_path / "x.fil", replace(LEAST, nbits=nbits))
    assert (by_sigpyproc(tmp_path / "x.fil").data == data).all()


@pytest.mark.parametrize("program", ["your", "blimpy"])
@pytest.mark.parametrize(
    "header", [replace(LEAST, nbits=4), replace(LEAST, signed=1)], ids=["4 bits", "signed"]
)
def test_what_they_do_not_know_is_refused_by_them(
    program: str, header: FilterbankHeader, tmp_path: Path
) -> None:
    """The table of docs/peers.md says so; where this fails, it can say more."""
    written(tmp_path / "x.fil", header)
    with pytest.raises((RuntimeError, ValueError, KeyError, struct.error)):
        PROGRAMS[program](tmp_path / "x.fil")


@pytest.mark.parametrize("program", ["blimpy", "your"])
def test_ifs_are_opened(program: str, tmp_path: Path) -> None:
    data = np.random.default_rng(1).integers(0, 256, (100, 4, LEAST.nchans))
    with FilterbankWriter(tmp_path / "x.fil", replace(LEAST, nifs=4)) as file:
        file.append(data)
    assert (PROGRAMS[program](tmp_path / "x.fil").data == data[:, 0]).all()


def test_signed_samples_are_opened_by_sigpyproc(tmp_path: Path) -> None:
    data = np.random.default_rng(1).integers(-128, 128, (100, LEAST.nchans))
    with FilterbankWriter(tmp_path / "x.fil", replace(LEAST, signed=1)) as file:
        file.append(data)
    assert (by_sigpyproc(tmp_path / "x.fil").data == data).all()


@pytest.mark.parametrize("kind", [name for name in HEADERS if name != "ascending"])
def test_presto_knows_every_key_and_has_all_that_it_needs(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.fil"
    data = written(path, HEADERS[kind])
    found, size = read_as_presto(path.read_bytes())
    assert found.keys() >= NEEDED
    assert path.stat().st_size - size == data.size * HEADERS[kind].nbits // 8
    assert found["fch1"] == 1500.0
    assert found["foff"] == -4.0


def test_presto_ends_at_what_earlier_versions_wrote(tmp_path: Path) -> None:
    written(tmp_path / "x.fil", replace(LEAST, signed=1))
    with pytest.raises(PrestoError, match="signed"):
        read_as_presto((tmp_path / "x.fil").read_bytes())


@pytest.mark.parametrize("key", ["source_name", "rawdatafile"])
def test_a_text_that_others_cannot_read_is_refused(key: str, tmp_path: Path) -> None:
    with FilterbankWriter(tmp_path / "x.fil", replace(LEAST, **{key: "x" * 79})):
        pass
    assert read_as_presto((tmp_path / "x.fil").read_bytes())[0][key] == "x" * 79
    with pytest.raises(FilterbankError, match=f"{key}: 80 bytes; allowed: up to 79"):
        FilterbankWriter(tmp_path / "y.fil", replace(LEAST, **{key: "x" * 80}))
    assert not (tmp_path / "y.fil").exists()
