"""Choosing one of the triggers of a pulse."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.selection import highest_snr, known_then_highest_snr

CHOOSERS = [highest_snr, known_then_highest_snr]

triggers = st.lists(
    st.tuples(st.sampled_from(["pulsar", "frb", "candidate"]), st.floats(0, 100)), min_size=1
)


def test_voevent_takes_the_strongest_of_all():
    assert highest_snr([("frb", 12.0), ("candidate", 50.0), ("pulsar", 20.0)]) == 1


def test_lofar_prefers_a_known_source_to_a_stronger_candidate():
    assert known_then_highest_snr([("candidate", 50.0), ("frb", 12.0), ("frb", 13.0)]) == 2
    assert known_then_highest_snr([("candidate", 50.0), ("pulsar", 1.0)]) == 1
    assert known_then_highest_snr([("candidate", 50.0), ("candidate", 60.0)]) == 1


@pytest.mark.parametrize("choose", CHOOSERS)
def test_the_first_of_equals(choose):
    assert choose([("frb", 11.0), ("frb", 12.0), ("frb", 12.0)]) == 1


@pytest.mark.parametrize("choose", CHOOSERS)
def test_what_is_no_number_never_wins(choose):
    assert choose([("frb", math.nan), ("frb", 1.0)]) == 1
    assert choose([("frb", 1.0), ("frb", math.nan)]) == 0


@pytest.mark.parametrize("choose", CHOOSERS)
def test_none_is_an_error(choose):
    with pytest.raises(ValueError, match="empty"):
        choose([])


@given(triggers)
def test_nothing_is_better_than_the_choice(gathered):
    assert gathered[highest_snr(gathered)][1] == max(snr for _, snr in gathered)
    known = [snr for name, snr in gathered if name != "candidate"]
    name, snr = gathered[known_then_highest_snr(gathered)]
    if known:
        assert name != "candidate"
        assert snr == max(known)
    else:
        assert snr == max(snr for _, snr in gathered)
