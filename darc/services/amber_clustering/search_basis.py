"""What the decisions of an observation go by beside its settings, fixed when it begins.

The lists and maps that it comes from may be changed or gone when the process is started again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darc.config import typed
from darc.config.records import Struct
from darc.model.sources import Source
from darc.services.amber_clustering.decisions import BeamField

#: Key in the memory of an observation.
BASIS = "searched by"


class SearchBasis(Struct, frozen=True):
    """Known source and fields of an observation.

    :param source: the known source that is observed, if any
    :param lofar_sources: those of `lofar_trigger_sources`, by the names of the source list
    :param field: see :class:`darc.services.amber_clustering.decisions.Decider`
    :param fields: likewise
    """

    source: Source | None
    lofar_sources: tuple[str, ...]
    field: BeamField | None
    fields: Mapping[int, BeamField]

    def to_memory(self) -> dict[str, Any]:
        """Return what is remembered of an observation."""
        plain = typed.to_plain(_Plain(self.source, self.lofar_sources, self.field))
        fields = {str(beam): typed.to_plain(field) for beam, field in self.fields.items()}
        return {BASIS: [plain, fields]}

    @classmethod
    def recalled(cls, memory: Mapping[str, Any]) -> SearchBasis | None:
        """Return that of the observation's start; None: there is none.

        :raises ValueError: another version has written it
        """
        if BASIS not in memory:
            return None
        plain, fields = memory[BASIS]
        found = typed.from_plain(_Plain, plain, BASIS)
        places = {
            int(beam): typed.from_plain(BeamField, field, BASIS) for beam, field in fields.items()
        }
        return cls(found.source, found.lofar_sources, found.field, places)


class _Plain(Struct, frozen=True):
    source: Source | None
    lofar_sources: tuple[str, ...]
    field: BeamField | None
