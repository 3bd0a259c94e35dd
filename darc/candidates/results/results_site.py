"""Static site of the results: files for any web server, or for a browser without one.

    results.css, results.js, results.svg
    <date>/<datetimesource>/index.html, observation.json, and the files that it shows

Links are relative. `site_lists` creates lists from each observation's `observation.json`.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from darc.candidates.results.page_texts import SITE_FILTERS
from darc.config import typed
from darc.config.records import Struct
from darc.model.arrival import ArrivalReference
from darc.model.arrival_texts import mjd_text, utc_text
from darc.model.processing_outcome import ProcessingSummary
from darc.model.results import BeamState, ObservationResults, ShownCandidate
from darc.runtime.paths import link_whole, write_whole
from darc.runtime.retention import remove_unfinished
from darc.runtime.untrusted_files import NotRegularError, open_regular, read_regular
from darc.web.page_text import shown
from darc.web.style import Colours, properties

log = logging.getLogger(__name__)

INDEX, ENTRY = "index.html", "observation.json"
PICTURES, FILES = "pictures", "files"
_ASSETS = ("results.css", "results.js", "results.svg")
FORMAT = 1
#: Maximum size of a published file, bytes.
MAX_PUBLISHED = 256 * 2**20
#: Maximum size of `observation.json`, bytes.
_MAX_ENTRY = 2**20
#: Errors of a link between file systems, or on one without links.
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)
_COLOURS = Colours("green", "red", "grey")
#: Content security policy: nothing external, and no scripts but those of the file beside the page.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; base-uri 'none';"
    " form-action 'none'"
)


class ObservationEntry(Struct, frozen=True):
    """Entry of an observation in lists; `observation.json`.

    :param datetimesource: also the name of its directory, in that of the date
    :param start: Unix s
    :param duration: s
    :param done: no beam is pending
    :param beams: number of all, finished and failed beams
    :param counts: sums over beams; -1 if unknown in all beams
    :param made: time of this state, Unix s
    """

    format: int
    task_id: str
    date: str
    datetimesource: str
    source: str
    start: float
    duration: float
    done: bool
    beams: int
    beams_done: int
    failed: tuple[int, ...]
    counts: ProcessingSummary
    made: float


class _Link(Struct, frozen=True):
    name: str
    address: str


class _Row(Struct, frozen=True):
    """Candidate in the table."""

    candidate: ShownCandidate
    picture: str
    file: str
    times_galaxy: float | None
    width_ms: float
    utc: str
    mjd: str


def write_observation_page(
    site: Path, results: ObservationResults, *, in_place: bool = False
) -> Path:
    """Write the page of an observation and its entry for the lists, and copy its files.

    :param site: directory of the site; created
    :param in_place: keep a single copy of each file, as the site stays beside the results: pictures
        are moved into the site, other files are linked
    :return: the page
    :raises ValueError: the observation's name is not valid as that of a directory
    :raises OSError: a file cannot be read or written; the earlier page remains
    """
    observation = results.observation
    directory = site / _part(observation.date) / _part(observation.datetimesource)
    directory.mkdir(parents=True, exist_ok=True)
    for one in (directory, directory / PICTURES, directory / FILES):
        remove_unfinished(one)
    offer = _link if in_place else _publish
    beams = [
        (beam, [link for file in beam.files if (link := offer(file, directory, FILES))])
        for beam in results.beams
    ]
    galaxy = {beam.cb: beam.dm_galaxy for beam in results.beams}
    in_order = sorted(
        results.candidates,
        key=lambda one: (-one.listed.probability, -one.listed.snr, one.listed.cb, one.listed.time),
    )
    reference = results.arrival or observation.arrival_reference()
    rows = [
        _row(one, galaxy.get(one.listed.cb), directory, in_place, reference) for one in in_order
    ]
    entry = make_entry(results)
    page = environment().get_template("observation.html")
    text = page.render(
        policy=POLICY,
        root="../../",
        results=results,
        observation=observation,
        entry=entry,
        beams=beams,
        coordinates={one.cb: one for one in results.coordinates},
        rows=rows,
        reference=reference,
        start=_dates(reference, 0.0),
        with_galaxy=any(row.times_galaxy is not None for row in rows),
        with_files=any(row.file for row in rows),
        with_sources=any(row.candidate.source for row in rows),
        files=[link for file in results.files if (link := offer(file, directory, FILES))],
        states=BeamState,
    )
    write_assets(site)
    # Written last: nobody may collect these results again.
    write_whole(directory / INDEX, text)
    plain = json.dumps(typed.to_plain(entry), indent=1, ensure_ascii=False)
    write_whole(directory / ENTRY, plain + "\n")
    return directory / INDEX


def make_entry(results: ObservationResults) -> ObservationEntry:
    """Return an observation's entry in lists."""
    observation, beams = results.observation, results.beams
    summaries = [beam.summary for beam in beams if beam.summary is not None]
    names = ("ncand_raw", "ncand_post_clustering", "ncand_post_thresholds", "ncand_post_classifier")
    return ObservationEntry(
        format=FORMAT,
        task_id=observation.task_id,
        date=observation.date,
        datetimesource=observation.datetimesource,
        source=observation.source,
        start=observation.start,
        duration=observation.duration,
        done=results.done,
        beams=len(beams),
        beams_done=sum(beam.state is BeamState.DONE for beam in beams),
        failed=tuple(beam.cb for beam in beams if beam.state is BeamState.FAILED),
        counts=ProcessingSummary(
            *(_total(getattr(one, name) for one in summaries) for name in names)
        ),
        made=results.made,
    )


