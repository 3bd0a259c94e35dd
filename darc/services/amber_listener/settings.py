"""Settings of amber_listener."""

from __future__ import annotations

from darc.config.records import Struct
from darc.config.settings import PlacePath, Seconds


class AmberListenerSettings(Struct, frozen=True):
    """Section `amber_listener`."""

    log_file: PlacePath
    start_timeout: Seconds  # s to wait for AMBER's files after the start
