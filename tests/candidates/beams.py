"""Made beams: filterbank files with noise and pulses, and jobs for them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from darc.candidates.pool_jobs import BeamFiles
from darc.candidates.pool_tasks import ExtractionTask
from darc.config.settings import ProcessorSettings
from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.filterbank_writer import FilterbankWriter
from darc.model.processing_outcome import Detection
from darc.node.node_config import load_config
from darc.science.dedispersion import Band
from simulator.filterbank_data import filterbank_paths
from simulator.synthetic_pulse import synthetic_pulse

TSAMP, N_CHANNELS = 1e-3, 64
HEADER = FilterbankHeader(
    nchans=N_CHANNELS, nbits=8, tsamp=TSAMP, fch1=1520.0, foff=-300 / N_CHANNELS, tstart=59000.0
)
#: Its start is not known: it is taken for that of any observation.
UNDATED = replace(HEADER, tstart=None)


def burst(time: float, dm: float = 500.0, width: int = 4, snr: float = 30.0) -> Detection:
    """A pulse as AMBER would find it, in beam 0."""
    return Detection(beam=0, downsampling=width, time=time, dm=dm, snr=snr)


def samples(
    pulses: Sequence[Detection], n_samples: int, header: FilterbankHeader = HEADER, seed: int = 1
) -> np.ndarray:
    """Noise of a beam and its pulses, as whole numbers, in the file's order of channels."""
    band = Band(header.f_lowest, header.channel_width, header.nchans)
    rng = np.random.default_rng(seed)
    data = rng.normal(100.0, 8.0, (header.nchans, n_samples))
    for pulse in pulses:
        height = 8.0 * pulse.snr / np.sqrt(header.nchans * pulse.downsampling)
        data += height * synthetic_pulse(
            band,
            header.tsamp,
            dm=pulse.dm,
            width=pulse.downsampling,
            arrival=pulse.time / header.tsamp,
            n_samples=n_samples,
        )
    if header.descending:
        data = data[::-1]
    return np.clip(np.rint(data.T), 0, 255).astype(np.uint8)


def write_beam(
    output: Path,
    pulses: Sequence[Detection] = (),
    *,
    seconds: float = 8.0,
    cb: int = 0,
    n_tabs: int = 1,
    header: FilterbankHeader = UNDATED,
    seed: int = 1,
) -> BeamFiles:
    """Write the filterbanks of a beam, with the same pulses in each TAB."""
    directory = output / "filterbank"
    directory.mkdir(parents=True, exist_ok=True)
    for tab, path in enumerate(filterbank_paths(directory, cb, n_tabs)):
        with FilterbankWriter(path, header) as file:
            file.append(samples(pulses, round(seconds / header.tsamp), header, seed + tab))
    return BeamFiles(directory, cb, n_tabs)


def settings(**keys: Any) -> ProcessorSettings:
    """The default configuration, with a classifier that lets everything pass, and other keys.

    :param keys: of `processor`, or of its `extractor`, `clustering` and `classifier`
    """
    made = load_config(Path(os.devnull)).processor
    made = replace(made, classifier=replace(made.classifier, thresh_freqtime=0.0))
    for name, value in keys.items():
        for part in ("extractor", "clustering", "classifier"):
            if hasattr(getattr(made, part), name):
                made = replace(made, **{part: replace(getattr(made, part), **{name: value})})
                break
        else:
            made = replace(made, **{name: value})
    return made


def job(
    files: BeamFiles,
    pulse: Detection,
    *,
    mask: Path | None = None,
    task_id: str = "obs1",
    **keys: Any,
) -> ExtractionTask:
    """To extract a pulse."""
    return ExtractionTask(
        observation=task_id,
        key=f"{pulse.time}",
        files=files,
        pulse=pulse,
        tabs=keys.pop("tabs", (0,)),
        settings=settings(**keys),
        mask=mask,
        output=files.directory.parent / "triggers_realtime" / "data",
    )
