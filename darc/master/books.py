"""The books of an observation: what each service counted and passed on, for those who ask later."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darc.node.log import about

log = logging.getLogger(__name__)

#: Names that sort by time.
_OBSERVATION = re.compile(r"\d{4}-\d{2}-\d{2}-\d{2}:\d{2}:\d{2}\..+")


def books_file(directory: Path, hostname: str) -> Path:
    """Where a node keeps the books of an observation, also where nodes share a home."""
    return directory / f"books.{hostname}.json"


def write_books(
    path: Path, task_id: str, memories: Mapping[str, Mapping[str, Any]], kept: int
) -> None:
    """Keep what the services have committed to memory, beside the observation's configuration.

    :param path: see `books_file`
    :param memories: by service
    :param kept: of so many observations; the oldest go
    """
    with about(task_id):
        _write_books(path, memories)
        prune(path.parents[1], kept)


def prune(directory: Path, kept: int) -> None:
    """Remove the oldest observations beyond the number to be kept, and nothing else."""
    found = sorted(path for path in directory.iterdir() if _OBSERVATION.fullmatch(path.name))
    for path in found[: max(0, len(found) - kept)]:
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            continue  # another node of this home was quicker
        except OSError as error:
            log.error("cannot be removed: %s", error)
        else:
            log.info("%s removed: more than %d observations are kept", path, kept)


def _write_books(path: Path, memories: Mapping[str, Mapping[str, Any]]) -> None:
    if not memories:  # kept before, by a master that died since
        return
    temporary = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(memories, indent=1, default=str) + "\n")
        temporary.replace(path)
    except OSError as error:
        log.error("no books kept: %s", error)
    for service, memory in memories.items():
        if "counts" in memory:
            log.info("%s: %s", service, memory["counts"])
