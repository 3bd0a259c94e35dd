"""Where candidates are that are written for FETCH; apart, as the service needs no HDF5 for it."""

from __future__ import annotations

from pathlib import Path


def fetch_file(file: Path) -> Path:
    """Return the file for FETCH of a candidate's file: in `fetch`, beside its directory."""
    return file.parent.parent / "fetch" / f"{file.stem}.h5"
