"""Pools: one that stays, and such whose processes can import what the tests have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from process_here import kept_pool, run_here

__all__ = ["kept_pool", "run_here"]


@pytest.fixture(scope="module")
def _tasks_can_be_imported() -> Iterator[None]:
    here, there = str(Path(__file__).parent), os.environ.get("PYTHONPATH")
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("PYTHONPATH", f"{here}{os.pathsep}{there}" if there else here)
        yield
