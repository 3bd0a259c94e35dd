"""Candidates for `your` and FETCH: `your` makes the same arrays of the same file, and opens ours.

FETCH itself is on no package index: where it is installed (docs/peers.md), its loader reads them;
elsewhere its rules are held, which are few: both arrays 256 by 256, the first transposed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from msgspec import Struct
from msgspec.structs import replace
from nodes import patience

from darc.candidates.fetch_paths import fetch_file
from darc.candidates.pool_jobs import BeamFiles
from darc.candidates.pool_tasks import ExtractionTask
from darc.cli.process_file import files_of_before
from darc.config.settings import ProcessorSettings
from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.filterbank_writer import FilterbankWriter
from darc.model.processing_outcome import ClusterOutcome, Detection
from darc.node.node_config import ConfigSources
from darc.runtime.paths import packaged
from darc.science.dedispersion import Band
from darc.science.fetch_arrays import SIZE
from simulator.synthetic_pulse import synthetic_pulse

SIGMA, LEVEL = 8.0, 60.0
WIDE_BAND = FilterbankHeader(
    nchans=512, nbits=8, tsamp=5e-4, fch1=1520.0, foff=-0.6, tstart=59000.25, source_name="X"
)


class Case(Struct, frozen=True):
    """A burst in a file.

    :param part: of the band that has the burst: from its low to its high end, 0 to 1
    """

    header: FilterbankHeader
    dm: float
    width: int
    time: float = 2.0
    seconds: float = 4.0
    part: tuple[float, float] = (0.0, 1.0)


CASES = {
    "512 channels": Case(WIDE_BAND, dm=400.0, width=4),
    "wide": Case(
        replace(WIDE_BAND, nchans=256, foff=-1.2), dm=400.0, width=40, time=5.0, seconds=9.0
    ),
    "64 channels": Case(replace(WIDE_BAND, nchans=64, foff=-4.8, nbits=32), dm=300.0, width=6),
    "336 channels": Case(replace(WIDE_BAND, nchans=336, foff=-1.0), dm=300.0, width=6),
}
SNR = 60.0


def settings(*files_for: str) -> ProcessorSettings:
    made = ConfigSources(None).parse(of_a_node=False).of(ProcessorSettings)
    extractor = replace(made.extractor, files_for=files_for)
    classifier = replace(made.classifier, thresh_freqtime=-1.0, thresh_dmtime=-1.0)
    return replace(made, extractor=extractor, classifier=classifier)


def write(path: Path, case: Case) -> None:
    header = case.header
    n, band = (
        round(case.seconds / header.tsamp),
        Band(header.f_lowest, header.channel_width, header.nchans),
    )
    data = np.random.default_rng(5).normal(LEVEL, SIGMA, (header.nchans, n))
    height = SIGMA * SNR / np.sqrt(header.nchans * case.width)
    pulse = synthetic_pulse(
        band,
        header.tsamp,
        dm=case.dm,
        width=case.width,
        arrival=case.time / header.tsamp,
        n_samples=n,
    )
    low, high = (round(edge * header.nchans) for edge in case.part)
    data[low:high] += height * pulse[low:high]
    if header.descending:
        data = data[::-1]
    with FilterbankWriter(path, header) as file:
        samples = np.clip(np.rint(data.T), 0, 255)
        file.append(samples.astype(np.float32 if header.nbits == 32 else np.uint8))


def extracted(
    directory: Path, case: Case, *files_for: str, mask: Path | None = None
) -> tuple[Path, Path]:
    """Write a file, extract its burst; return the filterbank, and the candidate's usual file."""
    path = directory / "x.fil"
    write(path, case)
    outcome = ExtractionTask(
        observation="x",
        key="x",
        files=BeamFiles(directory, 0, 1, file=path),
        pulse=Detection(beam=0, downsampling=case.width, time=case.time, dm=case.dm, snr=SNR),
        tabs=(0,),
        settings=settings(*files_for),
        mask=mask,
        output=directory / "data",
    ).run()
    assert outcome.fate is ClusterOutcome.KEPT, outcome.reason
    assert outcome.reason == ""
    assert outcome.path
    return path, outcome.path


