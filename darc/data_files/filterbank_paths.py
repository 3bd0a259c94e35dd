"""Paths of the filterbank files of an observation."""

from __future__ import annotations

from pathlib import Path


def filterbank_paths(directory: Path, cb: int, n_tabs: int) -> list[Path]:
    """Return the paths of a CB's files; a single TAB may have either name.

    :param n_tabs: number of TABs of the observation
    """
    single = directory / f"CB{cb:02d}.fil"
    tabs = [directory / f"CB{cb:02d}_{tab:02d}.fil" for tab in range(n_tabs)]
    return tabs if n_tabs > 1 or (tabs[0].exists() and not single.exists()) else [single]
