"""Pulses in real files, none of which was trained on: the Crab's brightest at Parkes, and those of
a pulsar in 2-bit data. Both are hard.

The Crab's is in the lowest quarter of a band of 704 to 4032 MHz, which is full of transmitters, and
the file ends before it has crossed that. The other's delay across its band is less than its width,
and the window around a pulse holds two or three.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from darc.candidates.classifier import load_classifier
from darc.candidates.extract_cluster import extract_candidate
from darc.candidates.file_search import plan_search, search_part
from darc.candidates.pool_jobs import BeamFiles
from darc.candidates.pool_tasks import ExtractionTask
from darc.data_files.open_data_file import open_data_file
from darc.model.processing_outcome import ClusterOutcome, Detection
from darc.node.node_config import load_config
from darc.science.dedispersion import Band
from darc.science.extraction import extract
from darc.science.extraction_features import extraction_features
from darc.science.extraction_plan import plan_extraction
from training.examples import SETTINGS

#: By default.
SETTINGS_OF_PROCESSOR = load_config(Path(os.devnull)).processor
THRESHOLD = SETTINGS_OF_PROCESSOR.classifier.thresh_freqtime

CRAB_DM, CRAB_TIME = 56.77, 1.792
PULSAR_DM, PULSAR_PERIOD = 31.7, 0.2500006


def fate(path: Path, pulse: Detection, output: Path, mask: Path | None = None) -> ClusterOutcome:
    """What becomes of a pulse in the default configuration."""
    job = ExtractionTask(
        observation="real",
        key=f"{pulse.time}",
        files=BeamFiles(path.parent, 0, 1, path),
        pulse=pulse,
        tabs=(0,),
        settings=SETTINGS_OF_PROCESSOR,
        mask=mask,
        output=output,
    )
    return extract_candidate(job).fate


@pytest.mark.parametrize("width", [1, 2, 3])
def test_the_crab_in_the_part_of_the_band_where_it_is(shared_data: Path, width: int) -> None:
    with open_data_file(shared_data / "filterbank" / "parkes_8bit_1.fil") as file:
        n = file.band.n_channels // 4
        band = Band(file.band.f_lowest, file.band.channel_width, n)
        # Times are those of the highest channel.
        late = float(file.band.delays([CRAB_DM])[0, n - 1])
        plan = plan_extraction(
            band,
            file.header.tsamp,
            dm=CRAB_DM,
            width=width,
            time=CRAB_TIME + late,
            settings=SETTINGS,
        ).within(file.n_samples())
        samples = np.asarray(file.read(plan.start, plan.count))
        ascending = samples[:, ::-1] if file.header.descending else samples
        found = extract(ascending[:, :n].copy(), plan, SETTINGS, descending=False)
    assert found.snr_best > 6
    score = load_classifier(None).score(
        found.freq_time, found.dm_time, extraction_features(found, plan)
    )
    assert score.freq_time > THRESHOLD


@pytest.mark.parametrize("width", [1, 2, 3])
def test_the_crab_with_the_rest_of_the_band_masked(
    shared_data: Path, tmp_path: Path, width: int
) -> None:
    path = shared_data / "filterbank" / "parkes_8bit_1.fil"
    mask = tmp_path / "mask.conf"
    mask.write_text("\n".join(map(str, range(208, 832))))
    crab = Detection(beam=0, downsampling=width, time=CRAB_TIME, dm=CRAB_DM, snr=8.0)
    assert fate(path, crab, tmp_path, mask) is ClusterOutcome.KEPT


def pulsar_pulses(path: Path) -> Iterator[Detection]:
    """Of S/N 8 and more in the search, at the phase of most of them."""
    with open_data_file(path) as file:
        parts = plan_search(
            file,
            observation="x",
            dm_min=PULSAR_DM - 4,
            dm_max=PULSAR_DM + 4,
            snr_min=8.0,
            mask=None,
            clip=(3.25, 3),
            isolated=True,
        )
    found = [records for part in parts if (records := search_part(part)) is not None]
    candidates = np.concatenate(found)
    candidates = candidates[np.argsort(-candidates["snr"])]
    phase = np.median(candidates["time"] % PULSAR_PERIOD)
    seen: list[float] = []
    for one in candidates:
        time = float(one["time"])
        away = (time - phase + PULSAR_PERIOD / 2) % PULSAR_PERIOD - PULSAR_PERIOD / 2
        if abs(away) > 0.02 or any(abs(time - other) < 0.05 for other in seen):
            continue
        seen.append(time)
        width, dm, snr = int(one["downsampling"]), float(one["dm"]), float(one["snr"])
        yield Detection(beam=0, downsampling=width, time=time, dm=dm, snr=snr)


def test_pulses_of_a_pulsar_whose_delay_is_less_than_their_width(
    shared_data: Path, tmp_path: Path
) -> None:
    """Most are kept: of some, the S/N at DM 0 is as high, so that they may as well be impulses."""
    path = shared_data / "filterbank" / "tutorial.fil"
    fates = [fate(path, pulse, tmp_path) for pulse in pulsar_pulses(path)]
    assert len(fates) >= 20
    kept = [one is ClusterOutcome.KEPT for one in fates]
    assert np.mean(kept) > 0.5
