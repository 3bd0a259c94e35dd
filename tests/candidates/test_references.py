"""Which frequency times belong to: pulses put into data by the formula alone, in plain numpy."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.time import Time, TimeDelta
from beams import job

from darc.candidates import extract_cluster
from darc.candidates.extract_cluster import extract_candidate
from darc.candidates.file_search import SearchJob
from darc.candidates.pool_jobs import BeamFiles
from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.filterbank_writer import FilterbankWriter
from darc.model.processing_outcome import Detection, Score
from darc.science.single_pulse import SearchStage

K = 4148.808  # MHz2 pc-1 cm3 s
#: Name: lowest and highest channel's centre (MHz), channels, sampling (s), DM, samples of a pulse.
BANDS = {
    "400 to 800 MHz": (403.125, 796.875, 64, 1e-3, 500.0, 1),
    "1400 to 1464 MHz": (1400.5, 1463.5, 64, 1e-4, 1000.0, 7),
    "4 to 8 GHz": (4016.0, 7984.0, 128, 2e-4, 2000.0, 1),
}


@pytest.fixture(params=[-1, 1], ids=["highest first", "lowest first"])
def order(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def write(path: Path, name: str, first: int, order: int, **keys: float) -> int:
    """A pulse that arrives at the centre of the highest channel with a sample's start.

    :return: samples of the file
    """
    low, high, n_channels, tsamp, dm, width = BANDS[name]
    centres = np.linspace(low, high, n_channels)
    late = np.rint(K * dm * (centres**-2 - high**-2) / tsamp).astype(int)
    rng = np.random.default_rng(5)
    data = rng.normal(100, 10, (first + int(late.max()) + 3000, n_channels))
    for channel, by in enumerate(late):
        data[first + by : first + by + width, channel] += 60 / np.sqrt(width)
    header = FilterbankHeader(
        nchans=n_channels,
        nbits=8,
        tsamp=tsamp,
        fch1=low if order > 0 else high,
        foff=order * (high - low) / (n_channels - 1),
        tstart=58621.25,
        **keys,  # type: ignore[arg-type]
    )
    path.parent.mkdir(exist_ok=True)
    with FilterbankWriter(path, header) as file:
        file.append(np.rint(data[:, ::order]).clip(0, 255).astype(np.uint8))
    return len(data)


def off_by(name: str) -> float:
    """What the band's upper edge would make of it, samples."""
    low, high, n_channels, tsamp, dm, _ = BANDS[name]
    edge = high + (high - low) / (n_channels - 1) / 2
    return K * dm * (high**-2 - edge**-2) / tsamp


@pytest.mark.parametrize("name", BANDS)
def test_the_search_finds_the_sample(tmp_path: Path, name: str, order: int) -> None:
    n_samples = write(tmp_path / "made.fil", name, 2000, order)
    _, _, _, tsamp, dm, width = BANDS[name]
    part = SearchJob(
        observation="made",
        file=tmp_path / "made.fil",
        stages=(SearchStage(1, np.array([dm])),),
        start=0,
        n_out=4000,
        count=n_samples,
        snr_min=8.0,
        mask=None,
        clip=(3.25, 0),
    )
    found = part.run()
    assert found is not None
    best = found[np.argmax(found["snr"])]
    # A boxcar may be a little narrower or wider than the pulse.
    assert abs(best["time"] / tsamp - 2000) <= width // 3
    assert off_by(name) > 2 * (width // 3) + 1


def test_a_candidate_states_when_it_arrived_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: int
) -> None:
    class Fixed:
        def score(self, *_: np.ndarray) -> Score:
            return Score(1.0, 1.0)

    monkeypatch.setattr(extract_cluster, "classifier_of", lambda path: Fixed())
    name = "1400 to 1464 MHz"
    _, high, _, tsamp, dm, width = BANDS[name]
    write(tmp_path / "filterbank" / "CB00.fil", name, 2000, order, telescope_id=8)
    files = BeamFiles(tmp_path / "filterbank", 0, 1)
    pulse = Detection(beam=0, downsampling=width, time=2000 * tsamp, dm=dm, snr=30.0)
    outcome = extract_candidate(job(files, pulse, rfi_clean_type="none"))
    assert outcome.path, outcome.reason
    with h5py.File(outcome.path) as file:
        found = dict(file.attrs)
    # A bin is half of what the band's edge would make of it.
    assert found["tsamp"] * 1.8 < off_by(name) * tsamp
    assert abs(found["toa"] - 2000 * tsamp) <= found["tsamp"]
    assert found["toa_freq"] == pytest.approx(high, rel=1e-12)
    arrived = Time(58621.25, format="mjd", scale="utc", precision=6)
    arrived += TimeDelta(found["toa"], format="sec")
    assert found["toa_utc"] == arrived.isot
    assert found["toa_mjd"] == pytest.approx(arrived.mjd, abs=2e-11)
    assert found["width_ms"] == pytest.approx(found["downsamp"] * 0.1)
    assert (found["toa_frame"], found["telescope"]) == ("topocentric", "Effelsberg")
