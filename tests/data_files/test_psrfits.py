"""PSRFITS: the values of its definition, by a plain oracle, and astropy writes the files."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psrfits_files import data_begin, values, write_psrfits

from darc.data_files import beams, psrfits_layout
from darc.data_files.data_source import source_of
from darc.data_files.filterbank_reader import Filterbank
from darc.data_files.fits_header import read_at
from darc.data_files.open_data_file import open_data_file

N_CHANNELS = 16


def codes(n_bits: int, shape: tuple[int, int, int, int] = (3, 20, 1, N_CHANNELS)) -> np.ndarray:
    return np.random.default_rng(n_bits).integers(0, 2**n_bits, shape)


@st.composite
def made_files(draw):
    """Codes, and what else a file says of them."""
    n_bits = draw(st.sampled_from([1, 2, 4, 8, 16]))
    n_pols = draw(st.sampled_from([1, 2, 4]))
    n_channels = draw(st.sampled_from([8, 9, 13, 16, 24]))
    if n_channels * n_pols * n_bits % 8:
        n_channels = 8
    n_rows = draw(st.integers(1, 3))
    # A row is of whole bytes of packed time samples, too, as TDIM has it.
    n_samples = 8 * draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (n_rows, n_pols, n_channels)
    plain = draw(st.booleans())
    weights = rng.choice([0.0, 1.0], (n_rows, n_channels))
    keys = {
        "n_bits": n_bits,
        "weights": weights if plain else weights * rng.uniform(0.1, 2, weights.shape),
        "scales": 1.0 if plain else rng.uniform(-3, 1000, shape),
        "offsets": 0.0 if plain else rng.uniform(-1e4, 1e4, shape),
        "frequencies": 1400.0 + draw(st.sampled_from([-1.0, 0.5])) * np.arange(n_channels),
        "subint": {
            "SIGNINT": draw(st.integers(0, 1)),
            "ZERO_OFF": 0.0 if plain else draw(st.sampled_from([0.0, 0.5, 7.5, 128.0])),
            "POL_TYPE": {1: "AA+BB", 2: "AABB", 4: draw(st.sampled_from(["IQUV", "AABBCRCI"]))}[
                n_pols
            ],
        },
    }
    return rng.integers(0, 2**n_bits, (n_rows, n_samples, n_pols, n_channels)), keys


@given(made_files(), st.data())
def test_values_are_those_of_the_definition(made, data):
    raw, keys = made
    with TemporaryDirectory() as directory:
        path = write_psrfits(Path(directory) / "a.sf", raw, **keys)
        truth = values(path)
        adds = (0, 1) if keys["subint"]["POL_TYPE"].startswith("AABB") else (0,)
        with open_data_file(path) as file:
            assert file.ifs == adds
            assert file.n_samples() == len(truth)
            start = data.draw(st.integers(0, len(truth) - 1))
            count = data.draw(st.integers(1, len(truth) - start))
            first = data.draw(st.integers(0, raw.shape[3] - 1))
            end = data.draw(st.integers(first + 1, raw.shape[3]))
            found = file.read(start, count, channels=(first, end))
            assert found.dtype == file.dtype
            part = truth[start : start + count, :, first:end]
            # Rounded as float32 are: to the largest number on the way.
            close = {"rtol": 0, "atol": 1e-6 * max(1.0, np.abs(truth).max(), 1e4 * 2, 1e6 * 0.1)}
            if file.dtype.kind != "f":
                close["atol"] = 0
            np.testing.assert_allclose(found, part[:, list(adds)].sum(axis=1), **close)
            # Scales of channels that have no weight in any row do not count.
            needs_no_scaling = isinstance(keys["scales"], float) or not keys["weights"].any()
            assert (file.dtype.kind != "f") == needs_no_scaling
            assert (file.band.frequencies == np.sort(keys["frequencies"])).all()
            assert file.header.descending == (keys["frequencies"][0] > keys["frequencies"][1])
        number = data.draw(st.integers(0, raw.shape[2] - 1))
        with open_data_file(path, (number,)) as file:
            one = file.read(start, count, channels=(first, end))
            np.testing.assert_allclose(one, part[:, number], **close)


def test_the_header_in_the_terms_of_sigproc(tmp_path):
    path = write_psrfits(tmp_path / "a.sf", codes(8), subint={"NSUBOFFS": 5}, history=True)
    with open_data_file(path) as file:
        header = file.header
        assert (header.nchans, header.nbits, header.tsamp, header.nifs) == (N_CHANNELS, 8, 1e-3, 1)
        assert (header.fch1, header.foff) == (1500.0, -1.0)
        assert (header.source_name, header.src_raj, header.src_dej) == (
            "J0534+2200",
            53431.9,
            -220052.0,
        )
        assert (header.telescope, header.telescope_id) == ("Parkes", 4)
        # 5 sub-integrations of 20 samples before: 0.1 s.
        start = (58543 - 40587) * 86400 + 28543 + 0.3605 + 0.1
        assert header.arrival_reference.start == pytest.approx(start, abs=1e-6)
        assert header.tstart == pytest.approx(start / 86400 + 40587, abs=1e-11)
        assert file.highest == 255
        assert file.remarks() == []


def test_the_position_of_an_antenna_that_no_table_has(tmp_path):
    place = {"ANT_X": -1601185.63, "ANT_Y": -5041978.15, "ANT_Z": 3554876.43, "TELESCOP": "mine"}
    with open_data_file(write_psrfits(tmp_path / "a.sf", codes(8), primary=place)) as file:
        assert file.header.position == (-1601185.63, -5041978.15, 3554876.43)
        assert file.header.telescope == "mine"
    for nowhere in (0.0, 1e8):
        place |= {"ANT_X": nowhere, "ANT_Y": nowhere, "ANT_Z": nowhere}
        with open_data_file(write_psrfits(tmp_path / "a.sf", codes(8), primary=place)) as file:
            assert file.header.position is None


@pytest.mark.parametrize(
    "dimensions", ["", "(16,1,10)", "( 16, 1, 10 )", "(8,1,20)", "(16,1,20)", "(1,16,1,10)"]
)
def test_shapes_of_packed_data_as_they_are_told(tmp_path, dimensions):
    path = tmp_path / "a.sf"
    raw = codes(4)
    write_psrfits(path, raw, n_bits=4, dimensions="")
    if dimensions:
        content = path.read_bytes()
        card = f"TDIM7   = '{dimensions}'".ljust(80).encode()
        path.write_bytes(content.replace(b"ZERO_OFF=                  0.0".ljust(80), card))
        assert path.read_bytes() != content
    with open_data_file(path) as file:
        assert (file.read(0, 60) == raw.reshape(60, N_CHANNELS)).all()


def test_unsigned_and_signed_integers_of_fits(tmp_path):
    """TZERO is how FITS has unsigned integers of 16 bits, and signed ones of 8."""
    raw = codes(16)
    path = write_psrfits(tmp_path / "a.sf", raw, n_bits=16, subint={"TZERO7": 32768})
    with open_data_file(path) as file:
        stored = raw.astype(np.uint16).view(np.int16).astype(int).reshape(60, N_CHANNELS)
        assert file.dtype == np.uint16
        assert (file.read(0, 60) == stored + 32768).all()
    path = write_psrfits(tmp_path / "b.sf", codes(8), subint={"TZERO7": -128})
    with open_data_file(path) as file:
        assert file.dtype == np.int8
        assert (file.read(0, 60) == codes(8).reshape(60, N_CHANNELS) - 128).all()
    path = write_psrfits(tmp_path / "c.sf", raw, n_bits=16, subint={"SIGNINT": None})
    with open_data_file(path) as file:  # a column of type I has signed integers
        assert (file.read(0, 60) == stored).all()


def test_missing_samples_are_nan(tmp_path):
    raw = codes(8)
    raw[1, 3, 0, 5] = 77
    path = write_psrfits(tmp_path / "a.sf", raw, subint={"TNULL7": 77})
    with open_data_file(path) as file:
        found = file.read(0, 60)
    assert (np.isnan(found) == (raw.reshape(60, N_CHANNELS) == 77)).all()
    assert np.isnan(found[23, 5])


def test_scales_per_channel_alone(tmp_path):
    """As one of the real samples has them, with four polarisations."""
    raw = codes(8, (2, 20, 4, N_CHANNELS))
    path = tmp_path / "a.sf"
    write_psrfits(path, raw[:, :, :1], scales=2.0)
    single = path.read_bytes()
    assert single.count(b"NPOL    =                    1") == 1
    # Four times as many samples, in a fourth of the sub-integrations' length.
    changed = single.replace(b"NPOL    =                    1", b"NPOL    =                    4")
    changed = changed.replace(b"NSBLK   =                   20", b"NSBLK   =                    5")
    changed = changed.replace(b"AA+BB   '", b"IQUV    '")
    changed = changed.replace(b"(16,1,20)", b"(16,4,5) ")
    path.write_bytes(changed)
    with open_data_file(path, (3,)) as file:
        expected = 2.0 * raw[:, :, 0].reshape(10, 4, N_CHANNELS)
        assert (file.read(0, 10) == expected[:, 3]).all()


def test_ifs_that_are_asked_for(tmp_path):
    raw = codes(8, (2, 20, 4, N_CHANNELS))
    path = write_psrfits(tmp_path / "a.sf", raw)
    with open_data_file(path, (1, 3)) as file:
        found = file.read(0, 40)
    assert (found == raw[:, :, [1, 3]].sum(axis=2).reshape(40, N_CHANNELS)).all()
    with pytest.raises(ValueError, match=r"a\.sf: no IF 5; there are 4"):
        open_data_file(path, (4,))


def test_channels_divided_by_their_scale(tmp_path):
    """As the first row has it in which they have a weight."""
    raw = codes(8, (3, 20, 2, N_CHANNELS))
    scales = np.random.default_rng(1).uniform(1, 1000, (3, 2, N_CHANNELS))
    weights = np.ones((3, N_CHANNELS))
    weights[0, 5], weights[:, 6] = 0.0, 0.0
    path = write_psrfits(tmp_path / "a.sf", raw, scales=scales, weights=weights)
    truth = values(path).sum(axis=1)
    gains = np.sqrt(np.sum(scales[0] ** 2, axis=0))
    gains[5], gains[6] = np.sqrt(np.sum(scales[1, :, 5] ** 2)), 1.0
    with open_data_file(path) as file:
        found = file.read_equalised(3, 50)
        np.testing.assert_allclose(found, truth[3:53] / gains, rtol=1e-5)
        part = file.read_equalised(3, 50, channels=(4, 9))
        np.testing.assert_allclose(part, found[:, 4:9], rtol=1e-6)
    path = write_psrfits(tmp_path / "b.sf", raw)
    with open_data_file(path) as file:
        assert (file.read_equalised(3, 50) == file.read(3, 50)).all()


def scaled_by_row(n_rows: int) -> dict[str, np.ndarray]:
    """Scales of a receiver that sets them again for each row, and weights that come and go."""
    rng = np.random.default_rng(2)
    scales = rng.uniform(1, 1000, (n_rows, 1, N_CHANNELS))
    weights = np.where(rng.uniform(size=(n_rows, N_CHANNELS)) < 0.6, 1.0, 0.0)
    weights[:, 3], weights[: n_rows - 1, 4], weights[n_rows - 1, 4] = 0.0, 0.0, 0.5
    scales[0, 0, 5], weights[0, 5] = np.nan, 0.0
    return {"scales": scales, "weights": weights}


def first_gains(scales: np.ndarray, weights: np.ndarray) -> np.ndarray:
    gains = np.ones(N_CHANNELS)
    for channel in range(N_CHANNELS):
        there = np.flatnonzero(weights[:, channel])
        if len(there):
            gains[channel] = scales[there[0], 0, channel] * weights[there[0], channel]
    return gains


@pytest.mark.parametrize("n_files", [1, 3])
@pytest.mark.parametrize("length", [7, 20, 55])
def test_divided_by_the_same_scale_whatever_is_read(tmp_path, n_files, length):
    raw, per_row = codes(8, (6, 20, 1, N_CHANNELS)), scaled_by_row(6)
    rows = np.array_split(np.arange(6), n_files)
    paths = [
        write_psrfits(
            tmp_path / f"a_{some[0]}.sf",
            raw[some],
            **{name: values_of[some] for name, values_of in per_row.items()},
            subint={"NSUBOFFS": int(some[0])},
        )
        for some in rows
    ]
    truth = np.concatenate([values(path).sum(axis=1) for path in paths]) / first_gains(**per_row)
    for begin in (0, 20, 45, 60):
        with open_data_file(source_of(paths)) as file:  # none has been read before
            found = file.read_equalised(begin, length)
            np.testing.assert_allclose(found, truth[begin : begin + length], rtol=1e-5)
            part = file.read_equalised(5, 20, channels=(2, 7))
            np.testing.assert_allclose(part, truth[5:25, 2:7], rtol=1e-5)


def test_a_synthesised_beam_is_divided_alike_in_all_its_blocks(tmp_path, monkeypatch):
    raw, per_row = codes(8, (6, 20, 1, N_CHANNELS)), scaled_by_row(6)
    paths = [write_psrfits(tmp_path / f"{name}.sf", raw, **per_row) for name in "ab"]
    truth = values(paths[0]).sum(axis=1) / first_gains(**per_row)
    monkeypatch.setattr(beams, "MAPPED_BYTES", 7 * N_CHANNELS)
    with beams.CompoundBeam(paths) as beam:
        found = beam.read_synthesised(np.array([0, 1]), 30, 80)
    np.testing.assert_allclose(found, truth[30:110], rtol=1e-5)


# -- a file that grows -----------------------------------------------------------------------------


@pytest.mark.parametrize("naxis2", [0, 1, 3, 100])
def test_what_is_on_disk_counts_whatever_naxis2_says(tmp_path, naxis2):
    raw = codes(8, (3, 400, 1, N_CHANNELS))
    path = write_psrfits(tmp_path / "a.sf", raw)
    begin, row = data_begin(path)
    content = path.read_bytes().replace(
        b"NAXIS2  =                    3", b"NAXIS2  = %20d" % naxis2
    )
    for there in (begin + row, begin + 2 * row + 100, begin + 3 * row, len(content)):
        path.write_bytes(content[:there])
        with open_data_file(path) as file:
            n_rows = min(3, (there - begin) // row)
            assert file.n_samples() == 400 * n_rows
            assert (file.read(0, 400 * n_rows) == raw.reshape(-1, N_CHANNELS)[: 400 * n_rows]).all()


def test_rows_that_come_while_the_file_is_open(tmp_path):
    raw = codes(8, (3, 400, 1, N_CHANNELS))
    path = write_psrfits(tmp_path / "a.sf", raw)
    begin, row = data_begin(path)
    content = path.read_bytes()
    path.write_bytes(
        content[: begin + row].replace(
            b"NAXIS2  =                    3", b"NAXIS2  =                    1"
        )
    )
    with open_data_file(path) as file:
        assert file.n_samples() == 400
        with path.open("ab") as more:
            more.write(content[begin + row : begin + 2 * row + 5])
            more.flush()
            assert file.n_samples() == 800
            with pytest.raises(ValueError, match="no 801 samples from sample 0; there are 800"):
                file.read(0, 801)
            more.write(content[begin + 2 * row + 5 :])
        assert file.n_samples() == 1200
        assert (file.read(0, 1200) == raw.reshape(-1, N_CHANNELS)).all()


def test_another_table_behind_is_no_row(tmp_path):
    from astropy.io import fits  # noqa: PLC0415

    path = write_psrfits(tmp_path / "a.sf", codes(1), n_bits=1)  # rows of 264 bytes
    begin, row = data_begin(path)
    assert row < 400
    assert path.stat().st_size - begin == 2880
    with fits.open(path, mode="append") as file:
        column = fits.Column("X", "5000B", array=np.ones((3, 5000), np.uint8))
        file.append(fits.BinTableHDU.from_columns([column], name="MORE"))
    with open_data_file(path) as file:
        assert file.n_samples() == 60


def test_rows_that_are_only_allocated_are_not_there(tmp_path):
    path = write_psrfits(tmp_path / "a.sf", codes(8, (3, 400, 1, N_CHANNELS)))
    begin, row = data_begin(path)
    content = bytearray(path.read_bytes())
    content[begin + row : begin + 3 * row] = bytes(2 * row)
    path.write_bytes(content)
    with open_data_file(path) as file:
        assert file.n_samples() == 400


@given(looks=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 200)), min_size=1, max_size=8))
def test_rows_in_an_allocated_file_are_counted_at_each_look(looks):
    """Also where another file, with fewer rows, has taken its place."""
    with TemporaryDirectory() as directory:
        path = write_psrfits(Path(directory) / "a.sf", codes(8, (40, 8, 1, N_CHANNELS)))
        begin, row = data_begin(path)
        content = path.read_bytes()
        path.write_bytes(content[: begin + row] + bytes(row))
        with open_data_file(path) as file:
            for n_rows, n_more in looks:
                path.write_bytes(content[: begin + n_rows * row] + bytes(n_more * row))
                assert file.n_samples() == 8 * n_rows


def test_an_allocated_file_is_not_walked_through(tmp_path, monkeypatch):
    path = write_psrfits(tmp_path / "a.sf", codes(8, (40, 8, 1, N_CHANNELS)))
    begin, row = data_begin(path)
    content = path.read_bytes()
    path.write_bytes(content[: begin + 20 * row])
    os.truncate(path, begin + 100_000 * row)
    looks = []

    def counted(*words: int) -> bytes:
        looks.append(words)
        return read_at(*words)

    monkeypatch.setattr(psrfits_layout, "read_at", counted)
    with open_data_file(path) as file:
        assert len(looks) < 100
        for n_rows in (20, 21, 40):
            with path.open("r+b") as more:
                more.write(content[: begin + n_rows * row])
            looks.clear()
            assert file.n_samples() == 8 * n_rows
            assert len(looks) < 16


def test_a_row_that_is_cut_is_told(tmp_path):
    path = write_psrfits(tmp_path / "a.sf", codes(8, (3, 400, 1, N_CHANNELS)))
    begin, row = data_begin(path)
    path.write_bytes(path.read_bytes()[: begin + 2 * row + 11])
    with open_data_file(path) as file:
        assert file.n_samples() == 800
        assert file.remarks() == [
            f"row 3 has 11 of {row} bytes: it is cut short, and the rows before are used"
        ]


def test_a_file_that_becomes_shorter_is_an_error_and_not_the_end(tmp_path):
    path = write_psrfits(tmp_path / "a.sf", codes(8, (3, 400, 1, N_CHANNELS)), scales=2.0)
    with open_data_file(path) as file:
        there = file.n_samples()
        file.n_samples = lambda: there  # as it was when it was asked
        begin, row = data_begin(path)
        with path.open("r+b") as other:
            other.truncate(begin + row + 1000)
        with pytest.raises(ValueError, match="row 2: the file has become shorter"):
            file.read(0, there)
        with path.open("r+b") as other:
            other.truncate(begin + row)
        with pytest.raises(ValueError, match="row 2: the file has become shorter"):
            file.read(0, there)


def test_rows_that_are_scaled_after_all(tmp_path):
    raw = codes(8, (2, 400, 1, N_CHANNELS))
    scales = np.ones((2, 1, N_CHANNELS))
    scales[1, 0, 3] = 2.5
    path = write_psrfits(tmp_path / "a.sf", raw, scales=scales)
    with open_data_file(path) as file:
        assert file.dtype == np.float32
        expected = (raw * scales[:, np.newaxis]).reshape(-1, N_CHANNELS)
        assert (file.read(0, 800) == expected).all()
    begin, row = data_begin(path)
    content = path.read_bytes()
    path.write_bytes(content[: begin + row])
    with open_data_file(path) as file:
        assert file.dtype == np.uint8
        path.write_bytes(content)
        assert file.n_samples() == 800
        with pytest.raises(ValueError, match=r"row 2: DAT_SCL, .*; open it again"):
            file.read(0, 800)


def test_gaps_between_rows_are_told(tmp_path):
    path = write_psrfits(tmp_path / "a.sf", codes(8))
    begin, row = data_begin(path)
    content = bytearray(path.read_bytes())
    place = begin + 2 * row + 8
    content[place : place + 8] = np.array([0.350], ">f8").tobytes()
    path.write_bytes(content)
    with open_data_file(path) as file:
        (said,) = file.remarks()
    assert said.startswith("row 3 starts +0.3 s from the end of row 2 (OFFS_SUB): 1 such gaps")


# -- real files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "ifs"),
    [
        ("parkes_4bit.sf", (4096, 416), (0, 1)),
        ("small.fits", (789, 336), (0,)),
        ("test_4pol.fits", (200, 512), (0,)),
    ],
)
def test_files_of_telescopes(shared_data, name, shape, ifs):
    path = shared_data / "psrfits" / name
    with open_data_file(path) as file:
        assert file.ifs == ifs
        found = file.read(0, file.n_samples())
        assert file.header.descending
        assert file.remarks() == []
    assert found.shape == shape
    if name != "test_4pol.fits":  # its scales are per channel alone
        truth = values(path)[:, list(ifs)].sum(axis=1)
        np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-6 * np.abs(truth).max())


def test_a_filterbank_is_one_whatever_its_name(tmp_path, shared_data):
    content = (shared_data / "filterbank" / "tutorial.fil").read_bytes()
    (tmp_path / "a.fits").write_bytes(content)
    with open_data_file(tmp_path / "a.fits") as file:
        assert isinstance(file, Filterbank)
