"""What plots cost when a candidate is found, and at the end: python -m benchmarks.plots.

The end of an observation waits for the pages of its PDF. Plots that were drawn when their
candidates were found are put on pages; those that were not are drawn. Both in processor time of one
process, with the default settings and arrays of noise of the default size.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from darc.candidates.fetch_paths import plots_file
from darc.candidates.results.candidate_file import StoredCandidate, write_candidate
from darc.candidates.results.plot_drawings import PlotDrawer
from darc.candidates.results.plots import write_plots
from darc.config.settings import ProcessorSettings
from darc.model.arrival import ArrivalReference
from darc.model.processing_outcome import Detection, Measurement, ProcessedCandidate, Score
from darc.model.results import FrequencyRange
from darc.node.node_config import load_config

BAND = FrequencyRange(1219.7, 1519.5)
REFERENCE = ArrivalReference(1519.5, 1558182896.0, 8.192e-5, telescope="WSRT", source="NOISE")
DM_GALAXY = 133.0  # pc cm-3


def noise(number: int, shape: tuple[int, int, int]) -> StoredCandidate:
    """A candidate of noise.

    :param shape: numbers of channels, bins and trial DMs
    """
    rng = np.random.default_rng(number)
    channels, bins, trials = shape
    dm, width = float(rng.uniform(20, 1500)), int(rng.choice([1, 5, 10, 50, 100]))
    snr = float(8 + rng.pareto(2) * 4)
    at = float(rng.uniform(0, 3600))
    return StoredCandidate(
        ProcessedCandidate(
            cb=0,
            pulse=Detection(beam=35, downsampling=width, time=at, dm=dm, snr=snr),
            measured=Measurement(snr, snr, 2.0, at, width, width * REFERENCE.tsamp, dm),
            score=Score(float(rng.uniform(0.5, 1)), 0.9),
            freq_time=rng.standard_normal((channels, bins), dtype=np.float32),
            dm_time=rng.standard_normal((trials, bins), dtype=np.float32),
            dms=dm + np.linspace(-20, 20, trials),
            arrival=REFERENCE,
        ),
        BAND,
    )


def main() -> None:
    """Draw and write, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=300)
    n = parser.parse_args().candidates
    settings = load_config().of(ProcessorSettings)
    shape = settings.extractor.nfreq, settings.extractor.ntime, settings.extractor.ndm
    made = [noise(number, shape) for number in range(n)]
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        files = [write_candidate(directory, one.candidate, BAND) for one in made]
        drawer = PlotDrawer(settings.visualizer, DM_GALAXY, REFERENCE)
        start = time.process_time()
        for file, one in zip(files, made, strict=True):
            drawer.write(file, one)
        print(f"{n} candidates, processor time for each (ms), with what is done once:")
        print(f"  drawn when it is found       {(time.process_time() - start) / n * 1e3:6.1f}")
        size = sum(plots_file(file).stat().st_size for file in files) / n / 1e3
        pdf = directory / "CB00.pdf"
        took = {}
        for what in ("put on pages at the end", "drawn at the end"):
            start = time.process_time()
            write_plots(pdf, files, settings.visualizer, DM_GALAXY, reference=REFERENCE)
            took[what] = (time.process_time() - start) / n * 1e3
            print(f"  {what:<28} {took[what]:6.1f}")
            for file in files:
                plots_file(file).unlink(missing_ok=True)
        part = took["put on pages at the end"] / took["drawn at the end"]
        print(f"  the first of these as a part of the second {part:.2f}")
        whole = pdf.stat().st_size / n / 1e3
        print(f"{size:.1f} kB for each until the end; {whole:.1f} kB in the PDF")


if __name__ == "__main__":
    main()
