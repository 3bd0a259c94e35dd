"""Settings of dada_trigger."""

from __future__ import annotations

from typing import Annotated

from darc.config.records import Struct
from darc.config.settings import PlacePath, Port, Seconds, Window
from darc.config.typed import Range


class DadaTriggerSettings(Struct, frozen=True):
    """Section `dada_trigger`."""

    log_file: PlacePath
    port_i: Port
    port_iquv: Port
    min_window_size: Window
    delay_end: Annotated[float, Range(0, 3600)]  # s
    buffer_length: Window  # s of raw data that dada_dbevent holds
    polcal_dump_size: Window
    polcal_interval: Seconds
    polcal_max_dumps: Annotated[int, Range(0, 10_000)]
