"""The map of the Milky Way's DM: interpolation, the shipped map, and wrong files."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.science.galaxy import GalaxyMap, load_galaxy_map

SHIPPED = Path(__file__).resolve().parents[2] / "conf" / "galaxy_ymw16.npz"


def plane(step: float, across: float, along: float) -> GalaxyMap:
    """A map that is linear between its grid points: it interpolates without error."""
    gb = np.arange(-90, 90 + step, step)
    gl = np.arange(0, 360, step)
    values = 500 + across * gb[:, np.newaxis] + along * np.abs(gl - 180)
    return GalaxyMap("plane", values.astype(np.float32))


@given(st.floats(-720, 720), st.floats(-90, 90))
def test_interpolates_linearly_and_wraps(gl, gb):
    expected = 500 + 3 * gb + 2 * abs(gl % 360 - 180)
    assert plane(10, 3, 2).dm_max(gl, gb) == pytest.approx(expected, abs=1e-3)


@given(st.floats(0, 360), st.sampled_from([-90.0, 90.0]))
def test_a_pole_is_one_value(gl, gb):
    assert plane(10, 3, 0).dm_max(gl, gb) == pytest.approx(500 + 3 * gb)


def test_a_grid_point_is_its_value():
    values = np.random.default_rng(1).uniform(10, 1000, (19, 36)).astype(np.float32)
    galaxy_map = GalaxyMap("noise", values)
    assert galaxy_map.step == 10
    for row in range(19):
        for column in range(36):
            found = galaxy_map.dm_max(column * 10, row * 10 - 90)
            assert found == pytest.approx(values[row, column], rel=1e-9)


@pytest.mark.parametrize(("gl", "gb"), [(0, 90.1), (0, -91), (0, np.nan), (np.nan, 0), (np.inf, 0)])
def test_refuses_what_is_no_direction(gl, gb):
    with pytest.raises(ValueError, match="no direction"):
        plane(10, 1, 1).dm_max(gl, gb)


@pytest.mark.parametrize(
    ("gl", "gb", "dm"), [(0, 90, 19.6), (123, 90, 19.6), (175, -10, 176), (45, 0, 891)]
)
def test_shipped_map(gl, gb, dm):
    galaxy_map = load_galaxy_map(SHIPPED)
    assert galaxy_map.model == "YMW16"
    assert galaxy_map.step <= 1
    assert galaxy_map.dm_max(gl, gb) == pytest.approx(dm, rel=0.003)


@pytest.mark.parametrize(  # pyymw16 2.0.7, dist_to_dm(gl, gb, 30000), between grid points
    ("gl", "gb", "dm"),
    [(184.55, -5.78, 243.06), (49.1, -2.23, 448.07), (263.3, -2.9, 489.62), (301.7, 44.3, 31.504)],
)
def test_shipped_map_between_its_points(gl, gb, dm):
    assert load_galaxy_map(SHIPPED).dm_max(gl, gb) == pytest.approx(dm, rel=0.01)


def test_shipped_map_is_small():
    assert SHIPPED.stat().st_size < 1_500_000


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        load_galaxy_map(tmp_path / "none.npz")


GOOD = np.full((3, 4), 50.0)


@pytest.mark.parametrize(
    "arrays",
    [
        {"values": GOOD},
        {"model": "X"},
        {"dm_max": GOOD},
        {"model": "X", "dm_max": GOOD.T},
        {"model": "X", "dm_max": GOOD[0]},
        {"model": "X", "dm_max": GOOD * np.nan},
        {"model": "X", "dm_max": -GOOD},
        {"model": "X", "dm_max": np.array("text")},
        {"model": "X", "dm_max": np.array([None])},
    ],
)
def test_wrong_arrays_are_told_with_the_file(tmp_path, arrays):
    path = tmp_path / "wrong.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"wrong\.npz is not a map"):
        load_galaxy_map(path)


@pytest.mark.parametrize(
    "change", [lambda _: b"", lambda _: b"key: value\n", lambda data: data[:-1000]]
)
def test_wrong_bytes_are_told_with_the_file(tmp_path, change):
    path = tmp_path / "wrong.npz"
    path.write_bytes(change(SHIPPED.read_bytes()))
    with pytest.raises(ValueError, match=r"wrong\.npz is not a map"):
        load_galaxy_map(path)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=30))
def test_damage_is_told_with_the_file(tmp_path_factory, damage):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    np.savez_compressed(path, model=np.array("X"), dm_max=GOOD)
    data = bytearray(path.read_bytes())
    for place, value in damage:
        data[place % len(data)] = value
    path.write_bytes(data)
    try:
        load_galaxy_map(path)  # some damage does not show
    except ValueError as error:
        assert "damaged.npz is not a map" in str(error)  # noqa: PT017


def test_one_array_alone_is_no_map(tmp_path):
    path = tmp_path / "wrong.npy"
    np.save(path, GOOD)
    with pytest.raises(ValueError, match=r"wrong\.npy is not a map"):
        load_galaxy_map(path)


@pytest.mark.parametrize(  # mwprop 2.0.5, ne2025(gl, gb, 30 kpc); grid points
    ("gl", "gb", "dm"),
    [
        (45, 5, 243.923),
        (175, -10, 123.088),
        (120, 80, 21.756),
        (30, -2, 614.130),
        (264, -3, 503.198),
        (90, 0, 354.143),
        (200, 1, 209.138),
        (330, 0.5, 1023.706),
    ],
)
def test_shipped_map_of_ne2025(gl, gb, dm):
    galaxy_map = load_galaxy_map(SHIPPED.with_name("galaxy_ne2025.npz"))
    assert galaxy_map.model == "NE2025"
    assert galaxy_map.step == 0.5
    assert galaxy_map.dm_max(gl, gb) == pytest.approx(dm, rel=0.003)


def test_both_shipped_maps_are_small():
    for path in SHIPPED.parent.glob("galaxy_*.npz"):
        assert path.stat().st_size < 1_000_000
