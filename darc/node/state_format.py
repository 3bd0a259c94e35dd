"""Which version of DARC wrote the state in a node's run_dir, and whether this one can read it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from darc import __version__
from darc.node.node_identity import NodeError
from darc.runtime.paths import write_whole
from darc.runtime.untrusted_files import MAX_TEXT, read_regular

log = logging.getLogger(__name__)

#: Counted up whenever an earlier version could not read what this one writes in run_dir (journal,
#: observations, switches). Earlier formats are read, and completed where they lack something.
STATE_FORMAT = 1
_FILE = "state.json"
JOURNAL = "journal.sqlite"


def check_state(run_dir: Path) -> None:
    """Check that this version can read the state in run_dir; nothing is changed.

    :raises NodeError: a newer version wrote it; the text names that version and says what to do
    """
    written, version = _written(run_dir / _FILE)
    if written <= STATE_FORMAT:
        written = max(written, _journal_format(run_dir / JOURNAL))
    if written > STATE_FORMAT:
        raise NodeError(
            f"{run_dir}: a newer version wrote the state of this node"
            f" ({version or 'DARC'}, state format {written}; DARC {__version__} reads up to"
            f" {STATE_FORMAT}). Nothing was changed. Start the newer version, or set"
            " darc_master.run_dir to another directory"
        )


def claim_state(run_dir: Path) -> None:
    """Note that this version writes the state in run_dir from now on.

    Where that cannot be noted, as on a full disk, the node runs all the same: the journal has it.

    :raises NodeError: see :func:`check_state`
    """
    check_state(run_dir)
    if _written(run_dir / _FILE) != (STATE_FORMAT, f"DARC {__version__}"):
        plain = {"format": STATE_FORMAT, "version": f"DARC {__version__}"}
        try:
            write_whole(run_dir / _FILE, json.dumps(plain) + "\n")
        except OSError as error:
            log.error("the version that writes the state cannot be noted: %s", error)


def _written(path: Path) -> tuple[int, str]:
    """Format and version in the note; versions before the first format wrote none."""
    try:
        plain = json.loads(read_regular(path, MAX_TEXT))
        return int(plain["format"]), str(plain["version"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0, ""  # missing, or damaged: the journal has it, and the note is written again


def _journal_format(path: Path) -> int:
    """SQLite's user_version (https://www.sqlite.org/fileformat2.html), read without opening it."""
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError:
        return 0  # missing, or unreadable: opening it says so
    return int.from_bytes(header[60:64]) if header.startswith(b"SQLite format 3\0") else 0
