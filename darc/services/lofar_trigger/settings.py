"""Settings of lofar_trigger."""

from __future__ import annotations

from typing import Annotated

from darc.config.records import Struct
from darc.config.settings import (
    EmailSettings,
    Interval,
    PlacePath,
    Port,
    Seconds,
    Settle,
    Text,
    Window,
)
from darc.config.typed import Range


class LofarTriggerSettings(Struct, frozen=True):
    """Section `lofar_trigger`."""

    log_file: PlacePath
    test: bool
    send_events: bool
    settle: Settle
    interval: Interval
    age_limit: Seconds  # oldest trigger that is still sent
    server_port: Port
    lofar_host: Text
    lofar_port: Port
    lofar_freq: Annotated[float, Range(1, 100_000)]  # MHz
    lofar_tbb_buffer_size: Window
    email_settings: EmailSettings
