"""Settings of lofar_trigger."""

from __future__ import annotations

from typing import Annotated

from darc.config.settings import (
    AlertSettings,
    EmailSettings,
    PlacePath,
    Port,
    Seconds,
    Text,
    Window,
)
from darc.config.typed import Range


class LofarTriggerSettings(AlertSettings, frozen=True):
    """Section `lofar_trigger`."""

    log_file: PlacePath
    age_limit: Seconds
    lofar_host: Text
    lofar_port: Port
    lofar_freq: Annotated[float, Range(1, 100_000)]  # MHz
    lofar_tbb_buffer_size: Window
    email_settings: EmailSettings
