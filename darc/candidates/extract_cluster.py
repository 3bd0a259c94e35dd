"""Extraction of one cluster: read its data, extract and score the candidate, keep it or not."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from darc.candidates.classifier import ClassifierError, load_classifier
from darc.candidates.fetch_candidate import write_for_fetch
from darc.candidates.file_clock import FileClock, file_clock
from darc.candidates.pool_jobs import ExtractionJob, ExtractionOutcome
from darc.candidates.results.candidate_file import write_candidate
from darc.candidates.results.trigger_lists import listed
from darc.config.records import Struct, replace
from darc.config.settings import FETCH, ProcessorExtractor
from darc.data_files.beams import CompoundBeam
from darc.data_files.data_file_error import DataFileError
from darc.data_files.data_source import DataSource
from darc.data_files.filterbank_header import FilterbankHeader
from darc.model.arrival import ArrivalReference
from darc.model.processing_outcome import (
    ClusterOutcome,
    FrequencyRange,
    Measurement,
    ProcessedCandidate,
    Score,
)
from darc.runtime.untrusted_files import MAX_TEXT, read_regular
from darc.science.arrays import Mask
from darc.science.channel_mask import parse_channel_mask
from darc.science.extraction import Extraction, extract
from darc.science.extraction_features import extraction_features
from darc.science.extraction_plan import (
    ExtractionPlan,
    ExtractionSettings,
    OutsideDataError,
    plan_extraction,
)

#: Maximum size of a data window (bytes): an invalid width would need hours of data.
MAX_STRETCH = 4 * 2**30

classifier_of = cache(load_classifier)


class _Extracted(Struct, frozen=True, eq=False):
    """What was extracted of a cluster, and of what: see :func:`darc.science.extraction.extract`."""

    found: Extraction
    plan: ExtractionPlan
    clock: FileClock
    arrival: ArrivalReference
    mask: Mask | None
    refused: tuple[str, ...]  # why zeros stand for some of the data


def extract_candidate(job: ExtractionJob) -> ExtractionOutcome:
    """Extract the candidate of a cluster, and write its file if it is to be kept."""
    differing: list[tuple[str, str]] = []
    try:
        extracted = _extract(job, differing)
        outcome = _outcome(job, extracted)
        zeros = (f"{text}; zeros stand for it" for text in extracted.refused)
        outcome = replace(outcome, reason="; ".join(filter(None, (outcome.reason, *zeros))))
    except OutsideDataError as error:
        outcome = ExtractionOutcome(job.pulse, ClusterOutcome.NOT_IN_DATA, str(error))
    except (OSError, ValueError, ClassifierError) as error:
        outcome = ExtractionOutcome(job.pulse, ClusterOutcome.FAILED, str(error))
    # Also of what was not found: a wrong sampling time may be why.
    return replace(outcome, differs=differing[0]) if differing else outcome


def _outcome(job: ExtractionJob, extracted: _Extracted) -> ExtractionOutcome:
    found, settings, limits = extracted.found, job.settings.extractor, job.settings.classifier
    if not (found.freq_time.any() or found.dm_time.any()):
        reason = "no channel varies there: nothing was recorded, or all weights are 0"
        return ExtractionOutcome(job.pulse, ClusterOutcome.NOT_IN_DATA, reason)
    if not found.snr_best >= settings.snr_min_local:
        reason = f"S/N {found.snr_best:.2f} in the data; wanted: {settings.snr_min_local}"
        return ExtractionOutcome(job.pulse, ClusterOutcome.TOO_WEAK, reason)
    at_least = found.snr + settings.snr_dm0_diff_threshold
    if settings.snr_dm0_filter and found.snr_dm0 >= at_least:
        reason = f"S/N {found.snr:.2f}, but {found.snr_dm0:.2f} at DM 0"
        return ExtractionOutcome(job.pulse, ClusterOutcome.STRONGER_AT_DM_0, reason)
    classifier = classifier_of(Path(limits.model) if limits.model else None)
    features = extraction_features(found, extracted.plan)
    score = classifier.score(found.freq_time, found.dm_time, features)
    # Written so that NaN fails.
    if not (score.freq_time > limits.thresh_freqtime and score.dm_time > limits.thresh_dmtime):
        reason = f"probabilities {score.freq_time:.3f} and {score.dm_time:.3f}"
        probability = score.freq_time if 0 <= score.freq_time <= 1 else None
        return ExtractionOutcome(
            job.pulse, ClusterOutcome.UNLIKELY, reason, probability=probability
        )
    return _kept(job, extracted, score)


def _kept(job: ExtractionJob, extracted: _Extracted, score: Score) -> ExtractionOutcome:
    """Write the candidate's file, and what else is wanted of it."""
    found, band, clock = extracted.found, extracted.plan.band, extracted.clock
    candidate = ProcessedCandidate(
        cb=job.files.cb,
        pulse=job.pulse,
        measured=Measurement(
            snr=found.snr,
            snr_best=found.snr_best,
            snr_dm0=found.snr_dm0,
            time=found.time + clock.late,
            downsampling=found.width,
            bin_length=found.bin_length,
            best_dm=found.best_dm,
        ),
        score=score,
        freq_time=found.freq_time,
        dm_time=found.dm_time,
        dms=found.dms,
        arrival=extracted.arrival,
        band=FrequencyRange(band.f_low, band.f_high),
    )
    try:
        path = write_candidate(job.output, candidate)
    except OSError as error:
        raise OSError(f"{job.output}: {error}") from error
    problems = []
    if job.beam is not None:
        from darc.candidates.draw_pictures import draw  # noqa: PLC0415 - matplotlib

        how = job.settings.visualizer
        problems.append(draw(path, candidate, how, job.beam, extracted.arrival))
    if FETCH in job.settings.extractor.files_for:
        try:
            write_for_fetch(job, candidate, found.centre, extracted.mask, MAX_STRETCH)
        except (OSError, ValueError) as error:  # the candidate is kept without that file
            problems.append(f"no file for FETCH: {error}")
    problem = "; ".join(filter(None, problems))
    # A list's widths are in samples of the observation; those of the file are in its own.
    width = clock.width_of_observation(found.width)
    entry = replace(listed(candidate), downsampling=width)
    return ExtractionOutcome(job.pulse, ClusterOutcome.KEPT, problem, path, entry)