def _total(counts: Iterable[int]) -> int:
    known = [count for count in counts if count >= 0]
    return sum(known) if known else -1


def read_entry(path: Path) -> ObservationEntry:
    """Read an `observation.json`.

    :raises ValueError: the file is invalid
    :raises OSError: the file cannot be read
    """
    data = read_regular(path, _MAX_ENTRY)
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: no JSON: {error}") from error
    if isinstance(plain, Mapping) and plain.get("format") != FORMAT:
        raise ValueError(f"{path}: format {plain.get('format')!r:.60}, not {FORMAT}")
    return typed.from_plain(ObservationEntry, plain, str(path))


def _row(
    candidate: ShownCandidate,
    dm_galaxy: float | None,
    directory: Path,
    in_place: bool,
    reference: ArrivalReference,
) -> _Row:
    # Interference may give candidates of the same name in several beams.
    beam = f"CB{candidate.listed.cb:02d}_"
    picture, file = candidate.picture, candidate.file
    if in_place:
        addresses = _moved(picture, directory, beam), _link(file, directory).address if file else ""
    else:
        addresses = (
            _publish_one(picture, directory, PICTURES, beam),
            _publish_one(file, directory, FILES, beam),
        )
    return _Row(
        candidate,
        *addresses,
        candidate.listed.dm / dm_galaxy if dm_galaxy else None,
        reference.width_ms(candidate.listed.downsampling),
        *_dates(reference, candidate.listed.time),
    )


def _dates(reference: ArrivalReference, time: float) -> tuple[str, str]:
    """Return UTC and MJD of a time since the start; each empty if unknown."""
    if reference.start is None:
        return "", ""
    unix = reference.start + time
    return utc_text(unix) if reference.scale == "UTC" else "", mjd_text(unix)


# -- files -----------------------------------------------------------------------------------------


def _part(name: str) -> str:
    """Return a name that is valid as that of a directory.

    :raises ValueError: the name is invalid
    """
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} is no name of a directory")
    return name


def _link(file: Path, directory: Path, below: str = "") -> _Link:
    """Return the link to a file in its place."""
    there = os.path.relpath(file.absolute(), directory.absolute())
    return _Link(file.name, address(Path(there)))


def _moved(picture: Path | None, directory: Path, prefix: str) -> str:
    """Move a picture into the site, and return its address; empty if there is none."""
    if picture is None:
        return ""
    target = directory / PICTURES / (prefix + picture.name)
    target.parent.mkdir(exist_ok=True)
    picture.replace(target)
    return address(Path(PICTURES) / target.name)


def _publish_one(file: Path | None, directory: Path, below: str, prefix: str) -> str:
    """Copy a candidate's file from its beam's directory, and return its address; empty if none."""
    link = _publish(file, directory, below, prefix, file.parent.parent) if file else None
    return link.address if link else ""


def _publish(
    file: Path, directory: Path, below: str, prefix: str = "", root: Path | None = None
) -> _Link | None:
    """Put a file beside a page, atomically, unless it is there already.

    It is the same file on disk where only this user can change it, and a copy elsewhere.

    :param root: directory that others can write to: symbolic links below it are not followed; None:
        the file's directory
    :return: None if the file cannot be published
    """
    name = file.name if file.name.startswith(prefix) else prefix + file.name
    target = directory / below / name
    try:
        opened = open_regular(file, root or file.parent)
    except NotRegularError as error:
        log.error("not published: %s", error)
        return None
    with opened:
        wanted = os.fstat(opened.fileno())
        if wanted.st_size > MAX_PUBLISHED:
            log.error("not published: %s: larger than %d bytes", file, MAX_PUBLISHED)
            return None
        if not _is_copy(wanted, target):
            target.parent.mkdir(exist_ok=True)
            if not _linked(file, wanted, target):
                write_whole(target, opened.read(wanted.st_size), durable=False)
                target.chmod(wanted.st_mode & 0o666)
                os.utime(target, ns=(wanted.st_atime_ns, wanted.st_mtime_ns))
    return _Link(name, address(Path(below) / name))


def _linked(file: Path, wanted: os.stat_result, target: Path) -> bool:
    """Make a hard link to a file that only this user can change; return whether that was possible.

    :param wanted: the file as it was opened
    """
    if wanted.st_uid != os.geteuid() or wanted.st_mode & 0o022:
        return False
    if not wanted.st_mode & stat.S_IROTH:
        return False  # a private file with a second link is taken for one of somebody else
    try:
        return link_whole(file, target, (wanted.st_dev, wanted.st_ino))
    except OSError as error:
        if error.errno in _NO_LINK:
            return False
        raise


def _is_copy(wanted: os.stat_result, target: Path) -> bool:
    try:
        there = target.stat()
    except FileNotFoundError:
        return False
    return (there.st_size, there.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns)


def address(path: Path) -> str:
    """Convert a relative path to a link."""
    return quote(path.as_posix())


def write_assets(site: Path) -> None:
    """Write the files that all pages use, unless they are up to date."""
    loader = jinja2.PackageLoader("darc")

    def source(name: str) -> str:
        return loader.get_source(environment(), name)[0]

    assets = {name: source(f"results/{name}") for name in _ASSETS}
    assets["results.css"] = properties(_COLOURS) + source("style.css") + assets["results.css"]
    for name, text in assets.items():
        path = site / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_whole(path, text, durable=False)


@cache
def environment() -> jinja2.Environment:
    """Return the template environment of the pages."""
    # Names of sources are escaped.
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("darc", "templates/results"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    made.filters |= SITE_FILTERS
    signs = jinja2.PackageLoader("darc").get_source(made, "signs.svg")[0]
    made.globals["signs"] = Markup(signs)
    return made
