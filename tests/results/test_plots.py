"""Plots: pages of many candidates, and a picture of each."""

from __future__ import annotations

import itertools
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from astropy.time import Time, TimeDelta
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from msgspec.structs import replace
from PIL import Image
from results_made_up import ARRIVAL, SETTINGS, candidate, several

from darc.candidates.results.candidate_file import write_candidate
from darc.candidates.results.pictures import HEIGHT, WIDTH, Pictures
from darc.candidates.results.plot_arrays import bins, drawn, rebinned
from darc.candidates.results.plot_axes import common_part, ticks
from darc.candidates.results.plot_page import PlotPage
from darc.candidates.results.plot_style import own_style
from darc.candidates.results.plots import write_plots
from darc.model.arrival import ArrivalReference
from darc.model.processing_outcome import FrequencyRange, ProcessedCandidate

SMALL = replace(SETTINGS, nplot_per_side=2, figsize=6.0)


def pages(path: Path) -> int:
    return len(re.findall(rb"/Type /Page\b", path.read_bytes()))


def test_a_page_for_each_group_and_type(tmp_path: Path) -> None:
    files = [write_candidate(tmp_path / "data", one) for one in several(5)]
    path = tmp_path / "CB12.pdf"
    assert write_plots(path, files, SMALL, 133.0, ARRIVAL) == []
    assert pages(path) == 6
    assert write_plots(path, files, replace(SMALL, plot_types=("dm_time",)), None, ARRIVAL) == []
    assert pages(path) == 2
    assert {one.name for one in tmp_path.iterdir()} == {"data", "CB12.pdf"}


def test_its_text_is_text(tmp_path: Path) -> None:
    """Fonts are embedded as TrueType, and images at their own resolution."""
    files = [write_candidate(tmp_path, candidate())]
    write_plots(tmp_path / "CB12.pdf", files, SMALL, 133.0, ARRIVAL)
    data = (tmp_path / "CB12.pdf").read_bytes()
    assert b"/FontFile2" in data
    assert b"/Type3" not in data
    streams = [
        zlib.decompressobj().decompress(part)
        for part in re.findall(rb"stream\r?\n(x.*?)endstream", data, re.DOTALL)
    ]
    assert any(b" Tj" in one or b" TJ" in one for one in streams)


def test_what_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    good = write_candidate(tmp_path, candidate())
    half, none = tmp_path / "half.hdf5", tmp_path / "none.hdf5"
    half.write_bytes(good.read_bytes()[:1000])
    left_out = write_plots(tmp_path / "CB12.pdf", [half, good, none], SMALL, 133.0, ARRIVAL)
    assert len(left_out) == 2
    assert str(half) in left_out[0]
    assert str(none) in left_out[1]
    assert pages(tmp_path / "CB12.pdf") == 3
    write_plots(tmp_path / "CB13.pdf", [half], SMALL, 133.0, ARRIVAL)
    assert pages(tmp_path / "CB13.pdf") == 1
    assert write_plots(tmp_path / "CB14.pdf", [], SMALL, None, ARRIVAL) == []
    assert pages(tmp_path / "CB14.pdf") == 1


