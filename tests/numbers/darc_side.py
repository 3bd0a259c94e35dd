"""What DARC makes of a file: the only module here that knows it, and by its outer parts."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from oracle import Instrument, Truth

from darc.candidates import extract_cluster
from darc.candidates.file_search import plan_search
from darc.candidates.pool_jobs import BeamFiles
from darc.candidates.pool_tasks import ExtractionTask
from darc.config.settings import ProcessorSettings
from darc.data_files.filterbank_reader import Filterbank
from darc.model.processing_outcome import Detection
from darc.node.node_config import ConfigSources
from darc.science.extraction import Extraction, extract
from darc.science.extraction_plan import CleanType

DEFAULTS = ConfigSources(None).parse(of_a_node=False)
CLEANINGS: tuple[str, ...] = get_args(CleanType)


class Trigger(Struct, frozen=True):
    """What a search has found: width in samples, start of the boxcar at the top of the band (s)."""

    dm: float
    time: float
    width: int


def right_trigger(instrument: Instrument, truth: Truth) -> Trigger:
    return Trigger(instrument.dm, max(0, truth.start) * instrument.tsamp, truth.width)


def off_trigger(instrument: Instrument, truth: Truth, seed: int) -> Trigger:
    """As far off as a search's trial may be: half a step of DM, a width of 1, 2, 4, …, its grid.

    From one trial DM to the next the delay across the band differs by what a sample, the smearing
    within a channel at the middle of the band, and half of the width are together.
    """
    dm = instrument.dm
    smearing = float(np.median(instrument.smearing(dm)))
    step = math.hypot(1.0, smearing, truth.width / 2) / instrument.across(1.0)
    rng = np.random.default_rng(seed)
    width = 2 ** round(math.log2(truth.width))
    start = int(truth.start + (truth.width - width) / 2)
    found_at = dm + step * rng.choice([-0.5, 0.5])
    # Found where it is strongest at that DM: its middle is where the band's median delay has it.
    late = np.median(instrument.delays(dm)) - np.median(instrument.delays(found_at))
    start = round((start + late) / max(1, width // 4)) * max(1, width // 4)
    return Trigger(max(found_at, 0.0), max(0, start) * instrument.tsamp, width)


class Measured(Struct, frozen=True):
    """What came of a trigger; NaN where nothing was measured.

    :param snr: as it is listed
    :param snr_best: at the best DM, of the best shape, corrected for cleaning; where there is one
        S/N for both, that
    :param dm: where it is strongest; `dm_step`, from one trial to the next
    :param centre: of the bin that is listed, at the top of the band, samples
    :param bin: samples
    :param width: samples
    """

    fate: str
    reason: str
    snr: float = math.nan
    snr_best: float = math.nan
    snr_dm0: float = math.nan
    dm: float = math.nan
    dm_step: float = math.nan
    centre: float = math.nan
    bin: float = math.nan
    width: float = math.nan


class _Recorder:
    """Keeps what `extract` returns to the code that makes a fate of it."""

    last: Extraction | None = None

    def __call__(self, *args: Any, **keys: Any) -> Extraction:
        self.last = None
        self.last = extract(*args, **keys)
        return self.last


_recorder = _Recorder()
extract_cluster.extract = _recorder  # type: ignore[attr-defined]


def settings(clean_type: str | None = None) -> ProcessorSettings:
    """The defaults, or another cleaning."""
    found = DEFAULTS.processor
    if clean_type is None:
        return found
    return replace(found, extractor=replace(found.extractor, rfi_clean_type=clean_type))


def measure(path: Path, tsamp: float, trigger: Trigger, clean_type: str | None = None) -> Measured:
    """Extract and classify, as darc_process and the service processor do."""
    output = path.parent / "data"
    output.mkdir(exist_ok=True)
    _recorder.last = None
    outcome = extract_cluster.extract_candidate(
        ExtractionTask(
            observation="numbers",
            key="0",
            files=BeamFiles(path.parent, 0, 1, path),
            pulse=Detection(0, trigger.width, trigger.time, trigger.dm, 20.0),
            tabs=(0,),
            settings=settings(clean_type),
            mask=None,
            output=output,
        )
    )
    if outcome.path is not None:
        outcome.path.unlink()
    found = _recorder.last
    if found is None:
        return Measured(str(outcome.fate), outcome.reason)
    samples = found.bin_length / tsamp
    return Measured(
        *(str(outcome.fate), outcome.reason),
        snr=float(found.snr),
        snr_best=float(getattr(found, "snr_best", found.snr)),
        snr_dm0=float(found.snr_dm0),
        dm=float(found.best_dm),
        dm_step=float(found.dms[1] - found.dms[0]),
        centre=found.time / tsamp + samples / 2,
        bin=samples,
        width=float(found.width),
    )


class Listed(Struct, frozen=True):
    """A line of a list on disk: width in samples, time at the top of the band (s)."""

    snr: float
    dm: float
    time: float
    width: int


class Searched(Struct, frozen=True):
    """What darc_process left on disk: all clusters, and those that are kept."""

    clusters: tuple[Listed, ...]
    kept: tuple[Listed, ...]
    said: str


def search(path: Path, output: Path, options: Iterable[str] = ()) -> Searched:
    """Run darc_process without triggers, in a process of its own, and read what it wrote.

    :raises RuntimeError: it failed
    """
    code = "import sys; from darc.cli.process_file import main; sys.exit(main())"
    words = [sys.executable, "-c", code, str(path), "--output", str(output), *options]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode and "no channel varies" not in done.stderr:
        raise RuntimeError(f"{' '.join(words[3:])}: {done.stderr}")
    return Searched(
        _rows(output / DEFAULTS.processor.clustering.output_file, 0),
        _rows(output / "CB00_triggers.txt", 1),
        (done.stdout.splitlines() or [done.stderr])[0],
    )


def found_by_search(path: Path, dms: tuple[float, float], snr_min: float) -> list[Listed]:
    """Search without clustering and extraction: all that stands out, at all trial DMs."""
    extractor = DEFAULTS.processor.extractor
    with Filterbank(path) as file:
        jobs = plan_search(
            file,
            observation="numbers",
            dm_min=dms[0],
            dm_max=dms[1],
            snr_min=snr_min,
            mask=None,
            clip=(extractor.rfi_threshold_time, extractor.rfi_n_iter_time),
            isolated=True,
        )
    found = [records for job in jobs if (records := job.run()) is not None]
    return [
        Listed(*(float(one[name]) for name in ("snr", "dm", "time")), int(one["downsampling"]))
        for records in found
        for one in records
    ]


def _rows(path: Path, first: int) -> tuple[Listed, ...]:
    """The columns snr dm time downsamp, from one on."""
    if not path.exists():
        return ()
    lines = [line.split() for line in path.read_text().splitlines() if line[:1] != "#"]
    return tuple(
        Listed(float(row[first]), float(row[first + 1]), float(row[first + 2]), int(row[first + 3]))
        for row in lines
        if row
    )
