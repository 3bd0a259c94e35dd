"""Maximum DM of the Milky Way in the direction of a beam."""

from __future__ import annotations

from functools import cache

from darc.candidates.pool_jobs import BeamSky
from darc.runtime.paths import configured_file
from darc.science import sky
from darc.science.galaxy import load_galaxy_map


@cache
def dms_galaxy(beam: BeamSky) -> dict[str, float]:
    """Return the maximum DM of the Milky Way in a beam's direction by each model, pc cm-3.

    The model that counts is the first one.

    :return: empty: it is not known where the beam points
    :raises OSError: a map cannot be read
    :raises ValueError: a map or the pointing is invalid
    """
    if beam.pointing is None:
        return {}
    ra, dec = sky.icrs_of(beam.pointing, beam.hour_angle_at, beam.position)
    maps = [load_galaxy_map(configured_file(path)) for path in (beam.galaxy_map, *beam.more_maps)]
    return {by.model: by.dm_max(*sky.galactic(ra, dec)) for by in maps}
