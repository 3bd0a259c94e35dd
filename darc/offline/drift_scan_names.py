"""Source names of drift scans."""

from __future__ import annotations

import re
from collections.abc import Sequence

from darc.config.records import Struct

_NAME = re.compile(r"(?P<source>.+?)drift(?P<beams>[0-9]{2}|[0-9]{4})", re.IGNORECASE)


class DriftName(Struct, frozen=True):
    """Parsed source name of a drift scan.

    :param calibrator: name of the calibrator
    :param first: first compound beam
    :param last: last compound beam; the source passes all beams between
    """

    calibrator: str
    first: int
    last: int

    def holds(self, beam: int) -> bool:
        """Whether the source passes through a beam."""
        return min(self.first, self.last) <= beam <= max(self.first, self.last)


def parse_drift_name(source: str, calibrators: Sequence[str]) -> DriftName | None:
    """Parse ``<source>drift<first><last>`` or ``<source>drift<beam>``; None: not a drift scan.

    :param calibrators: names of the known calibrators
    """
    match = _NAME.fullmatch(source)
    if match is None:
        return None
    names = {name.casefold(): name for name in calibrators}
    name = names.get(match["source"].casefold())
    if name is None:
        return None
    beams = match["beams"]
    return DriftName(name, int(beams[:2]), int(beams[-2:]))
