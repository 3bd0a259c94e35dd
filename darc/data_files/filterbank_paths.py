"""Where the filterbank files of an observation are."""

from __future__ import annotations

from pathlib import Path


def filterbank_paths(directory: Path, cb: int, n_tabs: int) -> list[Path]:
    """Where the files of a CB are; with a single TAB, either name will do.

    :param n_tabs: number of TABs of the observation
    """
    single = directory / f"CB{cb:02d}.fil"
    tabs = [directory / f"CB{cb:02d}_{tab:02d}.fil" for tab in range(n_tabs)]
    return tabs if n_tabs > 1 or (tabs[0].exists() and not single.exists()) else [single]
