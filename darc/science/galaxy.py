"""Maximum DM of the Milky Way, from a map of the whole sky (docs/galaxy.md)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from darc.config.records import Struct
from darc.science.array_files import arrays_of
from darc.science.arrays import Floats


class GalaxyMap(Struct, frozen=True, eq=False):
    """Maximum DM of the Milky Way by an electron-density model, on a regular grid.

    :param model: name of the model, to be shown with every value
    :param values: shape (n + 1, 2 n), pc cm-3: rows are Galactic latitudes from -90 to 90 deg,
        columns Galactic longitudes from 0 deg, both in steps of 180 / n deg
    :raises ValueError: the shape is not that of such a grid, or a value is negative or not finite
    """

    model: str
    values: Floats

    def __post_init__(self) -> None:
        if self.values.ndim != 2:
            raise ValueError(f"the map has {self.values.ndim} dimensions, not 2")
        rows, columns = self.values.shape
        if rows < 2 or columns != 2 * (rows - 1):
            raise ValueError(f"a map of {rows} rows and {columns} columns is no grid of the sky")
        if not np.all(np.isfinite(self.values)) or self.values.min() < 0:
            raise ValueError("the map has values that are no DM")

    @property
    def step(self) -> float:
        """Grid step, deg."""
        n_rows: int = self.values.shape[0]
        return 180.0 / (n_rows - 1)

    def dm_max(self, gl_deg: float, gb_deg: float) -> float:
        """Return the maximum DM in one direction, by bilinear interpolation.

        :param gl_deg: Galactic longitude, deg, not limited to one turn
        :param gb_deg: Galactic latitude, deg
        :return: pc cm-3
        :raises ValueError: the latitude is beyond a pole, or a coordinate is not finite
        """
        if not (math.isfinite(gl_deg) and -90 <= gb_deg <= 90):
            raise ValueError(f"no direction at l = {gl_deg}, b = {gb_deg} deg")
        rows, columns = self.values.shape
        y = (gb_deg + 90) / self.step
        x = gl_deg / self.step
        row = min(math.floor(y), rows - 2)  # the north pole is in the last cell
        column = math.floor(x)
        up, right = y - row, x - column
        west, east = column % columns, (column + 1) % columns
        corners = self.values[row : row + 2, [west, east]]
        (low_west, low_east), (high_west, high_east) = corners.astype(float).tolist()
        low = (1 - right) * low_west + right * low_east
        high = (1 - right) * high_west + right * high_east
        return float((1 - up) * low + up * high)


def load_galaxy_map(path: str | Path) -> GalaxyMap:
    """Read a map written by ``training/make_galaxy_map.py``.

    :raises OSError: the file cannot be read
    :raises ValueError: the file is not such a map; the message names the file
    """
    content = Path(path).read_bytes()
    try:
        arrays = arrays_of(content)
        return GalaxyMap(
            model=str(arrays["model"]), values=np.asarray(arrays["dm_max"], dtype=np.float32)
        )
    except Exception as error:  # of many types, where it is damaged or of another format
        raise ValueError(f"{path} is not a map of the Milky Way's DM: {error}") from error
