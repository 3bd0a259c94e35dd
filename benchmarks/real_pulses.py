"""What the shipped classifier makes of pulses in real files, none of which it was trained on:
python -m benchmarks.real_pulses DIR, with `parkes_8bit_1.fil` and `tutorial.fil` in DIR.

The Crab's brightest pulse at Parkes is in the lowest quarter of a band of 704 to 4032 MHz, which is
full of transmitters, and the file ends before it has crossed that. The delay of the pulsar in 2-bit
data across its band is less than its pulses' width, and the window around one holds two or three.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from darc.candidates.classifier import load_classifier
from darc.candidates.extract_cluster import extract_candidate
from darc.candidates.file_search import plan_search
from darc.candidates.pool_jobs import BeamFiles, ExtractionOutcome
from darc.candidates.pool_tasks import ExtractionTask
from darc.config.records import Struct
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

CRAB, PULSAR = "parkes_8bit_1.fil", "tutorial.fil"
CRAB_DM, CRAB_TIME = 56.77, 1.792
PULSAR_DM, PULSAR_PERIOD = 31.7, 0.2500006

#: Channels of the Crab's file above the quarter of the band where it is.
ABOVE_CRAB = range(208, 832)


class Found(Struct, frozen=True):
    """S/N of a pulse in a part of the band, and its probability."""

    snr: float
    probability: float


def crab(width: int) -> Detection:
    """Return the Crab's pulse as a search would find it.

    :param width: samples
    """
    return Detection(beam=0, downsampling=width, time=CRAB_TIME, dm=CRAB_DM, snr=8.0)


def crab_in_its_quarter(path: Path, width: int) -> Found:
    """Score the Crab's pulse as if the file had the lowest quarter of its band alone.

    :param path: of CRAB
    :param width: samples
    """
    with open_data_file(path) as file:
        n = file.band.n_channels // 4
        band = Band(file.band.f_lowest, file.band.channel_width, n)
        # Times are those of the highest channel.
        late = float(file.band.delays([CRAB_DM])[0, n - 1])
        time = CRAB_TIME + late
        plan = plan_extraction(
            band, file.header.tsamp, dm=CRAB_DM, width=width, time=time, settings=SETTINGS
        ).within(file.n_samples())
        samples = np.asarray(file.read(plan.start, plan.count))
        ascending = samples[:, ::-1] if file.header.descending else samples
        found = extract(ascending[:, :n].copy(), plan, SETTINGS, descending=False)
    features = extraction_features(found, plan)
    score = load_classifier(None).score(found.freq_time, found.dm_time, features)
    return Found(found.snr_best, score.freq_time)


def pulsar_pulses(path: Path) -> Iterator[Detection]:
    """Yield pulses of S/N 8 and more in the search, at the phase of most of them.

    :param path: of PULSAR
    """
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
    found = [records for part in parts if (records := part.run()) is not None]
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


def outcome(
    path: Path, pulse: Detection, output: Path, mask: Path | None = None
) -> ExtractionOutcome:
    """Return what becomes of a pulse in the default configuration.

    :param output: directory for candidates that are kept
    :param mask: file of channels to exclude
    """
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
    return extract_candidate(job)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    directory = parser.parse_args().directory
    for width in range(1, 5):
        found = crab_in_its_quarter(directory / CRAB, width)
        print(f"Crab, its quarter, {width} samples: S/N {found.snr:.1f}, {found.probability:.2f}")
    with tempfile.TemporaryDirectory() as name:
        output = Path(name)
        mask = output / "mask.conf"
        mask.write_text("\n".join(map(str, ABOVE_CRAB)))
        for text, some in (("others masked", mask), ("whole band", None)):
            for width in range(1, 5):
                found_as = outcome(directory / CRAB, crab(width), output, some)
                print(f"Crab, {text}, {width} samples: {_told(found_as)}")
        path = directory / PULSAR
        outcomes = [outcome(path, pulse, output) for pulse in pulsar_pulses(path)]
    for one in outcomes:
        print(f"pulsar at {one.pulse.time:.3f} s: {_told(one)}")
    told = [_probability(one) for one in outcomes]
    kept = sum(one.fate is ClusterOutcome.KEPT for one in outcomes)
    print(
        f"pulsar: {kept} of {len(outcomes)} kept, median {np.median(told):.2f}, {min(told):.2f} "
        f"and more; above 0.1: {sum(p > 0.1 for p in told)}"
    )


def _probability(one: ExtractionOutcome) -> float:
    if one.listed is not None:
        return one.listed.probability
    return one.probability if one.probability is not None else 0.0


def _told(one: ExtractionOutcome) -> str:
    return f"{one.fate.name.lower()}, {_probability(one):.2f} {one.reason}".strip()


if __name__ == "__main__":
    main()
