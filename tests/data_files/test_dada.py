"""DADA files of detected samples, and what is said of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.data_files.data_file_error import DataFileError, IncompleteFileError
from darc.data_files.data_source import source_of
from darc.data_files.find_sequence import find_continuations
from darc.data_files.open_data_file import open_data_file

KEYS = {
    "HEADER": "DADA                # Distributed acquisition and data analysis",
    "HDR_VERSION": "1.0",
    "HDR_SIZE": "4096",
    "NBIT": "8",
    "NCHAN": "16",
    "NPOL": "1",
    "NDIM": "1",
    "TSAMP": "64.0   # us",
    "FREQ": "1400.0",
    "BW": "-32",
    "UTC_START": "2019-03-01-07:55:43",
    "PICOSECONDS": "250000000000",
    "OBS_OFFSET": "0",
    "ORDER": "TF",
    "SOURCE": "J0534+2200",
    "RA": "05:34:31.9",
    "DEC": "22:00:52.0",
    "TELESCOPE": "Effelsberg",
}
START = 1551426943.25
TYPES = {8: "u1", 16: "<u2", 32: "<f4", -32: "<f4"}


def write_dada(path: Path, samples: np.ndarray, **keys: object) -> Path:
    """Write a file; keys that are None are left out."""
    both = {**KEYS, **keys}
    lines = [f"{key:<12} {value}\n" for key, value in both.items() if value is not None]
    size = int(str(both["HDR_SIZE"] or 4096).split()[0])
    path.write_bytes("".join(lines).encode().ljust(size, b"\0") + samples.tobytes())
    return path


def numbers(n_bits: int, *shape: int) -> np.ndarray:
    highest = 255 if abs(n_bits) != 16 else 65535
    return np.random.default_rng(1).integers(0, highest, shape).astype(TYPES[n_bits])


@given(
    n_bits=st.sampled_from([8, 16, 32, -32]),
    n_pols=st.sampled_from([1, 2, 4]),
    order=st.sampled_from(["TFP", "TPF"]),
    size=st.sampled_from([1024, 4096, 16384, None]),
    data=st.data(),
)
def test_samples_are_those_that_were_written(tmp_path_factory, n_bits, n_pols, order, size, data):
    samples = numbers(n_bits, 50, n_pols, 16)  # time, polarisation, frequency
    stored = samples.transpose(0, 2, 1) if order == "TFP" else samples
    path = tmp_path_factory.getbasetemp() / "a.dada"
    keys = {"NBIT": n_bits, "NPOL": n_pols, "ORDER": order, "HDR_SIZE": size}
    write_dada(path, np.ascontiguousarray(stored), **keys)
    start = data.draw(st.integers(0, 49))
    count = data.draw(st.integers(1, 50 - start))
    first = data.draw(st.integers(0, 15))
    end = data.draw(st.integers(first + 1, 16))
    with open_data_file(path) as file:
        assert file.n_samples() == 50
        used = (0, 1) if n_pols == 2 else (0,)
        assert file.ifs == used
        found = file.read(start, count, channels=(first, end))
        assert found.dtype == file.dtype
        part = samples[start : start + count, :, first:end].astype(np.float64)
        assert (found == part[:, list(used)].sum(axis=1)).all()
    number = data.draw(st.integers(0, n_pols - 1))
    with open_data_file(path, (number,)) as file:
        one = file.read(start, count, channels=(first, end))
        assert (one == part[:, number]).all()


def test_the_header_in_the_terms_of_sigproc(tmp_path):
    samples = numbers(8, 10, 16)
    with open_data_file(write_dada(tmp_path / "a.dada", samples, OBS_OFFSET=16 * 1000)) as file:
        header = file.header
        assert (header.nchans, header.nbits, header.tsamp, header.nifs) == (16, 8, 64e-6, 1)
        assert (header.fch1, header.foff) == (1415.0, -2.0)  # 1384 to 1416 MHz
        assert (header.source_name, header.src_raj, header.src_dej) == (
            "J0534+2200",
            53431.9,
            220052.0,
        )
        assert header.telescope == "Effelsberg"
        assert header.position is not None
        assert header.arrival_reference.start == pytest.approx(START + 0.064, abs=1e-6)
        assert file.highest == 255
    with open_data_file(write_dada(tmp_path / "a.dada", samples, BW=32, UTC_START=None)) as file:
        assert (file.header.fch1, file.header.foff) == (1385.0, 2.0)
        assert file.header.tstart is None


@pytest.mark.parametrize(
    ("state", "n_pols", "used"),
    [("Intensity", 1, (0,)), ("PPQQ", 2, (0, 1)), ("Coherence", 4, (0, 1)), ("Stokes", 4, (0,))],
)
def test_polarisations_by_state(tmp_path, state, n_pols, used):
    samples = numbers(8, 10, n_pols, 16)
    with open_data_file(
        write_dada(tmp_path / "a.dada", samples, NPOL=n_pols, STATE=state, ORDER="TPF")
    ) as file:
        assert file.ifs == used


@pytest.mark.parametrize("state", [None, "", "unset", "unknown"])
def test_a_state_that_is_not_told(tmp_path, state):
    with open_data_file(write_dada(tmp_path / "a.dada", numbers(8, 10, 16), STATE=state)) as file:
        assert file.ifs == (0,)


@pytest.mark.parametrize(("part", "late"), [("", 0.0), (".", 0.0), (".5", 0.5), (".0250", 0.025)])
def test_fractions_of_the_start(tmp_path, part, late):
    keys = {"UTC_START": f"2019-03-01-07:55:43{part}", "PICOSECONDS": 0}
    with open_data_file(write_dada(tmp_path / "a.dada", numbers(8, 10, 16), **keys)) as file:
        assert file.header.start == pytest.approx(START - 0.25 + late, abs=1e-6)


def test_a_file_that_grows(tmp_path):
    samples = numbers(8, 50, 16)
    path = write_dada(tmp_path / "a.dada", samples[:20])
    with open_data_file(path) as file:
        assert file.n_samples() == 20
        with path.open("ab") as more:
            more.write(samples[20:].tobytes()[:-3])
        assert file.n_samples() == 49
        assert (file.read(0, 49) == samples[:49]).all()
        assert file.remarks() == ["ends with 13 of a sample's 16 bytes: it is cut short"]
        with pytest.raises(DataFileError, match=r"a\.dada: no 50 samples from sample 0; there ar"):
            file.read(0, 50)


def test_files_in_sequence(tmp_path):
    samples = numbers(8, 50, 16)
    paths = [
        write_dada(
            tmp_path / f"2019-03-01-07:55:43_{16 * begin:016d}.000000.dada",
            samples[begin : begin + 20],
            OBS_OFFSET=16 * begin,
        )
        for begin in (0, 20, 40)
    ]
    with open_data_file(source_of(paths)) as file:
        assert file.n_samples() == 50
        assert (file.read(0, 50) == samples).all()
    assert find_continuations(paths[0]) == paths[1:]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"NDIM": 2}, "NDIM: 2: voltages as complex numbers, .*; detect them first, as digifil"),
        ({"NBIT": 4}, r"NBIT: 4 is not allowed; allowed: 8 and 16 \(unsigned\), and 32 \(float\)"),
        ({"NBIT": -8}, "NBIT: -8 is not allowed; allowed: 8 and 16"),
        ({"NBIT": -16}, "NBIT: -16 is not allowed; allowed: 8 and 16"),
        ({"NBIT": "eight"}, "NBIT: 'eight' is no number"),
        ({"NBIT": None}, "NBIT: missing"),
        ({"NCHAN": -16}, "NCHAN: '-16' is not allowed; allowed: a number from 1 to"),
        ({"NCHAN": "nan"}, "NCHAN: 'nan' is not allowed"),
        ({"NCHAN": 16.5}, "NCHAN: '16.5' is not a whole number"),
        ({"NPOL": 0}, "NPOL: '0' is not allowed"),
        ({"TSAMP": 0}, "TSAMP: '0' is not allowed"),
        ({"BW": 0}, "BW: 0 MHz about 1400 MHz"),
        ({"FREQ": 10}, "BW: -32 MHz about 10 MHz; allowed: a band above 0"),
        ({"ORDER": "FT"}, "ORDER: 'FT' is not allowed: time comes first"),
        ({"NPOL": 2, "ORDER": None}, "ORDER: missing, with NPOL 2; allowed: TFP, TPF"),
        ({"NPOL": 2}, "ORDER: 'TF' is not allowed"),
        ({"OBS_OFFSET": 17}, "OBS_OFFSET: 17 is not a whole number of samples of 16 bytes"),
        ({"OBS_OFFSET": 2**60}, "OBS_OFFSET: 1152921504606846976 bytes are .* s; allowed: up to"),
        ({"OBS_OFFSET": -16}, "OBS_OFFSET: '-16' is not allowed"),
        ({"UTC_START": "yesterday"}, "UTC_START: 'yesterday' is not allowed; allowed: such as"),
        ({"UTC_START": "2019-03-01-07:55:13.1e9"}, "UTC_START: '2019-03-01-07:55:13.1e9' is not"),
        ({"UTC_START": "2019-03-01-07:55:13.-1"}, "UTC_START: '2019-03-01-07:55:13.-1' is not a"),
        ({"UTC_START": "2019-03-01-07:55:13.1_0"}, "UTC_START: '2019-03-01-07:55:13.1_0' is not"),
        ({"STATE": "Nyquist"}, "STATE: 'Nyquist' is not allowed: samples must be powers; allowed"),
        ({"STATE": "Analytic"}, "STATE: 'Analytic' is not allowed"),
        ({"STATE": "Coherence"}, "STATE: COHERENCE with NPOL 1"),
        ({"HDR_SIZE": 10}, "HDR_SIZE: '10' is not allowed; allowed: a number from 64"),
        ({"HDR_SIZE": 2**30}, "HDR_SIZE: '1073741824' is not allowed"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(tmp_path, keys, words):
    path = tmp_path / "a.dada"
    write_dada(path, numbers(8, 50, 16), **{**keys, "HDR_SIZE": 4096})
    if "HDR_SIZE" in keys:
        content = path.read_bytes().replace(b"4096", str(keys["HDR_SIZE"]).encode())
        path.write_bytes(content)
    with pytest.raises(DataFileError, match=rf"a\.dada: {words}"):
        open_data_file(path)


def test_a_header_that_is_larger_than_it_says(tmp_path):
    path = write_dada(tmp_path / "a.dada", numbers(8, 50, 16), HDR_SIZE=128)
    with pytest.raises(DataFileError, match=r"a\.dada: HDR_SIZE: 128, but \w+ stands behind it"):
        open_data_file(path)


def test_a_file_that_ends_within_its_header(tmp_path):
    path = write_dada(tmp_path / "a.dada", numbers(8, 50, 16))
    content = path.read_bytes()
    # From where it is known for one: HDR_SIZE may be half there.
    for size in (64, 100, content.index(b"4096") + 1, 1000, 4095):
        path.write_bytes(content[:size])
        with pytest.raises(IncompleteFileError, match=rf"a\.dada: ends after {size} bytes; HDR_"):
            open_data_file(path)
