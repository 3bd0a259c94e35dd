"""Settings of where candidates come from; section `instrument` of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from darc.config import ranges
from darc.config.records import Struct
from darc.config.typed import Contradiction, CrossChecked, NotEmpty, OneOf, Range

#: Names of the sources; each is a module ``darc/trigger_files/sources/<name>_source.py``.
SOURCES = ("amber", "dsa110", "fredda", "heimdall")

_Port = Annotated[int, Range(1, 65535)]
_Seconds = Annotated[float, Range(0.01, 3600)]


class SourceSettings(CrossChecked, Struct, frozen=True):
    """Settings of the candidate source; section `instrument.source`.

    Which of them a source uses is in docs/candidate_sources.md.
    """

    #: Directory of the files; {datetimesource} and {date} stand for those of the observation.
    #: None: the observation's `candidate_dir`, or `amber_dir`.
    directory: Annotated[str, NotEmpty()] | None = None
    pattern: Annotated[str, NotEmpty()] = "*.cand"  # of file names, as in a shell
    beam_from: Annotated[str, OneOf("name", "column", "none")] = "name"
    beam_column: Annotated[int, Range(1, 100)] = 10  # from 1
    first_beam: Annotated[int, ranges.BEAM] = 0  # what the engine calls the first beam
    #: Frequency to which its times refer: centre or upper edge of the highest channel.
    time_reference: Annotated[str, OneOf("top_channel", "top_of_band")] = "top_channel"
    #: What Heimdall's times count from, where a file leaves that open.
    times_from: Annotated[str, OneOf("observation", "file")] = "observation"
    mjd_scale: Annotated[str, OneOf("utc", "tai")] = "utc"  # of FREDDA's MJDs
    bind: Annotated[str, NotEmpty()] = "127.0.0.1"  # address to listen on
    ports: tuple[_Port, ...] = ()  # a port per search, or one for all of them
    searches: Annotated[int, Range(1, 1000)] | None = None  # None: one per port
    gulp_wait: _Seconds = 1.0  # s for which a gulp waits for the other searches
    connection_timeout: _Seconds = 5.0  # s for a whole gulp
    max_connections: Annotated[int, Range(1, 10_000)] = 64
    max_gulp_bytes: Annotated[int, Range(1024, 2**30)] = 8 * 2**20

    @property
    def n_searches(self) -> int:
        """Number of searches that report each gulp."""
        return self.searches or len(self.ports)

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield settings that do not fit each other."""
        if len(set(self.ports)) < len(self.ports):
            yield Contradiction("ports", "a port is named twice", "a port per search")
        if self.searches and len(self.ports) > 1 and self.searches != len(self.ports):
            what = f"{self.searches} searches on {len(self.ports)} ports"
            yield Contradiction("searches", what, "one port for all searches, or one for each")
