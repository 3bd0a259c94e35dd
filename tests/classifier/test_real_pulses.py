"""Pulses in real files: the Crab's brightest at Parkes, and those of a pulsar in 2-bit data.

Both are hard: the Crab's is in the lowest quarter of a band of 704 to 4032 MHz, which is full of
transmitters; the delay of the other's across its band is less than its width.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from darc.candidates.classifier import Classifier, load_classifier
from darc.candidates.file_search import plan_search, search_part
from darc.data_files.open_data_file import open_data_file
from darc.model.processing_outcome import Score
from darc.science.dedispersion import Band
from darc.science.extraction import Extraction, extract
from darc.science.extraction_plan import plan_extraction
from training.examples import SETTINGS

#: Below the default of 0.5: these pulses are weaker than what the search takes by default, S/N 10.
THRESHOLD = 0.02

CRAB_DM, CRAB_TIME = 56.77, 1.792
PULSAR_DM, PULSAR_PERIOD = 31.7, 0.2500006


@pytest.fixture(scope="module")
def shipped() -> Classifier:
    return load_classifier(None)


def score(found: Extraction, classifier: Classifier) -> Score:
    return classifier.score(found.freq_time, found.dm_time)


@pytest.mark.parametrize("width", [2, 3])
def test_the_crab_in_the_part_of_the_band_where_it_is(
    shared_data: Path, shipped: Classifier, width: int
) -> None:
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
    assert score(found, shipped).freq_time > THRESHOLD


def pulsar_pulses(path: Path) -> Iterator[Extraction]:
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
            width = int(one["downsampling"])
            plan = plan_extraction(
                file.band,
                file.header.tsamp,
                dm=float(one["dm"]),
                width=width,
                time=time,
                settings=SETTINGS,
            ).within(file.n_samples())
            samples = file.read_equalised(plan.start, plan.count)
            yield extract(samples, plan, SETTINGS, descending=file.header.descending)


def test_pulses_of_a_pulsar_whose_delay_is_less_than_their_width(
    shared_data: Path, shipped: Classifier
) -> None:
    scores = [
        score(found, shipped).freq_time
        for found in pulsar_pulses(shared_data / "filterbank" / "tutorial.fil")
    ]
    assert len(scores) >= 20
    assert np.mean(np.array(scores) > THRESHOLD) >= 0.9
