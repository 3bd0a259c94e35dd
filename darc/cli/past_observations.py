"""Observations known to this node: present ones, and past ones with a stored summary."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from darc.config.config import Config
from darc.config.records import Struct
from darc.master.observation_run import ObservationRun
from darc.master.observation_summaries import OBSERVATION, books_file
from darc.model.counters import identified
from darc.model.observation import ObservationError
from darc.model.parset import PARSERS, Parset
from darc.node.command_client import ask_attribute
from darc.runtime.service_traits import known_traits, traits_of

ASK_SECONDS = 5.0
_OVER, _NO_BOOKS = "over", "no books"


class ObservationRow(Struct, frozen=True):
    """An observation on this node; unknown values are None.

    :param start: Unix s
    :param duration: s
    :param state: pending, running, in processing, aborted; of the past: over, or no books, of which
        this node kept a configuration only
    :param candidates: number of candidates read
    :param clusters: number of clusters found
    :param triggers: number of triggers passed on
    :param problem: which of its files cannot be read
    """

    id: str | None
    source: str
    start: float
    duration: float | None
    state: str
    candidates: int | None = None
    clusters: int | None = None
    triggers: int | None = None
    problem: str = ""


def present(config: Config) -> Iterator[ObservationRow]:
    """Yield the unfinished observations, from the node's files."""
    directory = Path(config.master.run_dir) / "observations"
    paths = sorted(directory.glob("*.json")) if directory.is_dir() else []
    counts = _counts_of_now() if paths else {}
    for path in paths:
        try:
            run = ObservationRun.from_plain(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            continue  # finished meanwhile
        except (OSError, ValueError, TypeError, KeyError) as error:
            yield ObservationRow(path.stem, "?", 0.0, None, "?", problem=f"{path}: {error}")
            continue
        observation = run.observation
        yield ObservationRow(
            observation.task_id,
            observation.source,
            observation.start,
            observation.duration,
            run.shown_state,
            **_numbers({name: of.get(observation.task_id) for name, of in counts.items()}),
        )


def _counts_of_now() -> dict[str, dict[str, Any]]:
    """Return the counts by service and observation; services that do not answer are left out."""
    counts: dict[str, dict[str, Any]] = {}
    for service in _counting():
        plain, _ = ask_attribute(ASK_SECONDS, service, "counts")
        if isinstance(plain, dict):
            counts[service] = {task_id: identified(of_it) for task_id, of_it in plain.items()}
    return counts


def _counting() -> list[str]:
    return [service for service, traits in known_traits().items() if traits.shown]


def _numbers(counts: Mapping[str, Mapping[str, int] | None]) -> dict[str, Any]:
    """Return the numbers of an observation that its services' counters have, by field of its row.

    :param counts: counters by service; None or empty: it does not know the observation
    """
    found: dict[str, int] = {}
    for service, counted in counts.items():
        if not counted:
            continue
        for number, kinds in traits_of(service).shown.items():
            total = sum(counted.get(kind, 0) for kind in kinds)
            found[number] = max(total, found.get(number, 0))
    return found


def past(config: Config, known: set[str | None], most: int | None) -> Iterator[ObservationRow]:
    """Yield observations with a stored parset or summary, the latest first.

    :param known: task ids of unfinished observations, which are skipped
    :param most: largest number; None: all
    """
    directory = Path(config.master.parset_dir)
    if not directory.is_dir():
        return
    found = sorted(path for path in directory.iterdir() if OBSERVATION.fullmatch(path.name))
    n = 0
    for path in reversed(found):
        if n == most:
            return
        row = _past(path, books_file(path, config.hostname))
        if row is not None and row.id not in known:
            n += 1
            yield row


def _past(directory: Path, books_at: Path) -> ObservationRow | None:
    match = OBSERVATION.fullmatch(directory.name)
    assert match
    try:
        start = datetime.strptime(match[1], "%Y-%m-%d-%H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None  # no observation's
    task_id, duration, problem = _description(directory)
    numbers: dict[str, Any] = {}
    state = _NO_BOOKS
    try:
        books = json.loads(books_at.read_text(encoding="utf-8"))
        numbers = _numbers(
            {name: identified(books.get(name, {}).get("counts", {})) for name in _counting()}
        )
        state = _OVER
    except FileNotFoundError:
        pass
    except (OSError, ValueError, AttributeError, TypeError) as error:
        problem = f"{books_at}: {error}"
    return ObservationRow(task_id, match[2], start, duration, state, problem=problem, **numbers)


def _description(directory: Path) -> tuple[str | None, float | None, str]:
    """Return task id and duration from the stored parset, and its problem if it is invalid."""
    for path in sorted(directory.iterdir()):
        parse = PARSERS.get(path.suffix.lower())
        if parse is None or path.name.startswith("."):
            continue
        try:
            parset = parse(path.read_text(encoding="utf-8"), str(path))
        except (OSError, ValueError, ObservationError) as error:
            return None, None, str(error).splitlines()[0]
        return _text(parset, "taskid", "task.taskID"), _number(parset, "duration"), ""
    return None, None, ""


def _text(parset: Parset, *keys: str) -> str | None:
    return next((str(parset.values[key]) for key in keys if key in parset.values), None)


def _number(parset: Parset, key: str) -> float | None:
    try:
        return float(str(parset.values[key]))
    except (KeyError, ValueError):
        return None
