"""DM of the whole Milky Way by NE2025 (Ocker & Cordes 2026, ApJ 1002, 3), quickly.

The package mwprop is the model: its parameters and its functions of position. It takes a second for
a line of sight, three days for a map. Here its functions of the discs, the Galactic centre, the
local interstellar medium and the voids are compiled as they are; those of the spiral arms, which
cannot be, are tabulated in the plane of the Galaxy, arm by arm, as arms differ in scale height.
Clumps are summed, and components weighted, as Cordes & Lazio 2002 (arXiv:astro-ph/0207156) have it.
Coordinates are those of the model: kpc from the Galactic centre, x to l = 90 deg, the Sun at
(0, rsun, 0).

`make_galaxy_map` compares it with mwprop itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def njit(function: _Function) -> _Function:
    """Compile a function: numba's own decorator has no types for those of numbers."""
    compiled: Any = numba.njit
    return compiled(function)  # type: ignore[no-any-return]


MODEL = "NE2025"

#: Beyond the edge of the model in every direction, kpc: its widest disc ends at 17.5 kpc.
EDGE = 30.0
#: As mwprop integrates: components with and without small structure, kpc.
_FINE, _SMOOTH = 0.0025, 0.05

#: Table of the arms: half its size and its step, kpc. Arms are 0.65 kpc or more wide.
_TABLE, _TABLE_STEP = 20.0, 0.1
#: Height above which there is nothing, kpc: 9 scale heights of the thick disc.
_HIGHEST = 14.0
_N_ARMS = 5
#: Gaussian clumps are cut off where the square of the radius, in units of theirs, is this.
_CLUMP_END = 5.0


def ne2025_dm_max(gl_deg: float, gb_deg: float) -> float:
    """Return the DM of the whole Milky Way in one direction.

    :param gl_deg: Galactic longitude, deg
    :param gb_deg: Galactic latitude, deg
    :return: pc cm-3
    """
    return float(_model()(math.radians(gl_deg), math.radians(gb_deg)))


def mwprop_dm_max(gl_deg: float, gb_deg: float) -> float:
    """Return the same as mwprop itself has it, in a second (pc cm-3)."""
    from mwprop.nemod.NE2025 import ne2025  # noqa: PLC0415 (an extra)

    _, values, _, _ = ne2025(
        ldeg=gl_deg, bdeg=gb_deg, dmd=EDGE, ndir=-1, classic=False, dmd_only=True
    )
    return float(values["DM"])


def _compile(module: ModuleType, *names: str) -> None:
    """Compile functions of a module where they are, so that those that call them find them."""
    for name in names:
        function = getattr(module, name)
        if not hasattr(function, "py_func"):
            setattr(module, name, njit(function))


def _arm_tables(arms: ModuleType) -> Doubles:
    """Return the arms' density in the plane, shape (arm, x, y), cm-3."""
    parameters = arms.Dgal
    places = np.arange(-_TABLE, _TABLE + _TABLE_STEP / 2, _TABLE_STEP)
    names = [f"narm{arms.Darmmap[str(arm)]}" for arm in range(_N_ARMS)]
    densities = {name: parameters[name] for name in names}
    tables = np.zeros((_N_ARMS, len(places), len(places)))
    try:
        # The sum of the arms becomes a vector: one call for all of them.
        for arm, name in enumerate(names):
            parameters[name] = densities[name] * np.eye(_N_ARMS)[arm]
        for column, x in enumerate(places):
            for row, y in enumerate(places):
                if math.hypot(x, y) < _TABLE:
                    found = arms.ne_arms_ne2001p(x, y, 0.0, Ncoarse=arms.Ncoarse)
                    tables[:, column, row] = found[0]
    finally:
        parameters.update(densities)
    return tables


@cache
def _model() -> Callable[[float, float], float]:
    """Return the DM as a compiled function of longitude and latitude (rad)."""
    from mwprop.nemod import (  # noqa: PLC0415 (an extra)
        config_nemod,
        density_components,
        ne_arms,
        ne_lism,
        nevoidN,
    )

    if not config_nemod.eval_NE2025:
        raise RuntimeError("mwprop is set to NE2001: which_model.inp of its parameters")
    tables = _arm_tables(ne_arms)
    scale_heights = np.array(
        [
            config_nemod.Dgal["ha"] * config_nemod.Dgal[f"harm{config_nemod.Darmmap[str(arm)]}"]
            for arm in range(_N_ARMS)
        ]
    )
    _compile(density_components, "sech2", "ne_outer", "ne_inner", "ne_gc")
    _compile(ne_lism, "neLDRQ1", "neLSB", "neLHB2", "neLOOPI", "ne_lism")
    _compile(nevoidN, "nevoidN")
    clumps = np.array(
        [getattr(config_nemod, name) for name in ("xc", "yc", "zc", "rc", "nec", "edgec")]
    )
    return _integral(
        density_components,
        ne_lism,
        nevoidN,
        float(config_nemod.rsun),
        tables,
        scale_heights,
        clumps,
    )


