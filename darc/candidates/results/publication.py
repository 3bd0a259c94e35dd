"""Publication of results: collected, described, and shown on the site."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from pathlib import Path

from darc.candidates.results.collect_results import ResultsRequest, gather
from darc.candidates.results.observation_info import coordinates, write_coordinates, write_info
from darc.candidates.results.results_site import INDEX, write_observation_page
from darc.candidates.results.site_lists import write_lists
from darc.candidates.results.source_matches import MatchSettings, SourceMatcher
from darc.config.records import Struct, field, replace
from darc.model.results import Coordinates, ObservationResults
from darc.node.source_lists import read_lists_apart
from darc.runtime.paths import configured_file
from darc.runtime.retention import remove_unfinished

log = logging.getLogger(__name__)


class Publication(Struct):
    """Publication of the results of one observation, as they arrive.

    :param position: position of the telescope, ITRF, m
    :param galaxy_map: map of the Milky Way's maximum DM: a packaged file, or a path
    :param more_maps: further maps, whose values are shown as well
    :param matching: known sources that candidates are matched with; None: they are not
    :param days_kept: number of days with observations that stay on the site; None: all
    :param in_place: see :func:`darc.candidates.results.results_site.write_observation_page`
    """

    wanted: ResultsRequest
    site: Path
    position: tuple[float, float, float]
    galaxy_map: Path
    days_kept: int | None = None
    in_place: bool = False
    more_maps: tuple[Path, ...] = ()
    matching: MatchSettings | None = None
    _shown: object = None
    _coordinates: tuple[Coordinates, ...] | None = None
    _dms_galaxy: dict[int, dict[str, float]] = field(default_factory=dict)
    _matcher: SourceMatcher | None = None
    _problems: tuple[str, ...] = ()

    @property
    def page(self) -> Path:
        """Page of the observation."""
        return self.wanted.observation.directory_in(self.site) / INDEX

    def update(self, given_up: Collection[int] = ()) -> ObservationResults:
        """Collect the results, and update the page if they have changed.

        :param given_up: beams that count as failed if they have no results
        :raises OSError: a file cannot be read or written; the earlier page remains
        """
        if self._coordinates is None:
            self._describe()
        results = gather(
            self.wanted,
            self._coordinates or (),
            self._dms_galaxy,
            given_up,
            time.time(),
        )
        if self._matcher is not None:
            results = replace(results, candidates=self._matcher.with_sources(results.candidates))
        results = replace(results, problems=self._problems)
        shown = results.beams, results.candidates
        if shown != self._shown:
            write_observation_page(self.site, results, in_place=self.in_place)
            observation = self.wanted.observation
            date, name = observation.date, observation.datetimesource
            for problem in write_lists(self.site, self.days_kept, date=date, name=name):
                log.error("not in the lists of results: %s", problem)
            self._shown = shown
        return results

    def _describe(self) -> None:
        """Write the description of the observation, once."""
        observation, directory = self.wanted.observation, self.wanted.directory
        directory.mkdir(parents=True, exist_ok=True)
        remove_unfinished(directory)
        write_info(directory / "info.yaml", observation, self.wanted.arrival)
        write_coordinates(directory / "coordinates.txt", observation, self.position)
        found = coordinates(observation, self.position)
        try:
            self._dms_galaxy = self._in_galaxy(found)
        except (OSError, ValueError) as error:
            self._note(f"the Milky Way's DM is not known: {error}")
        self._matcher = self._make_matcher()
        self._coordinates = found

    def _note(self, problem: str) -> None:
        log.error("%s", problem)
        self._problems += (problem,)

    def _make_matcher(self) -> SourceMatcher | None:
        wanted, settings = self.wanted, self.matching
        if settings is None or not settings.lists:
            return None
        places = coordinates(
            wanted.observation, self.position, everything=settings.by_candidate_beam
        )
        if not places:
            return None
        sources, problems = read_lists_apart(settings.lists)
        for problem in problems:
            self._note(f"candidates are not matched with all known sources: {problem}")
        near = sources.with_position()
        return SourceMatcher(settings, wanted.observation, near, places, wanted.arrival.tsamp)

    def _in_galaxy(self, found: tuple[Coordinates, ...]) -> dict[int, dict[str, float]]:
        if not found:
            return {}
        from darc.science.galaxy import load_galaxy_map  # noqa: PLC0415 - costs tens of MB

        paths = (self.galaxy_map, *self.more_maps)
        maps = [load_galaxy_map(configured_file(path)) for path in paths]
        return {one.cb: {by.model: by.dm_max(one.gl, one.gb) for by in maps} for one in found}
