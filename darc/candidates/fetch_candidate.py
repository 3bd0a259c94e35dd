"""A candidate written for FETCH: from the data on disk, not from the arrays of its plots."""

from __future__ import annotations

import numpy as np

from darc.candidates.fetch_paths import fetch_file
from darc.candidates.file_observation import header_pointing
from darc.candidates.pool_jobs import BeamSky, ExtractionJob
from darc.candidates.results.candidate_file import candidate_name
from darc.candidates.results.fetch_candidate_file import FetchCandidate, write_fetch_candidate
from darc.data_files.beams import CompoundBeam
from darc.data_files.filterbank_header import FilterbankHeader
from darc.model.processing_outcome import ProcessedCandidate
from darc.science import sky
from darc.science.arrays import Mask
from darc.science.fetch_arrays import fetch_arrays, plan_fetch


def write_for_fetch(
    job: ExtractionJob,
    candidate: ProcessedCandidate,
    centre: float,
    mask: Mask | None,
    max_stretch: int,
) -> None:
    """Write the file of a candidate for FETCH.

    :param centre: of its boxcar at the centre of the highest channel, s from the file's start
    :param mask: channels to leave out, the lowest first
    :param max_stretch: largest stretch of data, bytes
    :raises OSError: a file cannot be read or written
    :raises ValueError: a file is invalid, or the stretch too large
    """
    needed, tabs = np.unique(np.array(job.tabs, dtype=np.int64), return_inverse=True)
    paths = [job.files.paths()[tab] for tab in needed]
    with CompoundBeam(paths, job.files.ifs) as beam:
        header = beam.header
        plan = plan_fetch(
            beam.band,
            header.tsamp,
            dm=candidate.pulse.dm,
            width=candidate.measured.downsampling,
            centre=centre,
        )
        n_samples = beam.n_samples(tabs)
        begin = max(0, plan.start)
        count = min(plan.start + plan.count, n_samples) - begin
        if count < 1 or plan.count * header.bytes_per_sample > max_stretch:
            raise ValueError(
                f"{paths[0]}: samples {plan.start} to {plan.start + plan.count} of {n_samples};"
                f" allowed: some of the file's, and up to {max_stretch} bytes"
            )
        arrays = fetch_arrays(
            beam.read_synthesised(tabs, begin, count),
            begin,
            plan,
            descending=header.descending,
            mask=mask,
        )
    write_fetch_candidate(
        fetch_file(job.output / candidate_name(candidate)),
        FetchCandidate(
            candidate,
            arrays,
            plan,
            paths,
            header,
            n_samples,
            _position(job.beam, header),
            mask,
        ),
    )


def _position(beam: BeamSky | None, header: FilterbankHeader) -> tuple[float, float] | None:
    """Return where the beam points, ICRS, deg; None: unknown."""
    if beam is None or beam.pointing is None:
        pointing = header_pointing(header)
        return None if pointing is None else (pointing.longitude_deg, pointing.latitude_deg)
    return sky.icrs_of(beam.pointing, beam.hour_angle_at, beam.position)
