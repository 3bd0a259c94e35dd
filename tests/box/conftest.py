"""Fixtures: boxes that are gone when the test ends."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from boxes import require_box
from nodes import TEST_RUN

from simulator.box import Box


@pytest.fixture
def make_box(test_run: str) -> Iterator[Callable[..., Box]]:
    """Make boxes: ``make_box(nodes=3)``."""
    require_box()
    with ExitStack() as boxes:

        def make(**options: Any) -> Box:
            return boxes.enter_context(Box(environment={TEST_RUN: test_run}, **options))

        yield make


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A directory that is not there yet, with a path that is short enough for sockets."""
    place = Path(tempfile.mkdtemp(prefix="box-", dir="/tmp"))
    yield place / "box"
    shutil.rmtree(place)
