"""Drift scans in files, and the names that say what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from msgspec.structs import replace
from offline_files import HEADER, UNIX_START, write_drift

from darc.data_files.data_file_error import DataFileError
from darc.data_files.filterbank_writer import FilterbankWriter
from darc.model.arrival import ArrivalReference
from darc.model.offline_tables import parse_calibrators
from darc.offline.drift_scan_file import measure_beam, read_powers
from darc.offline.drift_scan_file import write_drift as write_results
from darc.offline.drift_scan_names import DriftName, parse_drift_name
from darc.runtime.paths import packaged

CALIBRATORS = ("CasA", "TauA", "3C48", "3C286")
C286 = parse_calibrators(packaged("conf/calibrators.yaml").read_text(), "")["3C286"]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("3C286drift0107", DriftName("3C286", 1, 7)),
        ("CasAdrift33", DriftName("CasA", 33, 33)),
        ("casaDrift3327", DriftName("CasA", 33, 27)),
        ("3C286", None),
        ("3C999drift01", None),
        ("3C286drift012", None),
        ("3C286drift", None),
    ],
)
def test_names(source: str, name: DriftName | None) -> None:
    assert parse_drift_name(source, CALIBRATORS) == name


def test_a_name_holds_the_beams_between() -> None:
    name = DriftName("3C286", 33, 27)
    assert [beam for beam in range(40) if name.holds(beam)] == list(range(27, 34))


@pytest.mark.parametrize("bursts", [0, 4])
@pytest.mark.parametrize("ratio", [0.15, 0.8])
def test_the_sefd_is_found_also_with_interference(
    tmp_path: Path, ratio: float, bursts: int
) -> None:
    path = tmp_path / "CB00.fil"
    write_drift(path, ratio=ratio, centre=70.0, fwhm=25.0, duration=150.0, bursts=bursts)
    beam = measure_beam(path, 0, C286, start=UNIX_START, time_bin=1.0)
    assert beam.passage is not None
    assert beam.sefd == pytest.approx(beam.flux_density / ratio, rel=0.05)
    assert beam.passage.centre == pytest.approx(70, abs=1)
    # By channel, too, though the flux density changes over the band.
    assert np.nanmedian(beam.spectrum) == pytest.approx(beam.sefd, rel=0.05)
    assert np.isnan(beam.spectrum[32 - 1 - 3])
    reference = ArrivalReference(frequency=1500.0, start=UNIX_START, tsamp=HEADER.tsamp)
    base = tmp_path / "CB00_3C286_drift"
    written = write_results(base, DriftName("3C286", 0, 0), C286, [beam], 0, reference)
    assert [file.name.removeprefix("CB00_3C286_drift") for file in written] == [
        *("_00.npy", ".pdf", ".png", ".yaml")
    ]
    series = np.load(written[0])
    assert series.shape == (150, 2)
    assert series[70, 1] / series[5, 1] == pytest.approx(1 + ratio, rel=0.03)
    numbers = yaml.safe_load(written[-1].read_text())
    assert numbers["tabs"][0]["sefd_jy"] == pytest.approx(beam.sefd, rel=1e-3)


def test_without_a_source_nothing_is_claimed(tmp_path: Path) -> None:
    path = tmp_path / "CB00.fil"
    write_drift(path, ratio=0.0, centre=30.0, fwhm=10.0, duration=60.0)
    beam = measure_beam(path, 0, C286, start=UNIX_START, time_bin=1.0)
    assert beam.sefd is None
    with pytest.raises(DataFileError, match="too few"):
        measure_beam(path, 0, C286, start=UNIX_START, time_bin=20.0)


def test_the_power_of_two_polarisations_is_their_sum(tmp_path: Path) -> None:
    data = np.random.default_rng(1).integers(0, 256, (4000, 2, HEADER.nchans)).astype(np.uint8)
    path = tmp_path / "two.fil"
    with FilterbankWriter(path, replace(HEADER, nifs=2)) as writer:
        writer.append(data)
    _, powers, _, _ = read_powers(path, 0.5)
    expected = data.astype(float).sum(axis=1).reshape(8, 500, -1).mean(axis=1)[:, ::-1]
    np.testing.assert_allclose(powers, expected)