class Opened(Struct, frozen=True, eq=False):
    filterbank: Path
    path: Path
    freq_time: np.ndarray  # as in the file: (time, frequency)
    dm_time: np.ndarray
    attributes: dict[str, Any]


def opened(directory: Path, case: Case, mask: Path | None = None) -> Opened:
    filterbank, file = extracted(directory, case, "fetch", mask=mask)
    path = fetch_file(file)
    with h5py.File(path) as file:
        labels = [[axis.label for axis in file[name].dims] for name in file]
        assert list(file) == ["data_dm_time", "data_freq_time"]
        assert labels == [["dm", "time"], ["time", "frequency"]]
        arrays = file["data_freq_time"][()], file["data_dm_time"][()]
        return Opened(filterbank, path, *arrays, dict(file.attrs))


@pytest.fixture(scope="module", params=CASES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    case = CASES[request.param]
    return case, opened(tmp_path_factory.mktemp("fetch"), case)


def as_fetch(freq_time: np.ndarray, dm_time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What FETCH's `data_sequence.py` gives to its models: (frequency, time), and (DM, time)."""
    from scipy.signal import detrend  # noqa: PLC0415 - each test process collects all files

    ft = detrend(np.nan_to_num(freq_time.astype(np.float32).T))
    dt = np.nan_to_num(dm_time.astype(np.float32))
    ft, dt = ft / ft.std(), dt / dt.std()
    return ft - np.median(ft), dt - np.median(dt)


def of_your(one: Opened) -> Any:
    module = pytest.importorskip("your.candidate", reason="your is not installed (extra test)")
    said = one.attributes
    return module.Candidate(
        fp=str(one.filterbank),
        dm=float(said["dm"]),
        tcand=float(said["tcand"]),
        width=int(said["width"]),
        snr=float(said["snr"]),
        label=-1,
    )


def by_your(one: Opened) -> tuple[np.ndarray, np.ndarray]:
    """The arrays as `your_candmaker.py` makes them, of a stretch that begins where ours does.

    It holds what is needed for all DMs, so that nothing is rolled into the arrays.
    """
    candidate = of_your(one)
    factor, tsamp = max(1, candidate.width // 2), candidate.native_tsamp
    begin = candidate.tcand - SIZE // 2 * factor * tsamp
    later = 2 * candidate.dispersion_delay() + 4 * tsamp
    # Half a sample more: it truncates.
    begin, end = begin + tsamp / 2, begin + SIZE * factor * tsamp + later
    candidate.get_chunk(tstart=begin, tstop=end, for_preprocessing=False)
    candidate.dmtime()
    candidate.dedisperse()
    candidate.decimate(key="ft", axis=0, pad=True, decimate_factor=factor, mode="median")
    candidate.decimate(key="dmt", axis=1, pad=True, decimate_factor=factor, mode="median")
    candidate.dedispersed = candidate.dedispersed[:SIZE]
    n_channels = candidate.dedispersed.shape[1]
    if n_channels % SIZE == 0:
        candidate.decimate(key="ft", axis=1, decimate_factor=n_channels // SIZE)
    else:
        candidate.resize(key="ft", size=SIZE, axis=1, anti_aliasing=True, mode="constant")
    return candidate.dedispersed, candidate.dmt[:, :SIZE]


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_the_burst_is_in_the_middle_at_its_dm(made: tuple[Case, Opened]) -> None:
    case, one = made
    assert one.freq_time.shape == one.dm_time.shape == (SIZE, SIZE)
    assert one.freq_time.dtype == one.dm_time.dtype == np.float32
    frequency_time, dm_time = as_fetch(one.freq_time, one.dm_time)
    assert abs(int(frequency_time.sum(axis=0).argmax()) - 127.5) <= 1.5
    row, column = np.unravel_index(dm_time.argmax(), dm_time.shape)
    assert abs(column - 127.5) <= 1.5
    # Rows are 2 DM / 255 apart; a wide pulse is as bright at DMs beside its own.
    step = 2 * case.dm / (SIZE - 1)
    across = 4148.808 * step * (one.attributes["fch1"] - abs(one.attributes["bw"])) ** -2
    across -= 4148.808 * step * one.attributes["fch1"] ** -2
    rows = 1 + case.width * case.header.tsamp / across / 2
    assert abs(row - 127.5) <= rows
    # The burst's time, by the attribute and by the file's own start.
    centre = case.time + case.width * case.header.tsamp / 2
    assert one.attributes["tcand"] == pytest.approx(
        centre, abs=(1 + case.width / 2) * case.header.tsamp
    )


def test_your_makes_the_same_of_the_same_file(made: tuple[Case, Opened]) -> None:
    case, one = made
    ours = as_fetch(one.freq_time, one.dm_time)
    theirs = as_fetch(*by_your(one))
    assert theirs[0].shape == theirs[1].shape == (SIZE, SIZE)
    assert correlation(ours[1], theirs[1]) > 0.995
    assert correlation(ours[0].mean(axis=0), theirs[0].mean(axis=0)) > 0.98
    # It interpolates where the channels do not divide into 256.
    if case.header.nchans % SIZE == 0:
        assert correlation(ours[0], theirs[0]) > 0.995
    for array in (ours[0][::-1], ours[0][:, ::-1]):
        assert correlation(array, theirs[0]) < 0.9
    assert correlation(ours[1][::-1], theirs[1]) < 0.9


def test_your_has_the_burst_in_the_middle_by_our_numbers(tmp_path: Path) -> None:
    """Of the stretch that it chooses itself for `tcand`, `dm` and `width`.

    That is off where it has to be lengthened for 256 bins: `your` 0.6.7 does so behind alone.
    """
    candidate = of_your(opened(tmp_path, CASES["512 channels"]))
    candidate.get_chunk()
    candidate.dedisperse()
    factor = max(1, candidate.width // 2)
    candidate.decimate(key="ft", axis=0, pad=True, decimate_factor=factor, mode="median")
    series = candidate.dedispersed.mean(axis=1)
    assert abs(int(series.argmax()) - len(series) / 2) <= 2


def test_its_attributes_are_those_of_your(made: tuple[Case, Opened], tmp_path: Path) -> None:
    one = made[1]
    candidate = of_your(one)
    candidate.dedispersed = one.freq_time
    header = candidate.your_header
    header.ra_deg = header.dec_deg = header.gl = header.gb = 0.0  # it cannot write what is unknown
    with h5py.File(candidate.save_h5(str(tmp_path), "theirs.h5")) as file:
        theirs = dict(file.attrs)
    assert theirs.keys() <= one.attributes.keys()
    same = (
        *("dm", "tcand", "width", "label", "tsamp", "nchans", "foff", "fch1", "bw", "center_freq"),
        *("nspectra", "tstart", "nbits", "npol", "basename", "filename", "native_nspectra"),
        *("source_name", "tstart_utc", "format", "poln_order", "native_foff"),
    )
    for name in same:
        value = one.attributes[name]
        assert value == (theirs[name] if isinstance(value, str) else pytest.approx(theirs[name]))
    assert list(one.attributes["filelist"]) == [str(one.filterbank)]
    assert not one.attributes["rfi_mask"].any()
    assert np.isnan(one.attributes["ra_deg"])
    assert one.attributes["nifs"] == 1


def test_your_plots_it(tmp_path: Path) -> None:
    plotter = pytest.importorskip("your.utils.plotter", reason="your is not installed (extra test)")
    one = opened(tmp_path, CASES["512 channels"])
    plotter.plot_h5(str(one.path))
    assert one.path.with_suffix(".png").stat().st_size > 10_000


def test_fetch_loads_it(made: tuple[Case, Opened]) -> None:
    sequence = pytest.importorskip(
        "fetch.data_sequence", reason="FETCH is not installed: docs/peers.md"
    )
    _, one = made
    generator = sequence.DataGenerator([str(one.path)], [0], batch_size=1, shuffle=False)
    inputs, _ = generator[0]
    ours = as_fetch(one.freq_time, one.dm_time)
    for name, array in zip(("data_freq_time", "data_dm_time"), ours, strict=True):
        assert inputs[name].shape == (1, SIZE, SIZE, 1)
        assert np.allclose(inputs[name][0, :, :, 0], array, atol=1e-3)


@pytest.mark.parametrize("ascending", [False, True])
def test_the_highest_frequency_is_first(ascending: bool, tmp_path: Path) -> None:
    header = replace(WIDE_BAND, fch1=1213.4, foff=0.6) if ascending else WIDE_BAND
    one = opened(tmp_path, Case(header, dm=400.0, width=4, part=(0.75, 1.0)))
    on_pulse = as_fetch(one.freq_time, one.dm_time)[0][:, 126:130].mean(axis=1)
    assert on_pulse[:64].mean() > 5 * abs(on_pulse[64:].mean())
    assert one.attributes["foff"] == -0.6
    assert one.attributes["fch1"] == pytest.approx(1520.0)


@pytest.mark.parametrize("time", [0.01, 3.9])
def test_what_is_not_in_the_file_is_nothing(time: float, tmp_path: Path) -> None:
    case = Case(replace(WIDE_BAND, tsamp=2e-3), dm=50.0, width=4, time=time)
    one = opened(tmp_path, case)
    missing = one.freq_time[:100] if time < 1 else one.freq_time[-80:]
    assert (missing == 0).all()
    assert abs(int(one.freq_time.sum(axis=1).argmax()) - 127.5) <= 1.5


def test_masked_channels_are_nothing(tmp_path: Path) -> None:
    (tmp_path / "mask").write_text("0 1\n")
    one = opened(tmp_path, CASES["512 channels"], mask=tmp_path / "mask")
    assert (one.freq_time[:, -1] == 0).all()
    assert (one.freq_time[:, :-1] != 0).any(axis=0).all()
    assert np.flatnonzero(one.attributes["kill_mask"]).tolist() == [510, 511]


def test_by_default_there_is_none_and_the_other_file_is_as_it_was(tmp_path: Path) -> None:
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    _, with_it = extracted(tmp_path / "with", CASES["64 channels"], "fetch")
    _, without = extracted(tmp_path / "without", CASES["64 channels"])
    assert fetch_file(with_it).exists()
    assert not fetch_file(without).exists()
    assert with_it.read_bytes() == without.read_bytes()


@pytest.fixture
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    program = Path(__file__).resolve().parents[2] / "bin" / "darc_process"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(program), *words],
            capture_output=True,
            text=True,
            timeout=patience(110),
            check=False,
        )

    return run


def test_darc_process_writes_them_when_asked(run: Any, tmp_path: Path) -> None:
    samples = packaged("conf/samples")
    words = [str(samples / "sample.fil"), str(samples / "sample.trigger")]
    done = run(*words, "--output", str(tmp_path / "x"), "--for", "fetch")
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "x" / "fetch").iterdir()
    (file,) = (tmp_path / "x" / "data").glob("*.hdf5")
    assert path == fetch_file(file)
    with h5py.File(path) as file:
        assert file["data_freq_time"].shape == file["data_dm_time"].shape == (SIZE, SIZE)
        assert file.attrs["ra_deg"] == pytest.approx(192.859, abs=0.01)
    assert path in set(files_of_before(tmp_path / "x"))
    # The Milky Way's DM of that position, by both models.
    (page,) = (tmp_path / "x" / "site").glob("*/*/index.html")
    assert all(f"<small>{model}</small>" in page.read_text() for model in ("YMW16", "NE2025"))
    assert "galactic_dm_NE2025: 21.66" in (tmp_path / "x" / "CB00_triggers.ecsv").read_text()
    assert "choose from" in run(*words, "--for", "nobody").stderr
