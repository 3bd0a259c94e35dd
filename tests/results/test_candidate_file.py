"""Candidates as HDF5 files."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.time import Time, TimeDelta
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from results_made_up import ARRIVAL, BAND, candidate

from darc.candidates.results.candidate_file import (
    CandidateFileError,
    candidate_name,
    read_candidate,
    read_rank,
    write_candidate,
)
from darc.model.processing_outcome import ProcessedCandidate

SPECIFIED = [
    *("nfreq", "ntime", "ndm", "tsamp", "sb", "dms", "dm", "snr", "toa", "downsamp"),
    *("dm_amber", "snr_amber", "toa_amber", "downsamp_amber", "prob_freqtime", "prob_dmtime"),
]


def same(one: ProcessedCandidate, other: ProcessedCandidate) -> bool:
    names = ("freq_time", "dm_time", "dms")
    return (one.cb, one.pulse, one.measured, one.score, one.arrival) == (
        *(other.cb, other.pulse, other.measured, other.score, other.arrival),
    ) and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_its_name() -> None:
    assert candidate_name(candidate()) == "TOA123.4567_DM560.00_DS41_SNR23.hdf5"


@given(
    st.integers(1, 5), st.integers(1, 6), st.integers(1, 7), st.floats(0, 1), st.floats(-1e9, 1e9)
)
def test_there_and_back(
    tmp_path_factory: pytest.TempPathFactory,
    nfreq: int,
    ntime: int,
    ndm: int,
    p: float,
    time: float,
) -> None:
    made = candidate(nfreq=nfreq, ntime=ntime, ndm=ndm, probability=p, time=time)
    path = write_candidate(tmp_path_factory.mktemp("made"), made)
    stored = read_candidate(path)
    assert same(stored, made)
    assert stored.band
    assert (stored.band.low, stored.band.high) == pytest.approx((BAND.low, BAND.high), rel=1e-12)
    assert read_rank(path)[0] == p


def test_what_is_specified_is_in_it(tmp_path: Path) -> None:
    made = replace(candidate(), band=None)
    path = write_candidate(tmp_path / "data", made)
    assert [one.name for one in (tmp_path / "data").iterdir()] == [candidate_name(made)]
    with h5py.File(path) as file:
        assert set(file) == {"data_freq_time", "data_dm_time"}
        assert set(SPECIFIED) <= set(file.attrs)
        assert np.array_equal(file["data_freq_time"], made.freq_time)
        assert np.array_equal(file["data_dm_time"], made.dm_time)
        assert file.attrs["dm"] == file.attrs["dm_amber"] == 560.0
        assert (file.attrs["toa"], file.attrs["toa_amber"]) == (123.4567, 123.4577)
        assert (file.attrs["downsamp"], file.attrs["downsamp_amber"]) == (41, 50)
        assert file.attrs["tsamp"] == made.measured.bin_length
        assert np.array_equal(file.attrs["dms"], made.dms)
        assert [one.label for one in file["data_freq_time"].dims] == ["frequency", "time"]
    assert read_candidate(path).band is None


def test_what_times_and_widths_refer_to_is_in_it(tmp_path: Path) -> None:
    path = write_candidate(tmp_path, candidate())
    with h5py.File(path) as file:
        attributes = dict(file.attrs)
    arrived = Time("2019-05-18T12:34:56", scale="utc", precision=6)
    arrived += TimeDelta(attributes["toa"], format="sec")
    assert attributes["toa_utc"] == arrived.isot
    assert attributes["toa_mjd"] == pytest.approx(arrived.mjd, abs=2e-11)
    assert (attributes["toa_scale"], attributes["toa_frame"]) == ("UTC", "topocentric")
    assert attributes["toa_freq"] == 1519.505615
    assert attributes["width_ms"] == pytest.approx(41 * 0.08192)
    assert attributes["tsamp_data"] == 8.192e-5
    assert attributes["dm_constant"] == 4148.808
    assert attributes["telescope"] == "WSRT"


def test_an_undated_file_says_what_is_known(tmp_path: Path) -> None:
    undated = replace(ARRIVAL, start=None, telescope="", frame="barycentric")
    made = replace(candidate(), arrival=undated)
    path = write_candidate(tmp_path, made)
    assert same(read_candidate(path), made)
    with h5py.File(path) as file:
        assert not {"toa_utc", "toa_mjd", "start", "telescope"} & set(file.attrs)
        assert file.attrs["toa_scale"] == "TDB"
        assert file.attrs["width_ms"] == pytest.approx(41 * 0.08192)


def test_a_file_of_before_has_no_reference(tmp_path: Path) -> None:
    made = replace(candidate(), arrival=None)
    path = write_candidate(tmp_path, made)
    with h5py.File(path) as file:
        assert "toa_freq" not in file.attrs
    assert same(read_candidate(path), made)


def test_the_mode_is_as_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    path = write_candidate(tmp_path, candidate())
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_thousands_of_dms(tmp_path: Path) -> None:
    made = candidate(ndm=10_000, ntime=2)
    assert same(read_candidate(write_candidate(tmp_path, made)), made)


def test_arrays_that_do_not_belong_together(tmp_path: Path) -> None:
    made = candidate()
    with pytest.raises(ValueError, match=re.escape("dm_time (63, 64)")):
        write_candidate(tmp_path, replace(made, dm_time=made.dm_time[1:]))
    assert list(tmp_path.iterdir()) == []


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    made = candidate()
    path = write_candidate(tmp_path, made)
    (tmp_path / f".{path.name}.0123.new").write_bytes(b"of a process that was killed")
    ended = threading.Event()

    def write() -> None:
        for _ in range(100):
            write_candidate(tmp_path, made)
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    reads = 0
    while not ended.is_set() or not reads:
        assert [one.name for one in tmp_path.glob("*.hdf5")] == [path.name]
        assert same(read_candidate(path), made)
        reads += 1
    writer.join()
    assert len(list(tmp_path.iterdir())) == 2


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    made = candidate()
    (tmp_path / candidate_name(made) / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_candidate(tmp_path, made)
    assert [one.name for one in tmp_path.iterdir()] == [candidate_name(made)]


@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_off(tmp_path: Path, part: float) -> None:
    path = write_candidate(tmp_path, candidate())
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(CandidateFileError, match=rf"{path.name}: no HDF5 file, or not all of it"):
        read_candidate(path)
    with pytest.raises(CandidateFileError, match=path.name):
        read_rank(path)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "notes.hdf5"
    path.write_text("not a candidate\n" * 1000)
    with pytest.raises(CandidateFileError, match=r"notes\.hdf5: no HDF5 file"):
        read_candidate(path)
    with pytest.raises(FileNotFoundError):
        read_candidate(tmp_path / "none.hdf5")


@pytest.mark.parametrize("name", [*SPECIFIED, "cb", "snr_dm0", "dm_opt", "toa_frame", "tsamp_data"])
def test_what_is_missing_is_named(tmp_path: Path, name: str) -> None:
    path = write_candidate(tmp_path, candidate())
    with h5py.File(path, "r+") as file:
        del file.attrs[name]
    # AMBER's DM is there twice, and read from one of them.
    if name == "dm":
        read_candidate(path)
        return
    with pytest.raises(CandidateFileError, match=f"{path.name}: .*attribute {name} is missing"):
        read_candidate(path)


@pytest.mark.parametrize("name", ["data_freq_time", "data_dm_time"])
def test_a_dataset_that_is_missing_or_of_another_shape(tmp_path: Path, name: str) -> None:
    path = write_candidate(tmp_path, candidate())
    with h5py.File(path, "r+") as file:
        del file[name]
    with pytest.raises(CandidateFileError, match=f"{path.name}: the dataset {name} is missing"):
        read_candidate(path)
    with h5py.File(path, "r+") as file:
        file[name] = np.zeros((3, 4))
    with pytest.raises(CandidateFileError, match=f"{name} is float64 \\(3, 4\\), not \\(64, 64\\)"):
        read_candidate(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("snr", "high"), ("cb", 1.5), ("toa", [1.0, 2.0]), ("dms", [1.0]), ("sb", h5py.Empty("f"))],
)
def test_an_attribute_of_another_kind(tmp_path: Path, name: str, value: object) -> None:
    path = write_candidate(tmp_path, candidate())
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value
    with pytest.raises(CandidateFileError, match=f"{path.name}: .*{name}"):
        read_candidate(path)


def test_damage_to_the_data_is_seen(tmp_path: Path) -> None:
    made = candidate()
    path = write_candidate(tmp_path, made)
    data = bytearray(path.read_bytes())
    place = data.find(made.dm_time[:1].tobytes())
    assert place > 0
    data[place + 5] ^= 0x40
    path.write_bytes(data)
    with pytest.raises(CandidateFileError, match="data_dm_time cannot be read"):
        read_candidate(path)


def test_the_reader_of_your(tmp_path: Path) -> None:
    """It draws what it finds; all the names that it wants have to be there."""
    plotter = pytest.importorskip("your.utils.plotter")
    path = write_candidate(tmp_path, candidate())
    plotter.plot_h5(str(path), outdir=f"{tmp_path}/", publication=False)
    (picture,) = tmp_path.glob("*.png")
    assert picture.stat().st_size > 10_000


def test_as_your_has_it(tmp_path: Path) -> None:
    """What the docstring says of the orientation: times first, the highest frequency first."""
    made = candidate()
    made.freq_time[-1] += 100  # the highest frequency
    path = write_candidate(tmp_path, made)
    with h5py.File(path) as file:
        theirs = file["data_freq_time"][()][::-1].T
        top = file.attrs["fch1"] + file.attrs["foff"] * (file.attrs["nchans"] - 1)
    assert theirs.shape == (64, 64)
    assert theirs[:, 0].mean() > 50
    assert top == pytest.approx(BAND.high - (BAND.high - BAND.low) / 128)
