"""``darc_process``: processing of a data file of any telescope, on any computer."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from darc import __version__
from darc.candidates.file_observation import spelt_out
from darc.candidates.process_one_file import (
    SITE,
    FileRequest,
    FileResult,
    ProcessingError,
    process_file,
    remove_unfinished,
)
from darc.candidates.results.results_site import INDEX
from darc.config.config import Config
from darc.config.records import replace
from darc.config.settings import PROGRAMS, ProcessorSettings
from darc.config.yaml_tree import yaml_text
from darc.data_files.data_source import source_of
from darc.data_files.file_format import format_of_file
from darc.data_files.find_sequence import find_continuations
from darc.data_files.open_data_file import open_data_file
from darc.model.processing_outcome import ClusterOutcome
from darc.node.node_config import ConfigSources, read_sources
from darc.runtime.log import printable
from darc.runtime.paths import users_home, write_whole
from darc.runtime.program import as_program, if_numbers, number, whole

#: Marks a directory as written by darc_process.
MARK = "darc_process.yaml"
_TOLD = 10
_DM_MAX_SEARCH = 2000.0


@as_program
def main() -> int:
    """Process a file; exit status 0: done, 1: something failed, 2: usage, 130: interrupted."""
    options = _parser().parse_intermixed_args()
    os.environ["MPLBACKEND"] = "Agg"  # overrides the setting of a notebook
    if users_home() is None:  # astropy cannot be imported without one
        os.environ["HOME"] = "/nonexistent"
    output = options.output or Path(f"{_plain(options.file.stem)}_darc")
    began = time.monotonic()
    listener = _Listener(sys.stderr.isatty())
    try:
        done = _process(options, output, listener)
    except (ProcessingError, OSError, ValueError, MemoryError) as error:
        print(printable(str(error) or "not enough memory"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        kept = len(list((output / "data").glob("*.hdf5")))
        print(f"interrupted: {kept} candidates are in {output / 'data'}", file=sys.stderr)
        return 130
    _print_result(done, output, time.monotonic() - began)
    return 1 if done.failed else 0


def _process(options: argparse.Namespace, output: Path, listener: _Listener) -> FileResult:
    """Process a file; what an unfinished run has begun to write is removed.

    :raises ProcessingError, OSError, ValueError, MemoryError: it cannot be processed
    """
    _check(options)
    request = _request(options, output)
    with _sole_use(output):
        _prepare(options, output)
        try:
            with listener:
                if options.continued:
                    listener.say(
                        f"{options.continued[0]} continues {options.last}: --sequence processes it,"
                        " too"
                    )
                return process_file(request, listener)
        except BaseException:
            remove_unfinished(output)
            raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="darc_process",
        description="Process a data file (SIGPROC filterbank, PSRFITS or DADA): candidates are"
        " clustered, extracted, scored and plotted as on a DARC node, and shown on a web page."
        " Neither a node nor a configuration is needed.",
        epilog="Exit status: 0 when all was done, 1 when something failed, 2 for wrong options,"
        " 130 when interrupted.",
    )
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="1 to 32 bits, any band; further files of the same observation may follow",
    )
    parser.add_argument(
        "triggers",
        type=Path,
        nargs="*",
        metavar="TRIGGERS",
        help="one file or several: of AMBER, DARC, PRESTO (.singlepulse) or Heimdall (.cand);"
        " times are seconds since the file's first sample. Without any, the file is searched",
    )
    parser.add_argument(
        "--sequence",
        action="store_true",
        help="also process the files that continue FILE, by their names and headers",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="default: FILE's name and _darc, here"
    )
    parser.add_argument(
        "--force", action="store_true", help="write into a directory not made by darc_process"
    )
    parser.add_argument("--dm-min", type=number(0, 100_000), metavar="DM", help="default: 20")
    parser.add_argument(
        "--dm-max", type=number(0, 100_000), metavar="DM", help="default: none; of a search 2000"
    )
    parser.add_argument(
        "--snr-min", type=number(0, 100_000), metavar="SNR", help="of clusters; default: 10"
    )
    parser.add_argument(
        "--jobs",
        type=whole(1, 256),
        metavar="N",
        help="processes; default: one per core, at most 8",
    )
    parser.add_argument(
        "--ifs",
        type=if_numbers,
        metavar="N,…",
        help="IFs to be added, from 1; default: both of two (polarisations), the first of more",
    )
    parser.add_argument(
        "--mask", type=Path, metavar="FILE", help="numbers of channels not to use, 0 the lowest"
    )
    parser.add_argument("--model", type=Path, metavar="FILE", help="another classifier, *.onnx")
    parser.add_argument(
        "--for",
        action="append",
        choices=PROGRAMS,
        default=[],
        dest="files_for",
        help="write each candidate also as that program reads it (DIR/fetch); default: none",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="a configuration of DARC; default: none"
    )
    return parser


def _plain(name: str) -> str:
    """Return a name that is valid on pages: bytes that are not text become _."""
    return os.fsencode(name).decode(errors="replace").replace("\ufffd", "_")


# -- before ----------------------------------------------------------------------------------------


def _check(options: argparse.Namespace) -> None:
    """Check the files before anything is written.

    :raises OSError: a file cannot be read
    :raises ValueError: a file is invalid
    """
    for path in (options.file, *options.triggers, options.mask, options.model):
        if path is not None and not path.is_file():
            if path.exists():
                raise ValueError(f"{path}: not a file")
            raise FileNotFoundError(f"{path}: there is no such file")
    files = [options.file, *filter(format_of_file, options.triggers)]
    options.triggers = [path for path in options.triggers if path not in files]
    options.last = files[-1]
    given = {os.path.realpath(path) for path in files}
    following = find_continuations(files[-1]) if format_of_file(options.file) else []
    options.continued = [path for path in following if os.path.realpath(path) not in given]
    if options.sequence:
        files, options.continued = [*files, *options.continued], []
    options.source = source_of(files)
    with open_data_file(options.source, options.ifs) as file:
        n_channels = file.header.nchans
    if options.mask is not None:
        from darc.science.channel_mask import parse_channel_mask  # noqa: PLC0415

        text = options.mask.read_text(encoding="utf-8", errors="replace")
        parse_channel_mask(text, str(options.mask), n_channels)
    if options.model is not None:
        from darc.candidates.classifier import load_classifier  # noqa: PLC0415

        load_classifier(options.model)


def _request(options: argparse.Namespace, output: Path) -> FileRequest:
    config = (
        ConfigSources(None).parse(of_a_node=False)
        if options.config is None
        else read_sources(options.config).parse(of_a_node=False)
    )
    return FileRequest(
        file=options.source,
        triggers=tuple(options.triggers),
        output=output,
        config=config,
        settings=_settings(options, config),
        dm_max_search=_DM_MAX_SEARCH,
        jobs=options.jobs or min(8, len(os.sched_getaffinity(0))),
        ifs=options.ifs,
    )


def _settings(options: argparse.Namespace, config: Config) -> ProcessorSettings:
    settings = config.of(ProcessorSettings)
    clustering, extractor, classifier = (
        settings.clustering,
        settings.extractor,
        settings.classifier,
    )
    if options.dm_min is not None:
        clustering = replace(clustering, dm_min=options.dm_min)
    if options.dm_max is not None:
        clustering = replace(clustering, dm_max=options.dm_max)
    if clustering.dm_min > clustering.dm_max >= 0:
        raise ValueError(f"empty DM range: {clustering.dm_min:g} to {clustering.dm_max:g} pc cm-3")
    if options.snr_min is not None:
        weakest = min(options.snr_min, clustering.snr_min_clustering)
        clustering = replace(clustering, snr_min=options.snr_min, snr_min_clustering=weakest)
    if options.mask is not None:
        mask = str(options.mask.absolute())
        extractor = replace(extractor, rfi_mask=mask, rfi_apply_mask=True)
    if options.files_for:
        extractor = replace(extractor, files_for=tuple(dict.fromkeys(options.files_for)))
    if options.model is not None:
        classifier = replace(classifier, model=str(options.model.absolute()))
    return replace(settings, clustering=clustering, extractor=extractor, classifier=classifier)


@contextmanager
def _sole_use(output: Path) -> Iterator[None]:
    """Make the output directory, and keep others of these programs out of it.

    :raises ValueError: it cannot be made, or another one is at work in it
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(output, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ValueError(
            f"--output {output}: no directory can be made there: {error.strerror}"
        ) from error
    try:
        with suppress(OSError):  # not every file system has locks
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"{output}: another darc_process is at work there; another --output, or wait"
                ) from None
        yield
    finally:
        os.close(descriptor)


