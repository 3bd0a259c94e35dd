"""Synthesised beams: the table of ARTS, and tables from files."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.synthesised_beam import parse_synthesised_beams, runs, synthesised_beams

ARTS = synthesised_beams(
    n_sbs=71, n_subbands=32, n_tabs=12, band_low=1201, bandwidth=300, reference_freq=1501
)


def read(text: str, **shape: int) -> np.ndarray:
    return parse_synthesised_beams(
        text, "sb.txt", **{"n_sbs": 2, "n_subbands": 3, "n_tabs": 12} | shape
    )


def test_the_table_of_arts():
    assert ARTS.shape == (71, 32)
    assert not ARTS[35].any()
    assert ARTS[0, :8].tolist() == [4, 4, 5, 5, 5, 5, 5, 6]
    assert ARTS[0, -3:].tolist() == [10, 11, 11]
    assert ARTS[70, :4].tolist() == [8, 8, 7, 7]
    assert ARTS[70, -3:].tolist() == [2, 1, 1]


def test_the_table_entry_for_entry():
    for sb in range(71):
        for subband in range(32):
            shift = round((35 - sb) * (1201 + (subband + 0.5) * 300 / 32) / 1501)
            assert ARTS[sb, subband] == shift % 12


@given(st.integers(1, 200), st.integers(1, 64), st.integers(1, 20))
def test_the_beam_in_the_middle_takes_the_central_tab(n_sbs, n_subbands, n_tabs):
    table = synthesised_beams(
        n_sbs=n_sbs,
        n_subbands=n_subbands,
        n_tabs=n_tabs,
        band_low=1201,
        bandwidth=300,
        reference_freq=1501,
    )
    assert not table[n_sbs // 2].any()
    assert table.min() >= 0
    assert table.max() < n_tabs


def test_a_table_from_a_file():
    text = "\n".join(" ".join(map(str, row)) for row in ARTS.tolist())
    table = parse_synthesised_beams(text, "sb.txt", n_sbs=71, n_subbands=32, n_tabs=12)
    assert (table == ARTS).all()


def test_comments_and_blank_lines():
    assert read("# TABs\n\n 0 1 2 # first\n3\t4 11\n\n").tolist() == [[0, 1, 2], [3, 4, 11]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 1 2\n3 4\n", r"sb\.txt:2: 2 numbers; allowed: 3"),
        ("0 1 2\n\n3 4 5 6\n", r"sb\.txt:3: 4 numbers"),
        ("0 1 2\n3 4 12\n", r"sb\.txt:2: '12' is no TAB; allowed: 0 to 11"),
        ("0 1 2\n3 -4 1\n", r"sb\.txt:2: '-4' is no TAB"),
        ("0 1 2\n3 4.0 1\n", r"sb\.txt:2: '4\.0' is no TAB"),
        ("0 1 2\n3 ٣ 1\n", r"sb\.txt:2: '٣' is no TAB"),
        ("0 1 2\n3 " + 5000 * "9" + " 1\n", r"sb\.txt:2: '9+\.\.\. is no TAB"),
        ("0 1 2\n", r"sb\.txt: 1 SBs; allowed: 2"),
        ("", r"sb\.txt: 0 SBs"),
        ("0 1 2\n" * 3, r"sb\.txt: 3 SBs"),
    ],
)
def test_a_wrong_table(text, words):
    with pytest.raises(ValueError, match=words):
        read(text)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 40))
def test_runs_cover_the_band(tabs, more):
    n_channels = len(tabs) + more
    found = runs(np.array(tabs), n_channels)
    by_channel = [tab for tab, first, end in found for _ in range(first, end)]
    subband_of = [
        subband
        for subband in range(len(tabs))
        for _ in range(subband * n_channels // len(tabs), (subband + 1) * n_channels // len(tabs))
    ]
    assert by_channel == [tabs[subband] for subband in subband_of]
    assert all(a[0] != b[0] and a[2] == b[1] for a, b in pairwise(found))


def test_less_channels_than_subbands():
    with pytest.raises(ValueError, match="3 subbands of 2 channels"):
        runs(np.array([0, 0, 0]), 2)
