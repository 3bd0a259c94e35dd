"""Files: what was written is read, any part of it, while they grow."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from darc.data_files.filterbank_header import (
    FilterbankError,
    FilterbankHeader,
    IncompleteHeaderError,
    format_header,
)
from darc.data_files.filterbank_reader import Filterbank
from darc.data_files.filterbank_writer import FilterbankWriter, for_others

HEADER = FilterbankHeader(nchans=16, nbits=8, tsamp=1e-3, fch1=1500.0, foff=-1.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.fil"


def write(path: Path, header: FilterbankHeader, samples: np.ndarray) -> None:
    with FilterbankWriter(path, header) as file:
        file.append(samples)


def numbered(n: int, channels: int = 16) -> np.ndarray:
    """Samples that are all different, as far as a byte can tell."""
    return (np.arange(n * channels) % 251).reshape(n, channels).astype(np.uint8)


@st.composite
def contents(draw):
    """A header and samples for it."""
    nbits, signed = draw(
        st.sampled_from([(1, 0), (2, 0), (4, 0), (8, 0), (8, 1), (16, 0), (32, 0)])
    )
    nchans = draw(st.integers(1, 5)) * (8 // min(nbits, 8))
    nifs = draw(st.integers(1, 3))
    header = replace(
        HEADER,
        nchans=nchans,
        nbits=nbits,
        signed=signed,
        nifs=nifs,
        foff=draw(st.sampled_from([-1.0, 1.0])),
        # Headers of any length, so that samples lie at odd places.
        source_name="x" * draw(st.integers(0, 8)),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (draw(st.integers(1, 20)), nifs, nchans)
    if nbits == 32:
        samples = rng.standard_normal(shape).astype(np.float32)
        samples.flat[:: draw(st.integers(1, 50))] = draw(st.sampled_from([0, np.nan, np.inf]))
    elif signed:
        samples = rng.integers(-128, 128, shape).astype(np.int8)
    else:
        samples = rng.integers(0, 2**nbits, shape).astype(np.uint16)
    return header, samples


@given(contents(), st.data())
def test_any_part_is_read_as_written(content, data):
    header, samples = content
    n, nifs, nchans = samples.shape
    start = data.draw(st.integers(0, n - 1))
    count = data.draw(st.integers(1, n - start))
    first = data.draw(st.integers(0, nchans - 1))
    end = data.draw(st.integers(first + 1, nchans))
    if_number = data.draw(st.integers(0, nifs - 1))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a.fil"
        write(path, header, samples if nifs > 1 else samples[:, 0])
        with Filterbank(path) as file:
            assert file.header == replace(
                for_others(header), source_name=header.source_name or None
            )
            assert file.n_samples() == n
            whole = file.read(0, n)
            assert whole.dtype == file.dtype
        with Filterbank(path, (if_number,)) as file:
            part = file.read(start, count, channels=(first, end))
            assert part.dtype == file.dtype
    np.testing.assert_array_equal(
        part, samples[start : start + count, if_number, first:end], strict=False
    )
    # Two are polarisations: both are wanted. More may be anything.
    both = samples[:, 0] + samples[:, 1].astype(whole.dtype) if nifs == 2 else samples[:, 0]
    np.testing.assert_array_equal(whole, both, strict=False)


def test_the_first_channel_is_in_the_lowest_bits(path):
    write(path, replace(HEADER, nchans=4, nbits=2), np.array([[1, 0, 2, 3]]))
    assert path.read_bytes()[-1] == 0b11_10_00_01


def test_a_file_that_grows(path):
    samples = numbered(10)
    data = samples.tobytes()
    write(path, HEADER, samples[:4])
    with path.open("ab", buffering=0) as writer, Filterbank(path) as reader:
        assert reader.n_samples() == 4
        early = reader.read(2, 2)
        with pytest.raises(FilterbankError, match=r"a\.fil: no 3 samples from sample 2; there a"):
            reader.read(2, 3)
        writer.write(data[4 * 16 : 5 * 16 - 1])
        assert reader.n_samples() == 4
        writer.write(data[5 * 16 - 1 :])
        assert reader.n_samples() == 10
        assert (reader.read(0, 10) == samples).all()
        assert (early == samples[2:4]).all()


def test_what_is_appended_is_there_at_once(path):
    with FilterbankWriter(path, HEADER) as writer, Filterbank(path) as reader:
        assert reader.n_samples() == 0
        for n in (1, 2, 3):
            writer.append(numbered(1))
            assert reader.n_samples() == n


def test_a_header_that_is_still_being_written(path):
    header = format_header(HEADER)
    for size in (0, 3, 20, len(header) - 1):
        path.write_bytes(header[:size])
        with pytest.raises(IncompleteHeaderError, match=str(path)):
            Filterbank(path)
    path.write_bytes(header)
    assert Filterbank(path).n_samples() == 0


def test_bytes_are_not_copied(path):
    write(path, HEADER, numbered(10))
    with Filterbank(path) as file:
        samples = file.read(3, 4)
    assert not samples.flags.owndata
    assert not samples.flags.writeable
    assert samples.flags.c_contiguous
    with path.open("r+b") as changed:
        changed.seek(-7 * 16, 2)
        changed.write(b"\xff")
    assert samples[0, 0] == 255


def test_what_was_read_outlives_the_file(path):
    write(path, HEADER, numbered(10))
    with Filterbank(path) as file:
        samples = file.read(3, 4)
    path.unlink()
    assert (samples == numbered(10)[3:7]).all()


def test_larger_samples_are_aligned(path):
    header = replace(HEADER, nbits=32, source_name="xy")
    assert len(format_header(header)) % 4
    write(path, header, numbered(3))
    assert Filterbank(path).read(0, 3).flags.aligned


@pytest.mark.parametrize(
    ("start", "count", "more", "words"),
    [
        (-1, 2, {}, "no 2 samples from sample -1; there are 10"),
        (0, 0, {}, "no 0 samples from sample 0"),
        (10, 1, {}, "no 1 samples from sample 10"),
        (0, 11, {}, "no 11 samples from sample 0; there are 10"),
        (0, 10**15, {}, "no 1000000000000000 samples"),
        (0, 1, {"channels": (0, 17)}, "no channels 0 to 16; there are 16"),
        (0, 1, {"channels": (-1, 3)}, "no channels -1 to 2"),
        (0, 1, {"channels": (3, 3)}, "no channels 3 to 2"),
    ],
)
def test_what_is_not_there_is_named(path, start, count, more, words):
    write(path, HEADER, numbered(10))
    with pytest.raises(FilterbankError, match=rf"a\.fil: {words}"):
        Filterbank(path).read(start, count, **more)


def test_a_file_that_is_none(path):
    with pytest.raises(FileNotFoundError):
        Filterbank(path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(FilterbankError, match="not a SIGPROC file"):
        Filterbank(path)


@pytest.mark.parametrize(
    ("nbits", "signed", "samples"),
    [
        (8, 0, [[256]]),
        (8, 0, [[-1]]),
        (8, 0, [[1.5]]),
        (8, 0, [[np.nan]]),
        (8, 1, [[128]]),
        (16, 0, [[65536]]),
    ],
)
def test_a_sample_that_does_not_fit_is_not_written(path, nbits, signed, samples):
    with FilterbankWriter(path, replace(HEADER, nchans=1, nbits=nbits, signed=signed)) as file:
        size = path.stat().st_size
        with pytest.raises(FilterbankError, match=r"a\.fil: samples from .* allowed: whole numb"):
            file.append(samples)
    assert path.stat().st_size == size


def test_four_bits_hold_fifteen(path):
    with FilterbankWriter(path, replace(HEADER, nchans=2, nbits=4)) as file:
        file.append([[15, 0]])
        with pytest.raises(FilterbankError, match="from 0 to 16; allowed: whole numbers from 0 to"):
            file.append([[16, 0]])


@pytest.mark.parametrize("shape", [(16,), (3, 15), (3, 1, 16)])
def test_another_shape_is_not_written(path, shape):
    with (
        FilterbankWriter(path, HEADER) as file,
        pytest.raises(FilterbankError, match="samples of shape"),
    ):
        file.append(np.zeros(shape))


def test_a_file_is_not_overwritten(path):
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        FilterbankWriter(path, HEADER)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("parkes_8bit_1.fil", (832, 8, 4096, 4030.0, -4.0)),
        ("tutorial.fil", (64, 2, 187_520, 1510.0, -1.09)),
    ],
)
def test_real_files(shared_data, name, expected):
    with Filterbank(shared_data / "filterbank" / name) as file:
        header = file.header
        n_samples = file.n_samples()
        samples = file.read(0, n_samples)
    assert (header.nchans, header.nbits, n_samples, header.fch1, header.foff) == expected
    assert samples.shape == (n_samples, header.nchans)
    assert samples.max() <= 2**header.nbits - 1
    assert samples.std() > 0.1


def test_a_real_file_shows_its_pulsar(shared_data):
    """A simulated pulsar of 250 ms at DM 30, in 2 bits."""
    with Filterbank(shared_data / "filterbank" / "tutorial.fil") as file:
        series = file.read(0, file.n_samples()).mean(axis=1)
        phase = np.arange(len(series)) * file.header.tsamp / 0.25 % 1
    profile = np.bincount((64 * phase).astype(int), series) / np.bincount((64 * phase).astype(int))
    noise = series.std() / np.sqrt(len(series) / 64)
    assert profile.max() - np.median(profile) > 50 * noise


def test_a_time_series_is_read_where_it_is_wanted_and_elsewhere_told(tmp_path):
    header = FilterbankHeader(nchans=1, nbits=32, tsamp=1e-3, fch1=1400.0, foff=0.0, data_type=2)
    series = np.arange(10, dtype=np.float32)[:, np.newaxis]
    path = tmp_path / "a.tim"
    with FilterbankWriter(path, header) as writer:
        writer.append(series)
    with Filterbank(path, series=True) as file:
        np.testing.assert_array_equal(file.read(0, 10), series)
        assert file.band.delays([100.0]).tolist() == [[0.0]]
    with pytest.raises(FilterbankError, match=r"a time series: .* be folded"):
        Filterbank(path)


def test_ifs_that_are_not_there_are_told(tmp_path):
    header = FilterbankHeader(nchans=4, nbits=8, tsamp=1e-3, fch1=1400.0, foff=-1.0, nifs=2)
    path = tmp_path / "a.fil"
    with FilterbankWriter(path, header) as writer:
        writer.append(np.zeros((3, 2, 4), np.uint8))
    with pytest.raises(FilterbankError, match="no IF 3; there are 2"):
        Filterbank(path, (0, 2))


def test_samples_are_read_ahead_and_only_these(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, HEADER, numbered(100))
    size = HEADER.bytes_per_sample
    begin = path.stat().st_size - 100 * size
    asked, advise = [], os.posix_fadvise

    def note(descriptor: int, offset: int, length: int, advice: int) -> None:
        advise(descriptor, offset, length, advice)
        asked.append((Path(f"/proc/self/fd/{descriptor}").readlink(), offset, length, advice))

    monkeypatch.setattr(os, "posix_fadvise", note)
    with Filterbank(path) as file:
        file.read_ahead(50, 20)
        assert asked == [(path, begin + 50 * size, 20 * size, os.POSIX_FADV_WILLNEED)]
        file.read_ahead(100, 100)  # nothing is there
        assert (file.read(50, 4) == numbered(100)[50:54]).all()