def _prepare(options: argparse.Namespace, output: Path) -> None:
    """Remove the output of an earlier run, and nothing else.

    :raises ValueError: it contains other files, or the output for another input file
    :raises OSError: it cannot be written to
    """
    ours = (output / MARK).exists()
    if not (ours or options.force) and any(output.iterdir()):
        raise ValueError(
            f"{output}: not empty, and not made by darc_process; another --output, or --force"
        )
    file = spelt_out(os.path.realpath(options.file))
    if ours and not options.force and (other := _made_of(output / MARK)) not in (None, file):
        raise ValueError(
            f"{output}: holds what came of {other}; another --output, or --force to remove it"
        )
    if ours:
        for path in files_of_before(output):
            path.unlink()
    words = [spelt_out(word) for word in sys.argv[1:]]
    content = {"file": file, "version": __version__, "words": words}
    write_whole(output / MARK, yaml_text(content))


def _made_of(mark: Path) -> str | None:
    """Return the input file of an earlier run; None if unknown."""
    try:
        content = yaml.safe_load(mark.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError):
        return None
    file = content.get("file") if isinstance(content, dict) else None
    return spelt_out(os.path.realpath(file)) if isinstance(file, str) else None


def files_of_before(output: Path) -> Iterator[Path]:
    """What an earlier search has left in its output directory."""
    for pattern in (
        "data/TOA*_SNR*",
        "fetch/TOA*_SNR*",
        "CB00/TOA*_SNR*",
        "CB00.pdf",
        "CB00_*",
        "grouped_pulses.*",
    ):
        yield from output.glob(pattern)
    for page in ("index.html", "observation.json", "files/CB00*", "*/CB00_TOA*_SNR*"):
        yield from output.glob(f"{SITE}/*/*/{page}")
    for page in ("*.html", "*/*.html"):
        yield from output.glob(f"{SITE}/{page}")


