"""Queues that are served, for a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hubs import Hub


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    made = Hub(tmp_path_factory.mktemp("q"))
    yield made
    made.stop()
