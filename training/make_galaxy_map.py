"""Compute the map of the Milky Way's maximum DM with YMW16.

``python -m training.make_galaxy_map conf/galaxy_ymw16.npz`` (needs the extra ``galaxy``).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darc.science.galaxy import load_galaxy_map

MODEL = "YMW16"

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


def grid_values(step_deg: float) -> npt.NDArray[np.float32]:
    """Compute the map's values.

    :param step_deg: grid step, deg; divides 180
    :return: shape (180 / step + 1, 360 / step), pc cm-3: rows are latitudes from -90 to 90,
        columns longitudes from 0
    :raises ValueError: the step does not divide 180
    """
    if not step_deg > 0 or abs(round(180 / step_deg) * step_deg - 180) > 1e-9:
        raise ValueError(f"a grid step of {step_deg} deg does not divide 180 deg")
    n_rows = round(180 / step_deg)
    values = np.empty((n_rows + 1, 2 * n_rows), dtype=np.float32)
    for row in range(n_rows + 1):
        latitude = row * step_deg - 90
        if row in (0, n_rows):  # a pole is one direction
            values[row] = ymw16_dm_max(0.0, latitude)
            continue
        values[row] = [
            ymw16_dm_max(column * step_deg, latitude) for column in range(values.shape[1])
        ]
    return values


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


def print_errors(path: Path, n: int) -> None:
    """Print the errors of a map in ``n`` random directions per latitude range."""
    galaxy_map = load_galaxy_map(path)
    rng = np.random.default_rng(2017)
    print("interpolation error (absolute)     median       95 %    maximum")
    for gb_low, gb_high in CHECKED_LATITUDES:
        directions = list(zip(*random_directions(n, gb_low, gb_high, rng), strict=True))
        model = np.array([ymw16_dm_max(gl, gb) for gl, gb in directions])
        error = np.abs([galaxy_map.dm_max(gl, gb) for gl, gb in directions] - model)
        for unit, values in (("pc cm-3", error), ("%", 100 * error / model)):
            name = f"{gb_low:g} <= |b| < {gb_high:g}, {unit}"
            figures = [f"{figure:10.3f}" for figure in np.percentile(values, [50, 95, 100])]
            print(f"{name:30} {' '.join(figures)}")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Compute the map of the Milky Way's maximum DM")
    parser.add_argument("out", type=Path, help="the map's file, .npz")
    parser.add_argument("--step", type=float, default=0.5, help="grid step, deg")
    parser.add_argument("--check", type=int, default=500, help="directions to check per row")
    arguments = parser.parse_args()
    np.savez_compressed(arguments.out, model=np.array(MODEL), dm_max=grid_values(arguments.step))
    print_errors(arguments.out, arguments.check)


if __name__ == "__main__":
    main()