@pytest.mark.parametrize(
    ("key", "value"), [("colour_gal", "no colour at all"), ("cmap_dmtime", "viridiss")]
)
def test_a_setting_that_is_wrong(tmp_path: Path, key: str, value: str) -> None:
    wrong = replace(SMALL, **{key: value})
    with pytest.raises(ValueError, match=f"visualizer.{key}: '{value}' is no colour"):
        write_plots(tmp_path / "CB12.pdf", [], wrong, None, ARRIVAL)
    with pytest.raises(ValueError, match=f"visualizer.{key}"):
        Pictures(wrong, None, ARRIVAL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dm_galaxy", [None, 133.0, 1000.0])
def test_a_picture(tmp_path: Path, dm_galaxy: float | None) -> None:
    path = tmp_path / "one.png"
    Pictures(SETTINGS, dm_galaxy, ARRIVAL).write(path, candidate())
    assert path.stat().st_size < 60_000
    with Image.open(path) as image:
        assert image.size == (WIDTH, HEIGHT)
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(int)
    far = dm_galaxy == 133.0
    red = (pixels[:, 0] > 230) & (pixels[:, 1] < 60) & (pixels[:, 2] < 60)
    assert (red.sum() > 1000) == far


def test_numbers_that_are_none_are_drawn_as_nothing(tmp_path: Path) -> None:
    made = replace(candidate(), band=None)
    made.freq_time[:] = np.nan
    made.dm_time[3] = np.inf
    Pictures(SETTINGS, None, ARRIVAL).write(tmp_path / "one.png", made)
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
    arrays = drawn(made, SETTINGS)
    bin_ms = made.measured.bin_length * 1e3
    assert arrays.freq_time.shape == (32, 64)
    assert arrays.times == pytest.approx((-32 * bin_ms, 32 * bin_ms))
    assert int(np.argmax(arrays.profile)) == 32
    assert arrays.bin_centres[32] == pytest.approx(bin_ms / 2)
    assert np.array_equal(arrays.profile, made.dm_time[32] - np.median(made.dm_time[32]))


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


# -- what is on a page, measured as it is drawn ----------------------------------------------------

LONG = ArrivalReference(
    1519.5,
    1558182896.0,
    8.192e-5,
    telescope="Westerbork Synthesis Radio Telescope, Apertif",
    source="FRB 20180916B with a long name, J0158+6544",
)
NARROW = FrequencyRange(1400.001, 1400.009)


def of_all_kinds() -> list[ProcessedCandidate]:
    """Candidates whose numbers are short and long, with bands of all widths."""
    masked = candidate(3)
    masked.freq_time[10:20] = 0
    return [
        *several(4),
        candidate(4, cb=39, dm=10250.5, snr=5000.4, time=86399.1234, downsampling=1000),
        replace(candidate(5, nfreq=1), band=FrequencyRange(1419.9, 1420.1)),
        replace(candidate(6, ndm=1), band=FrequencyRange(0.0, 65000.0)),
        replace(candidate(7, downsampling=1), band=NARROW),
        replace(masked, band=FrequencyRange(4000.0, 8000.0)),
    ]


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Texts of a figure that touch one another, or that the figure's edge cuts."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # legends have no place before
    renderer = canvas.get_renderer()
    words = [
        text
        for text in figure.findobj(Text)
        if text.get_text().strip() and text.get_visible() and seen(text)
    ]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in words]
    found = [
        (one, other)
        for (one, box), (other, second) in itertools.combinations(boxes, 2)
        if box.overlaps(second)
    ]
    page = figure.bbox
    found += [
        (one, "the edge")
        for one, box in boxes
        if box.x0 < 0 or box.y0 < 0 or box.x1 > page.width or box.y1 > page.height
    ]
    return found


def seen(text: Text) -> bool:
    """Whether it is drawn: axes that are hidden hide their texts."""
    axes = text.axes
    if axes is None:
        return True
    own = [*axes.xaxis.findobj(Text), *axes.yaxis.findobj(Text)]
    return axes.get_visible() and text not in own


@pytest.mark.parametrize("per_side", [1, 3, 5])
@pytest.mark.parametrize("kind", ["freq_time", "dm_time", "1d_time"])
def test_no_words_touch_on_a_page(kind: str, per_side: int) -> None:
    settings = replace(SETTINGS, nplot_per_side=per_side)
    with own_style():
        sheet = PlotPage(kind, settings, 133.0, "CB12", LONG)
        entries = [(one, drawn(one, SETTINGS)) for one in of_all_kinds()]
        sheet.fill(entries[: per_side**2], 90, 1000)
        assert overlaps(sheet.figure) == []


@pytest.mark.parametrize("number", range(9))
def test_no_words_touch_on_a_picture(tmp_path: Path, number: int) -> None:
    pictures = Pictures(SETTINGS, 133.0, LONG)
    stored = of_all_kinds()[number]
    pictures.write(tmp_path / "one.png", stored)
    with own_style({}):
        assert overlaps(pictures.figure) == []


