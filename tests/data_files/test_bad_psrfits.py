"""PSRFITS that contradicts itself, is cut or damaged: named, and nothing outside of it is read."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from psrfits_files import data_begin, write_psrfits

from darc.data_files.data_file_error import DataFileError, IncompleteFileError
from darc.data_files.data_source import source_of
from darc.data_files.open_data_file import open_data_file

N_CHANNELS = 16
SHAPE = (3, 20, 1, N_CHANNELS)
RAW = np.random.default_rng(1).integers(0, 256, SHAPE)
MADE: list[bytes] = []


def made() -> bytes:
    """A file of which parts are damaged."""
    if not MADE:
        with TemporaryDirectory() as directory:
            path = write_psrfits(Path(directory) / "a.sf", RAW, scales=2.0, history=True)
            MADE.append(path.read_bytes())
    return MADE[0]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("NBITS", 3, "NBITS: 3 is not allowed; allowed: one of 1, 2, 4, 8, 16"),
        ("NBITS", 4, r"DATA has 320 values of type B; NCHAN 16, NPOL 1, NSBLK 20 and NBITS 4 make"),
        ("NBITS", "many", "NBITS: 'many' is not allowed"),
        ("NSBLK", 789, r"TFORM7: DATA has 320 values of type B; .* NSBLK 789 .* make 12624 of B"),
        ("NSBLK", 0, "NSBLK: 0 is not allowed"),
        ("NSBLK", -20, "NSBLK: -20 is not allowed"),
        ("NSBLK", 20.5, "NSBLK: 20.5 is not allowed"),
        ("NSBLK", None, "NSBLK: missing"),
        ("NSBLK", "*", "NSBLK: missing"),
        ("NCHAN", 10**9, "NCHAN: 1000000000 is not allowed"),
        ("NCHAN", 8, "TFORM3: DAT_FREQ has 16 values of type D; 8 channels"),
        ("NPOL", 2, "TFORM7: DATA has 320 values of type B; NCHAN 16, NPOL 2"),
        ("NPOL", 0, "NPOL: 0 is not allowed"),
        ("TBIN", 0.0, "TBIN: 0.0 is not allowed"),
        ("TBIN", -1e-3, "TBIN: -0.001 is not allowed"),
        ("TBIN", None, "TBIN: missing"),
        ("SIGNINT", 2, "SIGNINT: 2 is not allowed"),
        ("ZERO_OFF", 1e30, r"ZERO_OFF: 1e\+30 is not allowed"),
        ("NSUBOFFS", -1, "NSUBOFFS: -1 is not allowed"),
        ("NSUBOFFS", 2**39, r"NSUBOFFS: 549755813888 rows are 1\.09951e\+10 s; allowed: up to"),
        ("TDIM7", "(16,1,21)", r"TDIM7: \(16,1,21\) of DATA; allowed: \(16,1,20\)"),
        ("TDIM7", "(20,1,16)", r"TDIM7: \(20,1,16\) of DATA"),
        ("TDIM7", "nonsense", "TDIM7: nonsense of DATA"),
        ("TZERO7", 5, "TZERO7: 5 for DATA of 8 bits is not allowed"),
        ("TSCAL7", 2, "TSCAL7: 2 for DATA is not allowed; scales are in DAT_SCL"),
        ("TSCAL6", 2, "TSCAL6: 2 for DAT_SCL is not allowed"),
        ("TNULL7", 300, "TNULL7: 300 is not allowed; allowed: a whole number from 0 to 255"),
        ("ZTABLE", True, "SUBINT is compressed: funpack it first"),
        ("PCOUNT", -1, "PCOUNT: -1 is not allowed"),
        ("TFORM1", "1Z", "TFORM1: '1Z' is not a type of FITS"),
        ("TFORM1", "2D", r"NAXIS1: 656 bytes in a row, but its columns have 664"),
        ("TTYPE1", "OFFS_SUB", "TTYPE2: OFFS_SUB is column 1, too"),
        ("NAXIS1", -5, "NAXIS1: -5 is not allowed"),
        ("NAXIS2", -1, "NAXIS2: -1 is not allowed"),
    ],
)
def test_a_value_of_the_table_that_is_not_allowed_is_named(tmp_path, key, value, words):
    path = write_psrfits(tmp_path / "a.sf", RAW)
    change_card(path, key, value)
    with pytest.raises(DataFileError, match=rf"a\.sf: .*{words}") as raised:
        open_data_file(path)
    assert str(raised.value).startswith(str(path))


def change_card(path: Path, key: str, value: object) -> None:
    """Change a card, or put a new one in place of NSUBOFFS, whatever that makes of the file."""
    content = path.read_bytes()
    name = f"{key:<8}=".encode()
    place = content.rfind(name)
    if place < 0:
        place = content.rfind(b"NSUBOFFS=")
    card = b" " * 80 if value is None else fits.Card(key, value).image.encode()
    path.write_bytes(content[:place] + card + content[place + 80 :])


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("FITSTYPE", "OTHER", "FITS, but not PSRFITS: FITSTYPE: 'OTHER'"),
        ("OBS_MODE", "PSR", "OBS_MODE: 'PSR' is not allowed: folded and calibration data have no"),
        ("OBS_MODE", "CAL", "OBS_MODE: 'CAL' is not allowed"),
        ("STT_IMJD", -3, "STT_IMJD: -3 is not allowed"),
        ("STT_SMJD", 90_000, "STT_SMJD: 90000 is not allowed"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, key, value, words):
    path = write_psrfits(tmp_path / "a.sf", RAW, primary={key: value})
    with pytest.raises(DataFileError, match=rf"a\.sf: .*{words}"):
        open_data_file(path)


@pytest.mark.parametrize("column", ["DAT_FREQ", "DAT_WTS", "DAT_OFFS", "DAT_SCL", "DATA"])
def test_a_column_that_is_missing_is_named(tmp_path, column):
    path = write_psrfits(tmp_path / "a.sf", RAW, without=(column,))
    with pytest.raises(DataFileError, match=rf"a\.sf: SUBINT has no column {column}$"):
        open_data_file(path)


@pytest.mark.parametrize("pol_type", ["AABB", "AABBCRCI", "IQUV", "ABBA", ""])
def test_of_a_single_polarisation_that_one_is_used_whatever_it_is_called(tmp_path, pol_type):
    path = write_psrfits(tmp_path / "a.sf", RAW, subint={"POL_TYPE": pol_type})
    for ifs in (None, (0,)):
        with open_data_file(path, ifs) as file:
            assert (file.read(0, 60) == RAW.reshape(60, N_CHANNELS)).all()


@pytest.mark.parametrize("pol_type", ["", "ABBA", "AABB"])
def test_polarisations_that_nobody_knows_have_to_be_named(tmp_path, pol_type):
    raw = np.repeat(RAW, 4, axis=2)
    path = write_psrfits(tmp_path / "a.sf", raw, subint={"POL_TYPE": pol_type})
    words = f"POL_TYPE: {pol_type or 'missing'} of 4 polarisations is unknown; --ifs names those"
    with pytest.raises(DataFileError, match=rf"a\.sf: {words}"):
        open_data_file(path)
    with open_data_file(path, (0, 2)) as file:
        assert (file.read(0, 60) == 2 * RAW.reshape(60, N_CHANNELS)).all()


@pytest.mark.parametrize(
    ("what", "value", "words"),
    [
        ("scales", math.nan, "row 2: DAT_SCL of channel 4, polarisation 1: nan; allowed: a finite"),
        ("scales", math.inf, "row 2: DAT_SCL of channel 4, polarisation 1: inf"),
        ("offsets", -math.inf, "row 2: DAT_OFFS of channel 4, polarisation 1: -inf"),
        ("weights", math.nan, r"row 2: DAT_WTS of channel 4: nan; allowed: 0 \(masked\) or above"),
        ("weights", -1.0, "row 2: DAT_WTS of channel 4: -1.0"),
    ],
)
def test_a_scale_that_is_no_number_is_named_and_costs_no_other_row(tmp_path, what, value, words):
    array = np.ones((3, 1, N_CHANNELS) if what != "weights" else (3, N_CHANNELS))
    array[1, ..., 3] = value
    path = write_psrfits(tmp_path / "a.sf", RAW, **{what: array})
    with open_data_file(path) as file:
        with pytest.raises(DataFileError, match=rf"a\.sf: {words}"):
            file.read(0, 60)
        with pytest.raises(DataFileError, match=words):
            file.read(39, 1)
        assert file.read(0, 20).shape == file.read(40, 20).shape == (20, N_CHANNELS)


def test_a_scale_of_a_channel_without_weight_is_not_looked_at(tmp_path):
    scales, weights = np.full((3, 1, N_CHANNELS), 2.0), np.ones((3, N_CHANNELS))
    scales[1, 0, 3], weights[1, 3] = math.nan, 0.0
    path = write_psrfits(tmp_path / "a.sf", RAW, scales=scales, weights=weights)
    expected = 2.0 * RAW.reshape(60, N_CHANNELS)
    expected[20:40, 3] = 0
    with open_data_file(path) as file:
        assert (file.read(0, 60) == expected).all()


def test_rows_of_other_frequencies_are_named(tmp_path):
    frequencies = np.tile(1500.0 - np.arange(N_CHANNELS), (3, 1))
    frequencies[2] += 0.5
    path = write_psrfits(tmp_path / "a.sf", RAW, frequencies=frequencies)
    with open_data_file(path) as file:
        assert file.read(0, 40).shape == (40, N_CHANNELS)
        words = r"a\.sf: row 3: DAT_FREQ of channel 1: 1500\.5 MHz, but 1500\.0 MHz in row 1"
        with pytest.raises(DataFileError, match=words):
            file.read(0, 60)


@pytest.mark.parametrize(
    ("frequencies", "words"),
    [
        (np.full(N_CHANNELS, 1400.0), "DAT_FREQ: all channels are at 1400.0 MHz"),
        (np.arange(N_CHANNELS) - 3.0, "DAT_FREQ of channel 1: -3.0; allowed: MHz above 0"),
        (np.full(N_CHANNELS, math.nan), "DAT_FREQ of channel 1: nan"),
        (1400.0 + np.arange(N_CHANNELS) ** 2, r"DAT_FREQ of channel \d+: .* not evenly spaced"),
        (np.arange(N_CHANNELS) + 0.25, "DAT_FREQ: the band from 0.25 MHz reaches below 0"),
    ],
)
def test_frequencies_that_make_no_band_are_named(tmp_path, frequencies, words):
    path = write_psrfits(tmp_path / "a.sf", RAW, frequencies=frequencies)
    with pytest.raises(DataFileError, match=rf"a\.sf: row 1: {words}"):
        open_data_file(path)


def test_frequencies_of_single_precision_are_even_enough(tmp_path):
    frequencies = 1500.0 - 0.0244140625 * np.arange(4096)
    raw = np.ones((1, 4, 1, 4096), int)
    path = write_psrfits(tmp_path / "a.sf", raw, frequencies=frequencies, frequency_form="E")
    with open_data_file(path) as file:
        assert file.header.foff == pytest.approx(-0.0244140625, rel=1e-5)


@pytest.mark.parametrize("n_bits", [1, 2, 4])
def test_packed_samples_have_no_value_for_missing_ones(tmp_path, n_bits):
    path = write_psrfits(tmp_path / "a.sf", RAW % 2, n_bits=n_bits, subint={"TNULL7": 255})
    with pytest.raises(DataFileError, match=f"TNULL7: 255 for DATA of {n_bits} bits is not allow"):
        open_data_file(path)


def test_a_file_that_ends_before_its_first_row_is_incomplete(tmp_path):
    path = tmp_path / "a.sf"
    content = write_psrfits(path, RAW, history=True).read_bytes()
    begin, row = data_begin(path)
    for size in (9, 80, 2879, 2880, 2881, 5760, begin - 1, begin, begin + row - 1):
        path.write_bytes(content[:size])
        with pytest.raises(IncompleteFileError, match=r"a\.sf: (ends after|SUBINT has no whole)"):
            open_data_file(path)
    path.write_bytes(content[: begin + row])
    with open_data_file(path) as file:
        assert file.n_samples() == 20


def test_a_header_without_an_end(tmp_path):
    path = tmp_path / "a.sf"
    card = b"SIMPLE  =                    T".ljust(80)
    path.write_bytes(card + b" " * (4 << 20))
    with pytest.raises(DataFileError, match=r"a\.sf: byte 0: a header without END in 1048576 byt"):
        open_data_file(path)


def test_units_that_are_larger_than_the_file(tmp_path):
    path = write_psrfits(tmp_path / "a.sf", RAW, history=True)
    content = path.read_bytes()
    place = content.index(b"NAXIS2  =")
    huge = b"NAXIS2  = %20d" % (1 << 40)
    path.write_bytes(content[:place] + huge + content[place + len(huge) :])
    with pytest.raises(IncompleteFileError, match=r"a\.sf: ends after \d+ bytes, before SUBINT"):
        open_data_file(path)


def test_compressed_files_are_named(tmp_path):
    path = tmp_path / "a.sf"
    path.write_bytes(b"\x1f\x8b" + bytes(100))
    with pytest.raises(DataFileError, match=r"a\.sf: .*compressed with gzip: gunzip it first"):
        open_data_file(path)


@given(st.data())
def test_a_damaged_file_is_read_or_refused(data):
    content = bytearray(made())
    for _ in range(data.draw(st.integers(1, 6))):
        # Headers, and the first columns of the first row.
        place = data.draw(st.integers(0, min(len(content) - 1, 4 * 2880 + 700)))
        content[place] = data.draw(st.sampled_from([*b"0123456789 -.'/=TF()", 0, 127, 255]))
    size = data.draw(st.sampled_from([len(content), len(content) // 2, len(content) - 2880]))
    with TemporaryDirectory() as directory:
        path = Path(directory) / "a.sf"
        path.write_bytes(content[:size])
        with suppress(DataFileError), open_data_file(path) as file:
            there = file.n_samples()
            assert 0 < there * file.header.bytes_per_sample <= size
            assert len(file.read(0, there)) == there


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("what", ["scales", "weights"])
@pytest.mark.parametrize("n_files", [1, 2])
def test_rows_that_are_refused_are_zeros_where_that_is_wanted(tmp_path, row, what, n_files):
    array = np.ones((3, 1, N_CHANNELS) if what != "weights" else (3, N_CHANNELS))
    array[row, ..., 3] = math.nan
    paths = [write_psrfits(tmp_path / "a0.sf", RAW, **{what: array})]
    if n_files > 1:
        paths.append(write_psrfits(tmp_path / "a1.sf", RAW, subint={"NSUBOFFS": 3}))
    expected = RAW.reshape(60, N_CHANNELS).astype(float)
    expected[20 * row : 20 * row + 20] = 0
    expected = np.concatenate([expected, *[RAW.reshape(60, N_CHANNELS)] * (n_files - 1)])
    with open_data_file(source_of(paths)) as file:
        assert (file.read_usable(0, 60 * n_files) == expected).all()
        (told,) = file.refused()
        name = {"scales": "DAT_SCL", "weights": "DAT_WTS"}[what]
        assert re.search(rf"a0\.sf: row {row + 1}: {name} of channel 4.*: nan; allowed: ", told)


def test_many_rows_that_are_refused_are_counted(tmp_path):
    path = write_psrfits(tmp_path / "a.sf", np.repeat(RAW, 4, axis=0), weights=math.nan)
    with open_data_file(path) as file:
        *some, last = file.refused()
        assert len(some) == 3
        assert last.endswith("a.sf: 9 more rows are such")
