"""Generated observations through the service that announces bursts: see `alert_day`."""

from __future__ import annotations

import os

import pytest
from faults.alert_day import SCRIPTS, run_day


def test_each_burst_of_an_hour_has_the_end_that_it_is_to_have() -> None:
    result = run_day(1, seed=11)
    assert not result.problems, "\n".join(result.problems)
    assert result.kinds["current retraction"] >= 4
    assert result.kinds["current subsequent"] == 3
    assert result.kinds["injection initial"] == 1
    # Of an injection nothing leaves by these.
    assert result.came["kafka"] == result.came["webhook"] > result.came["file"]
    assert result.came["vtp"] == result.came["file"] > len(SCRIPTS)


@pytest.mark.skipif(
    not os.environ.get("DARC_WHOLE_DAY"),
    reason="half a minute: DARC_WHOLE_DAY=1, or python tests/faults/alert_day.py",
)
@pytest.mark.timeout(1200)
def test_each_burst_of_a_day_has_the_end_that_it_is_to_have() -> None:
    result = run_day(24, seed=1)
    assert not result.problems, "\n".join(result.problems)
