"""Compute a map of the Milky Way's maximum DM, with YMW16 or NE2025.

``python -m training.make_galaxy_map conf/galaxy_ymw16.npz`` (needs the extra ``galaxy``), and with
``--model NE2025`` conf/galaxy_ne2025.npz.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darc.science.galaxy import load_galaxy_map

MODEL = "YMW16"
NE2025 = "NE2025"

#: Distance beyond the edge of the model in every direction, pc.
EDGE_PC = 30000.0

#: Ranges of |b| that are checked separately, deg: in the plane the model has structure finer than
#: the grid.
CHECKED_LATITUDES = ((0.0, 5.0), (5.0, 90.0))


def ymw16_dm_max(gl_deg: float, gb_deg: float) -> float:
    """Return the DM of the whole Milky Way in one direction, without the Magellanic Clouds.

    Source: Yao, Manchester & Wang 2017, ApJ 835, 29.

    :param gl_deg: Galactic longitude, deg
    :param gb_deg: Galactic latitude, deg
    :return: pc cm-3
    """
    import pyymw16  # noqa: PLC0415 (an extra, which only this function needs)

    dm, _ = pyymw16.dist_to_dm(gl_deg, gb_deg, EDGE_PC, mode="gal")
    return float(dm.value)


def dm_max(model: str, gl_deg: float, gb_deg: float) -> float:
    """Return the DM of the whole Milky Way in one direction by a model (pc cm-3)."""
    if model == NE2025:
        from training.ne2025 import ne2025_dm_max  # noqa: PLC0415 (an extra)

        return ne2025_dm_max(gl_deg, gb_deg)
    return ymw16_dm_max(gl_deg, gb_deg)


def _row(n_rows: int, model: str, row: int) -> list[float]:
    latitude = row * 180 / n_rows - 90
    if row in (0, n_rows):  # a pole is one direction
        return [dm_max(model, 0.0, latitude)] * (2 * n_rows)
    return [dm_max(model, column * 180 / n_rows, latitude) for column in range(2 * n_rows)]


def grid_values(step_deg: float, model: str = MODEL, jobs: int = 1) -> npt.NDArray[np.float32]:
    """Compute the map's values.

    :param step_deg: grid step, deg; divides 180
    :param jobs: processes
    :return: shape (180 / step + 1, 360 / step), pc cm-3: rows are latitudes from -90 to 90,
        columns longitudes from 0
    :raises ValueError: the step does not divide 180
    """
    if not step_deg > 0 or abs(round(180 / step_deg) * step_deg - 180) > 1e-9:
        raise ValueError(f"a grid step of {step_deg} deg does not divide 180 deg")
    n_rows = round(180 / step_deg)
    row = partial(_row, n_rows, model)
    if jobs == 1:
        return np.array([row(number) for number in range(n_rows + 1)], dtype=np.float32)
    dm_max(model, 0.0, 90.0)  # what is tabulated is so before there are several processes
    with Pool(jobs) as pool:
        return np.array(pool.map(row, range(n_rows + 1), chunksize=2), dtype=np.float32)


def random_directions(
    n: int, gb_low: float, gb_high: float, rng: np.random.Generator
) -> tuple[list[float], list[float]]:
    """Return random directions, uniform on the sky at gb_low <= abs(gb) < gb_high.

    :param n: number of directions
    :param gb_low: deg
    :param gb_high: deg
    :return: Galactic longitudes and latitudes, deg
    """
    low, high = np.sin(np.radians([gb_low, gb_high]))
    latitude = np.degrees(np.arcsin(rng.uniform(low, high, n))) * rng.choice([-1, 1], n)
    return rng.uniform(0, 360, n).tolist(), latitude.tolist()


def reference(model: str) -> Callable[[float, float], float]:
    """Return the model itself, to compare a map with: for NE2025 that is mwprop, a second each."""
    if model == NE2025:
        from training.ne2025 import mwprop_dm_max  # noqa: PLC0415 (an extra)

        return mwprop_dm_max
    return ymw16_dm_max


def print_errors(path: Path, n: int) -> None:
    """Print the errors of a map in ``n`` random directions per latitude range."""
    itself = reference(load_galaxy_map(path).model)
    galaxy_map = load_galaxy_map(path)
    rng = np.random.default_rng(2017)
    print("interpolation error (absolute)     median       95 %    maximum")
    for gb_low, gb_high in CHECKED_LATITUDES:
        directions = list(zip(*random_directions(n, gb_low, gb_high, rng), strict=True))
        model = np.array([itself(gl, gb) for gl, gb in directions])
        error = np.abs([galaxy_map.dm_max(gl, gb) for gl, gb in directions] - model)
        for unit, values in (("pc cm-3", error), ("%", 100 * error / model)):
            name = f"{gb_low:g} <= |b| < {gb_high:g}, {unit}"
            figures = [f"{figure:10.3f}" for figure in np.percentile(values, [50, 95, 100])]
            print(f"{name:30} {' '.join(figures)}")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Compute the map of the Milky Way's maximum DM")
    parser.add_argument("out", type=Path, help="the map's file, .npz")
    parser.add_argument("--model", choices=(MODEL, NE2025), default=MODEL)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--step", type=float, default=0.5, help="grid step, deg")
    parser.add_argument("--check", type=int, default=500, help="directions to check per row")
    arguments = parser.parse_args()
    values = grid_values(arguments.step, arguments.model, arguments.jobs)
    np.savez_compressed(arguments.out, model=np.array(arguments.model), dm_max=values)
    print_errors(arguments.out, arguments.check)


if __name__ == "__main__":
    main()
