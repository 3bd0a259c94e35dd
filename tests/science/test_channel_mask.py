"""Lists of channels that are not used."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.channel_mask import parse_channel_mask


@given(st.sets(st.integers(0, 31)), st.sampled_from(["\n", " ", "\t", "\r\n", "\n\n", " # x\n"]))
def test_lists_are_read(channels, between):
    mask = parse_channel_mask(between.join(map(str, channels)), "zap.conf", 32)
    assert np.flatnonzero(mask).tolist() == sorted(channels)
    assert mask.shape == (32,)


def test_nothing_is_masked_by_nothing():
    assert not parse_channel_mask("# none today\n", "zap.conf", 4).any()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3\n32\n", r"zap\.conf:2: there is no channel 32; allowed: 0 to 31"),
        ("3\n\n4 999999999\n", r"zap\.conf:3: there is no channel 999999999"),
        ("-1\n", r"zap\.conf:1: '-1' is not a channel's number"),
        ("1.0\n", r"zap\.conf:1: '1\.0' is not"),
        ("1_0\n", r"zap\.conf:1: '1_0' is not"),
        ("٣\n", r"zap\.conf:1: '٣' is not"),
        ("1\nall\n", r"zap\.conf:2: 'all' is not"),
        ("9" * 5000, r"zap\.conf:1: '9+\.\.\. is not"),
    ],
)
def test_channels_that_do_not_exist(text, words):
    with pytest.raises(ValueError, match=words):
        parse_channel_mask(text, "zap.conf", 32)
