"""Fixtures: clusters in a box, which are gone when the test ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "box"))

from boxes import require_box
from clusters import MakeCluster, config_of
from nodes import TEST_RUN

from simulator.box import Box


@pytest.fixture
def make_cluster(test_run: str) -> Iterator[MakeCluster]:
    """Make clusters, not started: ``make_cluster(nodes=3, cluster={key: value})``."""
    require_box()
    with ExitStack() as boxes:

        def make(nodes: int = 3, shared_home: bool = False, **sections: dict[str, Any]) -> Box:
            box = Box(
                nodes,
                shared_home=shared_home,
                config=config_of(sections),
                environment={TEST_RUN: test_run},
            )
            return boxes.enter_context(box)

        yield make
