"""Writing of the results when all candidates of an observation are extracted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from darc.candidates.beam_max_dm import dms_galaxy
from darc.candidates.clusters import write_clusters
from darc.candidates.draw_pictures import offer
from darc.candidates.fetch_paths import fetch_file
from darc.candidates.past_triggers import has_header
from darc.candidates.pool_jobs import ResultsJob, WrittenResults
from darc.candidates.results.candidate_file import CANDIDATE_FILES, CandidateFileError, read_cb
from darc.candidates.results.collect_results import candidates_directory
from darc.candidates.results.ecsv_tables import SUFFIX, write_candidate_table, write_cluster_table
from darc.candidates.results.plots import write_plots
from darc.candidates.results.trigger_lists import write_summary, write_triggers
from darc.model.processing_outcome import NOTHING_SEARCHED, ListedCandidate, ProcessingSummary


def write_results(job: ResultsJob, advance: Callable[[], None] = lambda: None) -> WrittenResults:
    """Write the list of clusters, plots, the list of candidates, and last the summary.

    :param advance: called for each candidate that is plotted
    :raises OSError: the directory of the results is not writable
    """
    problems: list[str] = []
    try:
        write_clusters(job.clusters, job.pulses)
        if job.clusters.suffix != SUFFIX:
            write_cluster_table(job.clusters.with_suffix(SUFFIX), job.pulses, job.arrival)
        for directory in (job.clusters.parent, job.clusters.parent / "data"):
            _remove_unfinished(directory, "")
        problems += _remove_unknown(job)
    except OSError as error:
        problems.append(str(error))
    job.directory.mkdir(parents=True, exist_ok=True)
    for name in (".pdf", "_triggers.txt", f"_triggers{SUFFIX}", "_summary.yaml"):
        # Offline processing writes files of the same beam, too.
        _remove_unfinished(job.directory, f"CB{job.cb:02d}{name}.")
    kept = sorted(job.kept, key=lambda one: (-one[1].probability, -one[1].snr))
    galaxy: dict[str, float] = {}
    try:
        galaxy = dms_galaxy(job.beam)
    except (OSError, ValueError) as error:
        problems.append(f"no Milky Way DM: {error}")
    files = [path for path, _ in kept]
    problems += _plot(job, files, next(iter(galaxy.values()), None), advance)
    if job.offered:
        offer(candidates_directory(job.directory, job.cb), files)
    rows = [line for _, line in kept]
    triggers = job.directory / f"CB{job.cb:02d}_triggers.txt"
    write_triggers(triggers, rows)
    write_candidate_table(triggers.with_suffix(SUFFIX), rows, job.arrival, galaxy)
    write_summary(job.directory / f"CB{job.cb:02d}_summary.yaml", _summary(job, rows), job.arrival)
    return WrittenResults(tuple(problems))


def _remove_unfinished(directory: Path, begin: str) -> None:
    """Remove temporary files of `write_whole` that crashed processes left.

    :param begin: start of the files' names, as other processes may be writing theirs
    :raises OSError: a file cannot be removed
    """
    for path in directory.glob(f".{begin}*.new"):
        path.unlink(missing_ok=True)


def _remove_unknown(job: ResultsJob) -> list[str]:
    """Remove this beam's candidates without a cluster; return the unreadable ones.

    Their process crashed before it could report, and a better candidate replaced the cluster
    meanwhile.

    :raises OSError: a file cannot be removed
    """
    directory, problems = job.clusters.parent / "data", []
    kept = {path.name for path, _ in job.kept}
    for path in directory.glob(CANDIDATE_FILES):
        try:
            if path.name in kept or read_cb(path) != job.cb:
                continue
        except CandidateFileError as error:
            problems.append(f"left, though it belongs to no cluster: {error}")
            continue
        path.unlink(missing_ok=True)
    for picture in directory.glob(f"{Path(CANDIDATE_FILES).stem}.png"):
        if not picture.with_suffix(".hdf5").exists():
            picture.unlink(missing_ok=True)
    beside = fetch_file(directory / Path(CANDIDATE_FILES)).parent
    for other in beside.glob(f"{Path(CANDIDATE_FILES).stem}.h5"):
        if not (directory / f"{other.stem}.hdf5").exists():
            other.unlink(missing_ok=True)
    return problems


def _plot(
    job: ResultsJob, files: Sequence[Path], galaxy: float | None, advance: Callable[[], None]
) -> list[str]:
    """Plot candidates; return those that could not be plotted.

    :param galaxy: maximum DM of the Milky Way, pc cm-3; None: unknown
    """
    path = job.directory / f"CB{job.cb:02d}.pdf"
    try:
        left_out = write_plots(path, files, job.settings.visualizer, galaxy, job.arrival, advance)
    except OSError:
        raise
    except Exception as error:  # the lists are written without plots
        return [f"{path}: not plotted: {type(error).__name__}: {error}"]
    return [f"not plotted: {what}" for what in left_out]


def _summary(job: ResultsJob, kept: Sequence[ListedCandidate]) -> ProcessingSummary:
    if not (job.n_raw or job.searched or any(map(has_header, job.trigger_files))):
        return NOTHING_SEARCHED
    return ProcessingSummary(
        ncand_raw=job.n_raw,
        ncand_post_clustering=len(job.pulses),
        ncand_post_thresholds=job.n_passed,
        ncand_post_classifier=len(kept),
    )
