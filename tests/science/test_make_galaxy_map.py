"""The command that makes the map, with a model that is known."""

import sys

import numpy as np
import pytest

from darc.science.galaxy import load_galaxy_map
from training import make_galaxy_map


def known(gl_deg: float, gb_deg: float) -> float:
    return 1000 + gl_deg - 2 * gb_deg


def test_what_is_made_can_be_looked_up(tmp_path, monkeypatch, capsys):
    path = tmp_path / "map.npz"
    monkeypatch.setattr(make_galaxy_map, "ymw16_dm_max", known)
    monkeypatch.setattr(sys, "argv", ["make_galaxy_map", str(path), "--step", "15"])
    make_galaxy_map.main()
    galaxy_map = load_galaxy_map(path)
    assert galaxy_map.model == "YMW16"
    assert galaxy_map.step == 15
    assert galaxy_map.dm_max(100, 40) == pytest.approx(known(100, 40))
    assert galaxy_map.dm_max(100, 90) == pytest.approx(known(0, 90))
    table = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in table[1:]] == ["0 <= |b| < 5"] * 2 + [
        "5 <= |b| < 90"
    ] * 2


@pytest.mark.parametrize("step", [0.7, 400, 0, -0.5])
def test_refuses_a_step_that_does_not_fit(step):
    with pytest.raises(ValueError, match="does not divide"):
        make_galaxy_map.grid_values(step)


def test_random_directions():
    gl, gb = make_galaxy_map.random_directions(10_000, 5, 90, np.random.default_rng(1))
    assert 0 <= min(gl) < max(gl) < 360
    assert min(np.abs(gb)) >= 5
    # evenly over the sky: the sine of the latitude is uniform
    assert np.mean(np.sin(np.radians(np.abs(gb)))) == pytest.approx((1 + 0.0872) / 2, abs=0.01)
    assert np.mean(np.sign(gb)) == pytest.approx(0, abs=0.05)


def test_ymw16():
    pytest.importorskip("pyymw16", reason="the extra galaxy is not installed")
    assert make_galaxy_map.ymw16_dm_max(0, 90) == pytest.approx(19.6, abs=0.05)


def test_ne2025_is_that_of_mwprop():
    pytest.importorskip("mwprop", reason="the extra galaxy is not installed")
    from training import ne2025  # noqa: PLC0415

    for gl, gb in [(45, 5), (175, -10), (120, 80), (0, 0.3), (264, -3)]:
        ours, theirs = ne2025.ne2025_dm_max(gl, gb), ne2025.mwprop_dm_max(gl, gb)
        assert ours == pytest.approx(theirs, rel=0.003)


def test_another_model_and_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(make_galaxy_map, "ymw16_dm_max", known)
    one = make_galaxy_map.grid_values(30)
    assert (one == make_galaxy_map.grid_values(30, jobs=2)).all()
