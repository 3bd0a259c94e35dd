"""What an extraction knows of a candidate: how far it is from DM 0, and from the data's edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.dedispersion import Band
from darc.science.extraction import Extraction, extract
from darc.science.extraction_features import (
    EXTRACTION_NAMES,
    extraction_features,
    snr_fraction,
)
from darc.science.extraction_plan import ExtractionPlan, plan_extraction
from simulator.synthetic_pulse import synthetic_pulse
from training.examples import SETTINGS

BAND, TSAMP = Band(f_lowest=1441.33, channel_width=1.09, n_channels=64), 0.32e-3
WIDTH = 30
PER_DM = float(BAND.delays([1.0]).max())
#: Delay across the band is a width.
ONE_WIDTH = WIDTH * TSAMP / PER_DM


def found_at(
    dm: float, *, of_dm: float, snr: float = 30.0, time: float = 3.0, end: int | None = None
) -> tuple[Extraction, ExtractionPlan]:
    """Extract a pulse of one DM at another.

    :param end: samples of the data after the pulse's arrival
    """
    plan = plan_extraction(BAND, TSAMP, dm=dm, width=WIDTH, time=time, settings=SETTINGS)
    if end is not None:
        plan = plan.within(plan.arrival + end)
    middle = (dm - of_dm) * PER_DM / 2 / TSAMP
    pulse = synthetic_pulse(
        BAND,
        TSAMP,
        dm=of_dm,
        width=WIDTH,
        arrival=plan.arrival - plan.start + middle,
        n_samples=plan.count,
    )
    rows = np.random.default_rng(5).normal(100, 1, pulse.shape)
    rows += snr / math.sqrt(WIDTH * BAND.n_channels) * pulse
    return extract(rows.T.astype(np.float32), plan, SETTINGS, descending=False), plan


ANY_FOUND, _ = found_at(5.0, of_dm=5.0)


@pytest.mark.parametrize("delay", [0.7, 1.0, 2.0])
def test_a_burst_of_little_delay_and_an_impulse_are_told_apart(delay: float) -> None:
    dm = delay * ONE_WIDTH
    burst = extraction_features(*found_at(dm, of_dm=dm))
    impulse = extraction_features(*found_at(dm, of_dm=0.0))
    assert burst["dm0_less"] > 1
    assert impulse["dm0_less"] < -1
    assert burst["dm0_likelihood"] > 20 > -20 > impulse["dm0_likelihood"]
    assert burst["log_delay"] == pytest.approx(math.log2(delay), abs=0.5)
    assert burst["best_log_delay"] > impulse["best_log_delay"] + 1
    # DM 0 is the first of the trials.
    assert burst["lowest_log_delay"] == -6
    assert burst["place_in_dms"] < 0.2


@pytest.mark.parametrize("delay", [0.5, 1.0, 2.0, 3.0])
def test_snr_falls_as_it_should(delay: float) -> None:
    """Where boxcars are as wide as that: up to twice the trigger's width."""
    true_dm = 20 * ONE_WIDTH
    at, _ = found_at(true_dm, of_dm=true_dm, snr=100.0)
    beside, _ = found_at(true_dm + delay * ONE_WIDTH, of_dm=true_dm, snr=100.0)
    assert beside.snr / at.snr == pytest.approx(snr_fraction(delay), abs=0.1)


def test_what_is_not_in_the_data_is_known() -> None:
    dm = 20 * ONE_WIDTH
    whole = extraction_features(*found_at(dm, of_dm=dm))
    ends = extraction_features(*found_at(dm, of_dm=dm, end=15 * WIDTH))
    begins = extraction_features(*found_at(dm, of_dm=dm, time=5 * WIDTH * TSAMP))
    assert whole["there"] == whole["there_at_pulse"] == 1
    assert whole["seam"] > 0.4
    assert ends["there"] < 0.99
    assert ends["there_at_pulse"] < 0.9
    assert ends["seam"] < 0.1
    assert begins["there"] == 1
    assert begins["seam"] < 0.1


@given(
    st.floats(0, 3000),
    st.floats(-20, 1000),
    st.floats(-20, 1000),
    st.integers(1, 250),
    st.floats(0, 3000),
)
def test_all_are_finite(dm: float, snr: float, snr_dm0: float, width: int, best: float) -> None:
    other = {"snr": snr, "snr_dm0": snr_dm0, "width": width, "best_dm": best}
    fields = {name: getattr(ANY_FOUND, name) for name in Extraction.__struct_fields__}
    moved = plan_extraction(BAND, TSAMP, dm=dm, width=width, time=3.0, settings=SETTINGS)
    features = extraction_features(Extraction(**(fields | other)), moved)
    assert tuple(features) == EXTRACTION_NAMES
    assert all(map(math.isfinite, features.values()))
