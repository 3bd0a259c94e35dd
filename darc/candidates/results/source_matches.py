"""Known sources that candidates may be of, by the pointing of their beam and their DM."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from darc.config.instrument import Instrument
from darc.config.records import Struct, replace
from darc.model.observation import Observation
from darc.model.processing_outcome import ListedCandidate
from darc.model.results import Coordinates, ShownCandidate, SourceMatch
from darc.model.sources import Source
from darc.science import dispersion
from darc.science.association import separation
from darc.science.source_match import match_in_beam

#: Matches of a lower probability are not shown.
LEAST_PROBABILITY = 0.1
#: Sources farther from a beam's centre than so many of its widths cannot match.
_FARTHEST = 3.0


class MatchSettings(Struct, frozen=True):
    """What candidates are matched with.

    :param lists: names of packaged source lists, or paths
    :param beam_width: full width of a beam at half of its power, deg
    :param by_candidate_beam: a candidate's own beam has a pointing, not the node's compound beam
    """

    lists: tuple[str, ...]
    beam_width: float
    by_candidate_beam: bool = False


def match_settings(lists: Iterable[str], instrument: Instrument) -> MatchSettings:
    """Return the settings for the beams of an instrument, whose axes are half widths."""
    width = 2 * (instrument.beam_semimajor * instrument.beam_semiminor) ** 0.5 / 60
    return MatchSettings(tuple(lists), width, instrument.candidate_beams == "compound")


class SourceMatcher:
    """Matches of the candidates of an observation.

    :param sources: those without a position match nothing
    :param places: where beams point
    :param tsamp: of the candidates' widths, s
    """

    def __init__(
        self,
        settings: MatchSettings,
        observation: Observation,
        sources: Iterable[Source],
        places: Iterable[Coordinates],
        tsamp: float,
    ) -> None:
        self._settings = settings
        self._band = observation.f_low, observation.f_high
        self._tsamp = tsamp
        self._places = {place.cb: (place.ra, place.dec) for place in places}
        self._near: Mapping[int, list[Source]] = {
            beam: [
                source
                for source in sources
                if source.position is not None
                and separation(*source.position, *place) <= _FARTHEST * settings.beam_width
            ]
            for beam, place in self._places.items()
        }

    def with_sources(self, candidates: Iterable[ShownCandidate]) -> tuple[ShownCandidate, ...]:
        """Return candidates with the sources that they match."""
        return tuple(replace(one, source=self.match(one.listed)) for one in candidates)

    def match(self, candidate: ListedCandidate) -> SourceMatch | None:
        """Return the source that a candidate is of most probably; None: it matches none."""
        beam = candidate.beam if self._settings.by_candidate_beam else candidate.cb
        near = self._near.get(beam)
        width = candidate.downsampling * self._tsamp
        if not near or not width > 0:
            return None
        error = dispersion.dm_error(width, *self._band)
        place = self._places[beam]
        found = match_in_beam(place, self._settings.beam_width, candidate.dm, error, near)
        if found is None or found[1] < LEAST_PROBABILITY:
            return None
        return SourceMatch(*found)
