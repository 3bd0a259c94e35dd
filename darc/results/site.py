"""The results as a static site: files that any web server serves, or a browser opens from disk.

    index.html, results.css, results.js, results.svg
    <date>/<datetimesource>/index.html, observation.json, and what there is to look at

Links are relative. The index is made of each observation's `observation.json`, at any time anew.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from darc.model import typed
from darc.model.processed import Summary
from darc.model.results import BeamState, ObservationResults, ShownCandidate
from darc.node.files import write_whole
from darc.results.texts import SITE_FILTERS, shown
from darc.web.style import Colours, properties

INDEX, ENTRY = "index.html", "observation.json"
PICTURES, FILES = "pictures", "files"
_ASSETS = ("results.css", "results.js", "results.svg")
FORMAT = 1
#: Of `observation.json`, bytes: a larger one is none.
_MAX_ENTRY = 2**20
_COLOURS = Colours("green", "red", "grey")
#: Nothing from elsewhere, and no scripts but those of the file beside the page.
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; base-uri 'none';"
    " form-action 'none'"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index says of an observation; `observation.json`.

    :param datetimesource: also the name of its directory, inside that of the date
    :param start: Unix s
    :param duration: s
    :param done: no beam is waited for any more
    :param beams: how many there are, are done, and have failed
    :param counts: sums over beams; -1 where no beam knows
    :param made: when this was so, Unix s
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
    counts: Summary
    made: float


@dataclass(frozen=True, slots=True)
class _Link:
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class _Row:
    """A candidate in the table."""

    candidate: ShownCandidate
    picture: str
    file: str
    times_galaxy: float | None


def write_observation_page(site: Path, results: ObservationResults) -> Path:
    """Write the page of an observation and its entry for the index; files are copied beside it.

    :param site: directory of the site; made
    :return: the page
    :raises ValueError: the observation's name is none of a directory
    :raises OSError: something cannot be read or written; the page of before stays
    """
    observation = results.observation
    directory = site / _part(observation.date) / _part(observation.datetimesource)
    directory.mkdir(parents=True, exist_ok=True)
    beams = [
        (beam, [_publish(file, directory, FILES) for file in beam.files]) for beam in results.beams
    ]
    galaxy = {beam.cb: beam.dm_galaxy for beam in results.beams}
    in_order = sorted(
        results.candidates,
        key=lambda one: (-one.listed.probability, -one.listed.snr, one.listed.cb, one.listed.time),
    )
    rows = [_row(one, galaxy.get(one.listed.cb), directory) for one in in_order]
    entry = make_entry(results)
    page = _environment().get_template("observation.html")
    text = page.render(
        policy=_POLICY,
        root="../../",
        results=results,
        observation=observation,
        entry=entry,
        beams=beams,
        coordinates={one.cb: one for one in results.coordinates},
        rows=rows,
        with_galaxy=any(row.times_galaxy is not None for row in rows),
        with_files=any(row.file for row in rows),
        files=[_publish(file, directory, FILES) for file in results.files],
        states=BeamState,
    )
    _write_assets(site)
    write_whole(directory / INDEX, text)
    plain = json.dumps(typed.to_plain(entry), indent=1, ensure_ascii=False)
    write_whole(directory / ENTRY, plain + "\n")
    return directory / INDEX


def write_index(site: Path) -> list[str]:
    """Write the index of all observations that there are, the newest first.

    :param site: directory of the site; made
    :return: what is left out, as it cannot be read: the file and why
    :raises OSError: the index cannot be written; the one of before stays
    """
    entries: list[tuple[Entry, str]] = []
    left_out: list[str] = []
    for path in site.glob(f"*/*/{ENTRY}"):
        try:
            entry = _read_entry(path)
        except (OSError, ValueError) as error:
            left_out.append(str(error))
        else:
            entries.append((entry, _address(path.parent.relative_to(site) / INDEX)))
    entries.sort(key=lambda one: (one[0].start, one[0].datetimesource), reverse=True)
    days: dict[str, list[tuple[Entry, str]]] = {}
    for entry, address in entries:
        days.setdefault(entry.date, []).append((entry, address))
    site.mkdir(parents=True, exist_ok=True)
    page = _environment().get_template("index.html")
    _write_assets(site)
    write_whole(site / INDEX, page.render(policy=_POLICY, root="", days=days, left_out=left_out))
    return left_out


def make_entry(results: ObservationResults) -> Entry:
    """What the index says of an observation."""
    observation, beams = results.observation, results.beams
    summaries = [beam.summary for beam in beams if beam.summary is not None]
    names = ("ncand_raw", "ncand_post_clustering", "ncand_post_thresholds", "ncand_post_classifier")
    return Entry(
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
        counts=Summary(*(_total(getattr(one, name) for one in summaries) for name in names)),
        made=results.made,
    )


def _total(counts: Iterable[int]) -> int:
    known = [count for count in counts if count >= 0]
    return sum(known) if known else -1


def _read_entry(path: Path) -> Entry:
    with path.open("rb") as file:
        data = file.read(_MAX_ENTRY + 1)
    if len(data) > _MAX_ENTRY:
        raise ValueError(f"{path}: larger than {_MAX_ENTRY} bytes")
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: no JSON: {error}") from error
    if isinstance(plain, Mapping) and plain.get("format") != FORMAT:
        raise ValueError(f"{path}: format {plain.get('format')!r:.60}, not {FORMAT}")
    return typed.from_plain(Entry, plain, str(path))


def _row(candidate: ShownCandidate, dm_galaxy: float | None, directory: Path) -> _Row:
    # Of the same interference, candidates of several beams have the same name.
    beam = f"CB{candidate.listed.cb:02d}_"
    picture, file = candidate.picture, candidate.file
    return _Row(
        candidate,
        _publish(picture, directory, PICTURES, beam).address if picture else "",
        _publish(file, directory, FILES, beam).address if file else "",
        candidate.listed.dm / dm_galaxy if dm_galaxy else None,
    )


# -- files -----------------------------------------------------------------------------------------


def _part(name: str) -> str:
    """A name as that of a directory; one that leads elsewhere is none."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} is no name of a directory")
    return name


def _publish(file: Path, directory: Path, below: str, prefix: str = "") -> _Link:
    """Copy a file beside a page, if it is not there as it is; whole or not at all."""
    name = file.name if file.name.startswith(prefix) else prefix + file.name
    target = directory / below / name
    if not _is_copy(file, target):
        target.parent.mkdir(exist_ok=True)
        write_whole(target, file.read_bytes())
        shutil.copystat(file, target)
    return _Link(name, _address(Path(below) / name))


def _is_copy(file: Path, target: Path) -> bool:
    try:
        there, wanted = target.stat(), file.stat()
    except FileNotFoundError:
        return False
    return (there.st_size, there.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns)


def _address(path: Path) -> str:
    return quote(path.as_posix())


def _write_assets(site: Path) -> None:
    loader = jinja2.PackageLoader("darc")
    environment = _environment()

    def source(name: str) -> str:
        return loader.get_source(environment, name)[0]

    assets = {name: source(f"results/{name}") for name in _ASSETS}
    assets["results.css"] = properties(_COLOURS) + source("style.css") + assets["results.css"]
    for name, text in assets.items():
        path = site / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_whole(path, text)


@cache
def _environment() -> jinja2.Environment:
    # Whatever a source's name holds is shown, and never markup.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("darc", "templates/results"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    environment.filters |= SITE_FILTERS
    signs = jinja2.PackageLoader("darc").get_source(environment, "signs.svg")[0]
    environment.globals["signs"] = Markup(signs)
    return environment
