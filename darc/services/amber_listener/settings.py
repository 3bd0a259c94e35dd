"""Settings of amber_listener."""

from __future__ import annotations

from dataclasses import dataclass

from darc.config.settings_node import PlacePath, Seconds


@dataclass(frozen=True, slots=True)
class AmberListenerSettings:
    """Section `amber_listener`."""

    log_file: PlacePath
    start_timeout: Seconds  # s to wait for AMBER's files after the start
