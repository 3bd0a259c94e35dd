"""What the tests of results share: made-up observations, and a browser."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "monitor"))
sys.path.insert(0, str(Path(__file__).parent))

from browsing import browser
from results_made_up import results

from darc.model.results import ObservationResults

__all__ = ["browser"]


@pytest.fixture(scope="session")
def made_results(tmp_path_factory: pytest.TempPathFactory) -> ObservationResults:
    """An observation with pictures; whoever changes its files makes a copy."""
    return results(tmp_path_factory.mktemp("results"))
