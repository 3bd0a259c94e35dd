"""Settings of voevent_generator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from darc.config.ivoid import ALLOWED, is_ivoid
from darc.config.settings_node import PlacePath, Port, Text
from darc.config.settings_pipeline import Interval, Settle
from darc.config.typed import Contradiction, CrossChecked, Range


@dataclass(frozen=True, slots=True)
class VOEventGeneratorSettings(CrossChecked):
    """Section `voevent_generator`."""

    log_file: PlacePath
    voevent_dir: PlacePath
    files_kept: Annotated[int, Range(1, 10_000_000)]  # in voevent_dir
    test: bool
    send_events: bool
    settle: Settle
    interval: Interval
    age_limit: Annotated[float, Range(0.01, 1e9)]  # s, oldest trigger that is still sent
    server_port: Port
    broker_host: Text
    broker_port: Port
    broker_timeout: Annotated[float, Range(0.1, 600)]  # s for the broker to answer
    give_up_after: Annotated[float, Range(0, 1e9)]  # s
    stream: Text  # <authority>/<path> in the identifiers of events
    author_ivorn: Text
    contact_name: Text | None
    contact_email: Text | None

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield which identifiers are none."""
        for key, text in (("stream", self.stream), ("author_ivorn", self.author_ivorn)):
            if not is_ivoid(text):
                yield Contradiction(key, f"{text!r} is not an IVOA identifier", ALLOWED)
