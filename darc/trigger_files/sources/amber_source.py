"""AMBER: a file per instance, of a name known in advance, with a header."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darc.trigger_files.amber import AmberLines
from darc.trigger_files.candidate_source import CandidateSource
from darc.trigger_files.line_reader import LineReader


class AmberSource(CandidateSource):
    """Trigger files of AMBER on this worker."""

    has_new_files = False

    @property
    def directory(self) -> Path:
        return Path(self.context.observation.amber_dir)

    def expected(self) -> tuple[Path, ...]:
        return tuple(map(Path, self.context.observation.trigger_files()))

    def accepts(self, name: str) -> bool:
        return name in {path.name for path in self.expected()}

    def line_reader(self, path: Path, state: Mapping[str, Any] | None) -> LineReader:
        return AmberLines(self.context.batch_length_s, self.context.observation.tsamp, state)


SOURCE = AmberSource