def words_of(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_a_page_says_when_and_with_what_it_was_recorded() -> None:
    """The oracle of the times is astropy."""
    made = candidate(time=123.4567, downsampling=41)
    recording = replace(LONG, telescope="WSRT", source="B1933+16")
    moment = Time(recording.start, format="unix") + TimeDelta(123.4567, format="sec")
    wanted = (
        "B1933+16   WSRT",
        "sampling 81.92 µs",
        "1219.7–1519.5 MHz",  # noqa: RUF001
        "at 1519.5 MHz, topocentric",
        "3.36 ms (41 samples)",
        f"{moment.utc.iso[:-1]}",
        f"MJD {moment.utc.mjd:.6f}",
    )
    with own_style():
        sheet = PlotPage("dm_time", SETTINGS, None, "CB12", recording)
        sheet.fill([(made, drawn(made, SETTINGS))], 0, 1)
    pictures = Pictures(SETTINGS, None, recording)
    pictures.fill(made)
    for text in (words_of(sheet.figure), words_of(pictures.figure)):
        for one in wanted:
            assert one in text


def test_channels_without_data_are_grey_and_no_part_of_means(tmp_path: Path) -> None:
    made = candidate(3)
    made.freq_time[10:20] = 0
    made.freq_time[20] = 0  # with row 21, one row of what is drawn
    shown = drawn(made, SETTINGS).freq_time
    assert np.isnan(shown[5:10]).all()
    assert np.isfinite(np.delete(shown, range(5, 10), axis=0)).all()
    assert shown[10] == pytest.approx(made.freq_time[21])
    Pictures(SETTINGS, None, ARRIVAL).write(tmp_path / "one.png", made)
    with Image.open(tmp_path / "one.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    grey = np.abs(pixels - [0xB4, 0xB8, 0xBE]).max(axis=2) < 12
    assert grey.sum() > 5 / 32 * 0.9 * pictures_pixels()


def pictures_pixels() -> float:
    """Of the plot of frequency and time."""
    return WIDTH * 0.355 * HEIGHT * 0.585


def test_the_scale_of_colours_is_that_of_the_image() -> None:
    made = candidate(snr=40.0)
    with own_style():
        sheet = PlotPage("dm_time", SETTINGS, None, "CB12", ARRIVAL)
        arrays = drawn(made, SETTINGS)
        sheet.fill([(made, arrays)], 0, 1)
    axes = sheet.figure.axes[0]
    image, scale = axes.images[0], axes.findobj(AxesImage)[-1]
    assert scale is not image
    assert scale.get_cmap().name == image.get_cmap().name
    assert list(np.asarray(scale.get_array()).ravel()) == sorted(np.linspace(0, 1, 64))
    low, high = np.percentile(arrays.dm_time, (5, 99.9))
    beside = [text.get_text() for text in axes.texts if text.get_rotation() == 90]
    ends = [float(text.replace("\N{MINUS SIGN}", "-")) for text in beside if text]
    assert ends == pytest.approx([low, high], abs=0.05 * (high - low))


def test_levels_are_told_against_what_is_around() -> None:
    """In data of few levels, sums about the medians of channels are far from 0 everywhere."""
    made = candidate()
    made.dm_time[:] -= 30
    arrays = drawn(made, SETTINGS)
    assert np.median(arrays.profile) == pytest.approx(0, abs=0.01)
    assert np.median(arrays.dm_time) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    ("low", "high", "common"),
    [(1219.7, 1519.5, 0.0), (1400.001, 1400.009, 1400.0), (-2000.0, 2000.0, 0.0)],
)
def test_numbers_that_are_long_have_a_common_part(low: float, high: float, common: float) -> None:
    assert common_part(low, high, 4) == pytest.approx(common)


@given(st.floats(1, 1e5), st.floats(1e-4, 1e4))
def test_numbers_of_an_axis_stay_short(low: float, extent: float) -> None:
    taken = common_part(low, low + extent, 4)
    assert all(len(text) <= 9 for _, text in ticks(low - taken, low + extent - taken, 4))


def test_pictures_in_a_row_are_as_if_each_were_alone(tmp_path: Path) -> None:
    """What they have in common is drawn once; nothing of another one is left."""
    several_kinds = of_all_kinds()
    pictures = Pictures(SETTINGS, 133.0, LONG)
    for number, stored in enumerate(several_kinds):
        pictures.write(tmp_path / f"{number}.png", stored)
    for number in (0, 5, 8, 7):
        stored = several_kinds[number]
        alone = tmp_path / "alone.png"
        Pictures(SETTINGS, 133.0, LONG).write(alone, stored)
        assert alone.read_bytes() == (tmp_path / f"{number}.png").read_bytes()


def test_what_was_measured_at_the_barycentre_has_no_utc(tmp_path: Path) -> None:
    made = candidate(time=123.4567, downsampling=41)
    reference = replace(LONG, frame="barycentric")
    pictures = Pictures(SETTINGS, None, reference)
    pictures.fill(made)
    text = words_of(pictures.figure)
    mjd = Time(reference.start, format="unix").mjd + 123.4567 / 86400
    assert f"MJD {mjd:.6f}" in text
    assert "TDB" in text
    assert "UTC" not in text