# -- meanwhile and after ---------------------------------------------------------------------------


class _Listener:
    """Progress: a bar on a terminal, else a line at the start."""

    def __init__(self, on_terminal: bool) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description:<16}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not on_terminal,
        )
        self._task = self._progress.add_task("reading", total=None)

    def __enter__(self) -> _Listener:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def begin(self, step: str, total: int) -> None:
        done = self._task
        self._progress.update(done, total=self._progress.tasks[-1].completed)
        self._task = self._progress.add_task(step, total=total)

    def advance(self) -> None:
        self._progress.advance(self._task)

    def say(self, text: str) -> None:
        self._console.print(printable(text), markup=False, soft_wrap=True)


def _print_result(done: FileResult, output: Path, seconds: float) -> None:
    outcomes = done.fates
    passed = sum(count for outcome, count in outcomes.items() if outcome.passed_thresholds)
    rest = [
        f"{outcomes[outcome]} {outcome}"
        for outcome in ClusterOutcome
        if outcome is not ClusterOutcome.KEPT and outcome in outcomes
    ]
    for problem in done.failed[:_TOLD]:
        print(printable(f"failed: {problem}"), file=sys.stderr)
    if len(done.failed) > _TOLD:
        print(f"failed: {len(done.failed) - _TOLD} more", file=sys.stderr)
    print(
        f"raw {done.n_raw}, clusters {done.n_clusters}, strong enough {passed},"
        f" candidates {outcomes.get(ClusterOutcome.KEPT, 0)}"
        f"{' (' + ', '.join(rest) + ')' if rest else ''}; {seconds:.1f} s"
    )
    print((output / SITE / INDEX).absolute())