@njit
def _arms_at(tables: Doubles, heights: Doubles, x: float, y: float, z: float) -> float:
    """Interpolate the arms' tables."""
    column, row = (x + _TABLE) / _TABLE_STEP, (y + _TABLE) / _TABLE_STEP
    i, j = math.floor(column), math.floor(row)
    if i < 0 or j < 0 or i + 1 >= tables.shape[1] or j + 1 >= tables.shape[2]:
        return 0.0
    right, up = column - i, row - j
    total = 0.0
    for arm in range(tables.shape[0]):
        table = tables[arm]
        low = (1 - right) * table[i, j] + right * table[i + 1, j]
        high = (1 - right) * table[i, j + 1] + right * table[i + 1, j + 1]
        total += ((1 - up) * low + up * high) / math.cosh(z / heights[arm]) ** 2
    return total


@njit
def _clumps_at(clumps: Doubles, near: Ints, x: float, y: float, z: float) -> float:
    """Sum clumps: Gaussians, or spheres with an edge."""
    total = 0.0
    for number in near:
        xc, yc, zc, radius, density, edge = clumps[:, number]
        square = ((x - xc) ** 2 + (y - yc) ** 2 + (z - zc) ** 2) / radius**2
        if edge == 0 and square < _CLUMP_END:
            total += density * math.exp(-square)
        elif edge == 1 and square <= 1:
            total += density
    return total


@njit
def _near_line(clumps: Doubles, rsun: float, x: float, y: float, z: float) -> Ints:
    """Return the clumps that the line of sight along (x, y, z) may cross."""
    near = []
    for number in range(clumps.shape[1]):
        xc, yc, zc, radius = clumps[:4, number]
        yc = yc - rsun
        along = x * xc + y * yc + z * zc
        square = xc**2 + yc**2 + zc**2 - along**2
        if along > -3 * radius and square < _CLUMP_END * radius**2:
            near.append(number)
    return np.array(near, dtype=np.int64)


def _integral(
    components: Any,
    local: Any,
    voids: Any,
    rsun: float,
    tables: Doubles,
    heights: Doubles,
    clumps: Doubles,
) -> Callable[[float, float], float]:
    """Return the integral of the density along a line of sight, compiled."""
    outer, inner, centre = components.ne_outer, components.ne_inner, components.ne_gc
    lism, void = local.ne_lism, voids.nevoidN
    n_smooth = round(EDGE / _SMOOTH)
    per_step = round(_SMOOTH / _FINE)

    @njit
    def dm(gl: float, gb: float) -> float:
        # From the Sun: x to l = 90 deg, y away from the Galactic centre, z to the north pole.
        towards = math.sin(gl) * math.cos(gb), -math.cos(gl) * math.cos(gb), math.sin(gb)
        near = _near_line(clumps, rsun, *towards)
        total = 0.0
        before = 0.0
        for step in range(n_smooth + 1):
            s = step * _SMOOTH
            x, y, z = towards[0] * s, rsun + towards[1] * s, towards[2] * s
            if abs(z) > _HIGHEST or (x * x + y * y > _TABLE * _TABLE and s > rsun):
                break
            smooth = outer(x, y, z)[0] + inner(x, y, z)[0] + _arms_at(tables, heights, x, y, z)
            for part in range(per_step if step else 0):
                fraction = (part + 0.5) / per_step
                t = s - _SMOOTH + fraction * _SMOOTH
                x, y, z = towards[0] * t, rsun + towards[1] * t, towards[2] * t
                density = before + fraction * (smooth - before) + centre(x, y, z)[0]
                # The local medium is instead of the rest, and a void instead of that.
                found = lism(x, y, z)
                density += found[2] * (found[0] - density)
                hole = void(x, y, z)
                density += hole[3] * (hole[0] - density)
                total += density + _clumps_at(clumps, near, x, y, z)
            before = smooth
        return total * _FINE * 1000

    return dm