def _reference(job: ExtractionJob, header: FilterbankHeader) -> ArrivalReference:
    """Return the reference of times: start from the observation, frequency from the file."""
    of_file = header.arrival_reference
    if job.arrival is None:
        return of_file
    known = job.arrival
    return replace(of_file, start=known.start, telescope=known.telescope, source=known.source)


def _opened(paths: Sequence[DataSource], ifs: tuple[int, ...] | None) -> CompoundBeam:
    try:
        return CompoundBeam(paths, ifs)
    except FileNotFoundError as error:
        where = "instrument.data_directory and instrument.data_files say where data are"
        raise DataFileError(f"{error.filename}: no such file; {where}") from error


def _extract(job: ExtractionJob, differing: list[tuple[str, str]]) -> _Extracted:
    """Read the data and extract the candidate.

    :param differing: gets a file that is sampled otherwise than it should be, and how
    :raises OutsideDataError: the pulse is outside the data
    :raises OSError: a file cannot be read
    :raises ValueError: a file or the pulse is invalid
    """
    settings, files = extraction_settings(job.settings.extractor), job.files
    # Only the files that the beam needs: others may be missing.
    needed, tabs = np.unique(np.array(job.tabs, dtype=np.int64), return_inverse=True)
    paths = files.paths()
    if needed[-1] >= len(paths):
        raise DataFileError(f"{files.directory}: no TAB {needed[-1]}; there are {len(paths)}")
    with _opened([paths[tab] for tab in needed], files.ifs) as beam:
        header = beam.header
        clock = file_clock(header, job.arrival, str(paths[needed[0]]), files.times)
        if clock.differs:
            differing.append((str(paths[needed[0]]), clock.differs))
        pulse = clock.in_file(job.pulse)
        if pulse.time < 0 <= job.pulse.time:
            raise OutsideDataError(
                f"a pulse at {job.pulse.time:.6g} s is before the first sample of"
                f" {paths[needed[0]]}, {clock.late:.6g} s after the observation's start"
            )
        plan = plan_extraction(
            beam.band,
            header.tsamp,
            dm=pulse.dm,
            width=pulse.downsampling,
            time=pulse.time,
            settings=settings,
        ).within(beam.n_samples(tabs))
        size = plan.count * header.bytes_per_sample
        if size > MAX_STRETCH:
            raise ValueError(
                f"{paths[needed[0]]}: a stretch of {plan.count} samples for a width of"
                f" {pulse.downsampling} is {size} bytes; allowed: {MAX_STRETCH}"
            )
        mask = None if job.mask is None else _mask(job.mask, header.nchans)
        data = beam.read_synthesised(tabs, plan.start, plan.count)
        try:
            found = extract(data, plan, settings, descending=header.descending, mask=mask)
        except OutsideDataError:
            raise
        except ValueError as error:
            raise ValueError(f"{paths[needed[0]]}: {error}") from error
        refused = tuple(beam.refused(tabs, plan.start, plan.count))
        return _Extracted(found, plan, clock, _reference(job, header), mask, refused)


def _mask(path: Path, n_channels: int) -> Mask:
    return parse_channel_mask(
        read_regular(path, MAX_TEXT).decode(errors="replace"), str(path), n_channels
    )


def extraction_settings(settings: ProcessorExtractor) -> ExtractionSettings:
    """Convert the configuration to settings of the extraction."""
    return ExtractionSettings(
        ntime=settings.ntime,
        nfreq=settings.nfreq,
        ndm=settings.ndm,
        dm_halfrange=settings.dm_halfrange,
        clean_type=settings.rfi_clean_type,  # type: ignore[arg-type]
        threshold_time=settings.rfi_threshold_time,
        n_iter_time=settings.rfi_n_iter_time,
        threshold_freq=settings.rfi_threshold_freq,
        n_iter_freq=settings.rfi_n_iter_freq,
        bin_size=settings.rfi_bin_size,
    )
