"""Plots: pages of many candidates, and a picture of each."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from results_made_up import BAND, SETTINGS, candidate, several

from darc.results.arrays import Sizes, bins, drawn, rebinned
from darc.results.axes import ticks
from darc.results.candidate_file import write_candidate
from darc.results.pictures import HEIGHT, WIDTH, write_picture
from darc.results.plots import write_plots

SMALL = replace(SETTINGS, nplot_per_side=2, figsize=6.0)


def pages(path: Path) -> int:
    return len(re.findall(rb"/Type /Page\b", path.read_bytes()))


def test_a_page_for_each_group_and_type(tmp_path: Path) -> None:
    files = [write_candidate(tmp_path / "data", one, BAND) for one in several(5)]
    path = tmp_path / "CB12.pdf"
    assert write_plots(path, files, SMALL, 133.0) == []
    assert pages(path) == 6
    assert write_plots(path, files, replace(SMALL, plot_types=("dm_time",)), None) == []
    assert pages(path) == 2
    assert {one.name for one in tmp_path.iterdir()} == {"data", "CB12.pdf"}


def test_its_text_is_text(tmp_path: Path) -> None:
    """Fonts are embedded as TrueType, and images at their own resolution."""
    files = [write_candidate(tmp_path, candidate(), BAND)]
    write_plots(tmp_path / "CB12.pdf", files, SMALL, 133.0)
    data = (tmp_path / "CB12.pdf").read_bytes()
    assert b"/FontFile2" in data
    assert b"/Type3" not in data
    streams = [
        zlib.decompressobj().decompress(part)
        for part in re.findall(rb"stream\r?\n(x.*?)endstream", data, re.DOTALL)
    ]
    assert any(b" Tj" in one or b" TJ" in one for one in streams)


def test_what_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    good = write_candidate(tmp_path, candidate(), BAND)
    half, none = tmp_path / "half.hdf5", tmp_path / "none.hdf5"
    half.write_bytes(good.read_bytes()[:1000])
    left_out = write_plots(tmp_path / "CB12.pdf", [half, good, none], SMALL, 133.0)
    assert len(left_out) == 2
    assert str(half) in left_out[0]
    assert str(none) in left_out[1]
    assert pages(tmp_path / "CB12.pdf") == 3
    write_plots(tmp_path / "CB13.pdf", [half], SMALL, 133.0)
    assert pages(tmp_path / "CB13.pdf") == 1
    assert write_plots(tmp_path / "CB14.pdf", [], SMALL, None) == []
    assert pages(tmp_path / "CB14.pdf") == 1


@pytest.mark.parametrize(
    ("key", "value"), [("colour_gal", "no colour at all"), ("cmap_dmtime", "viridiss")]
)
def test_a_setting_that_is_wrong(tmp_path: Path, key: str, value: str) -> None:
    wrong = replace(SMALL, **{key: value})
    with pytest.raises(ValueError, match=f"visualizer.{key}: '{value}' is no colour"):
        write_plots(tmp_path / "CB12.pdf", [], wrong, None)
    with pytest.raises(ValueError, match=f"visualizer.{key}"):
        write_picture(tmp_path / "one.png", candidate(), wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dm_galaxy", [None, 133.0, 1000.0])
def test_a_picture(tmp_path: Path, dm_galaxy: float | None) -> None:
    path = tmp_path / "one.png"
    write_picture(path, candidate(), SETTINGS, dm_galaxy, BAND)
    assert path.stat().st_size < 60_000
    with Image.open(path) as image:
        assert image.size == (WIDTH, HEIGHT)
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(int)
    far = dm_galaxy == 133.0
    red = (pixels[:, 0] > 230) & (pixels[:, 1] < 60) & (pixels[:, 2] < 60)
    assert (red.sum() > 1000) == far


def test_numbers_that_are_none_are_drawn_as_nothing(tmp_path: Path) -> None:
    made = candidate()
    made.freq_time[:] = np.nan
    made.dm_time[3] = np.inf
    write_picture(tmp_path / "one.png", made, SETTINGS)
    assert (tmp_path / "one.png").is_file()


@given(st.integers(1, 200), st.integers(1, 200))
def test_groups_are_of_one_size(have: int, want: int) -> None:
    n = bins(have, want)
    assert 1 <= n <= want
    assert have % n == 0


def test_means_of_groups() -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    assert rebinned(array, 2, 3).tolist() == [[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]
    assert rebinned(array, 10, 6) is array


def test_axes_of_a_candidate() -> None:
    made = candidate()
    arrays = drawn(made, Sizes(32, 64, 64))
    bin_ms = made.measured.bin_length * 1e3
    assert arrays.freq_time.shape == (32, 64)
    assert arrays.times == pytest.approx((-32 * bin_ms, 32 * bin_ms))
    assert int(np.argmax(arrays.profile)) == 32
    assert arrays.bin_centres[32] == pytest.approx(bin_ms / 2)
    assert np.array_equal(arrays.profile, made.dm_time[32])


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(1, 6))
def test_ticks_are_inside_and_few(low: float, extent: float, most: int) -> None:
    found = ticks(low, low + extent, most)
    values = [value for value, _ in found]
    assert len(values) <= most + 1
    assert all(low - 1e-6 * extent <= one <= low + 1.000001 * extent for one in values)
    for value, text in found:
        assert float(text.replace("\N{MINUS SIGN}", "-")) == pytest.approx(value, abs=extent * 1e-6)


def test_ticks_are_round() -> None:
    assert [text for _, text in ticks(1219.7, 1519.5, 4)] == ["1300", "1400", "1500"]
    minus = "\N{MINUS SIGN}"
    assert [text for _, text in ticks(-0.3, 0.3, 4)] == [f"{minus}0.2", "0.0", "0.2"]
    assert ticks(1.0, 1.0, 4) == []
