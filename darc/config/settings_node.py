"""Settings of a node: its master, control, cluster, mail and status pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from darc.config.css_colour import OneColour
from darc.config.records import Struct
from darc.config.typed import (
    Contradiction,
    CrossChecked,
    FromRoot,
    NotEmpty,
    OneOf,
    OneOrMore,
    Range,
)
from darc.config.web_address import ALLOWED as WEB_ADDRESS
from darc.config.web_address import is_web_address

Text = Annotated[str, NotEmpty()]
PlacePath = Annotated[str, FromRoot()]
Port = Annotated[int, Range(1, 65535)]
Seconds = Annotated[float, Range(0.01, 86400)]
Delay = Annotated[float, Range(0, 86400)]  # s, may be 0
Names = tuple[Text, ...]
CSSColour = Annotated[str, OneColour()]


class HealthSettings(Struct, frozen=True):
    """When a service counts as hung."""

    unresponsive_after: Annotated[float, Range(1.5, 3600)]  # s without a heartbeat
    restart_unresponsive: bool


class MasterSettings(Struct, frozen=True):
    """Section `darc_master`."""

    log_file: PlacePath
    log_dir: PlacePath  # of supervisord, and of services without a log_file of their own
    log_max_bytes: Annotated[int, Range(10_000, 2**40)]
    log_backups: Annotated[int, Range(0, 1000)]
    log_format: Annotated[str, OneOf("text", "json")]
    run_dir: PlacePath
    parset_dir: PlacePath
    parsets_kept: Annotated[int, Range(1, 10_000_000)]
    port: Port
    socket_timeout: Seconds  # s within which a client must send its message
    setup_time: Delay  # s before the start at which services receive an observation
    end_delay: Delay  # s after the end at which an observation is stopped, if nobody stopped it
    stop_timeout: Seconds
    control_timeout: Seconds
    mode: Annotated[str, OneOf("real-time", "offline", "mixed")]
    services_master_rt: Names
    services_master_off: Names
    services_master_mix: Names
    services_worker_rt: Names
    services_worker_off: Names
    services_worker_mix: Names
    journal_max_bytes: Annotated[int, Range(4096, 2**50)]
    reserve_bytes: Annotated[int, Range(65536, 2**40)]
    editor: Text | None  # None: $EDITOR
    health: HealthSettings


class ControlSettings(Struct, frozen=True):
    """Section `control`: the command port."""

    bind: Text | None  # None: see Config.bind_address
    allow_unsigned_from: Names  # addresses or networks
    max_connections: Annotated[int, Range(1, 10_000)]


class ClusterSettings(Struct, frozen=True):
    """Section `cluster`; ranges in `workers` are expanded."""

    master: Text | None
    workers: Names
    user: Text | None  # login name for ssh; None: from the user's ssh configuration
    ssh_port: Port | None  # likewise
    ssh_options: Names  # further arguments of ssh
    python: Text | None  # on the other nodes; None: the path of this node
    darc_home: Text | None  # on the other nodes; None: from their environment
    connect_timeout: Seconds
    start_timeout: Seconds
    stop_timeout: Seconds
    parallel: Annotated[int, Range(1, 10_000)]


class MailSettings(Struct, frozen=True):
    """Section `mail`: the SMTP server."""

    host: Text
    port: Port
    sender: Text | None  # None: <user>@<host name>


class ChatSettings(CrossChecked, Struct, frozen=True):
    """Section `chat`: the targets of messages to people, through apprise."""

    targets: PlacePath | None  # file of mode 0600: name = address, which is secret
    timeout: Annotated[float, Range(0.1, 600)]  # s for one delivery attempt
    results_url: Text | None  # of the results site, for links

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield which address is none."""
        if self.results_url is not None and not is_web_address(self.results_url):
            yield Contradiction("results_url", "it is not an address", WEB_ADDRESS)


class MetricsSettings(Struct, frozen=True):
    """Section `metrics`: the Prometheus endpoint of every node."""

    bind: Text
    port: Port | None  # None: no metrics are served


class EmailSettings(Struct, frozen=True):
    """Recipients of a service's e-mails; an empty list: none are sent."""

    to: Annotated[Names, OneOrMore()]


class AlarmSettings(Struct, frozen=True):
    """Section `alarms`: notifications by e-mail and webhooks, sent by status_website."""

    enabled: bool
    hold: Delay  # s a grave problem must last before it is reported
    hold_minor: Delay  # s any other problem must last
    clear: Annotated[float, Range(1, 86400)]  # s a problem must be gone before it is resolved
    gather: Delay  # s to wait for further hosts with the same problem
    repeat: Annotated[float, Range(1, 86400)]  # s until the next message about further hosts
    give_up_after: Annotated[
        float, Range(1, 31_536_000)
    ]  # s after which delivery of a message is given up
    timeout: Annotated[float, Range(0.1, 600)]  # s for one delivery attempt
    ignore: Names  # hosts; ranges are not expanded here
    page_url: Text | None  # None: the address of the status page
    email_settings: EmailSettings
    webhooks: Annotated[Names, OneOrMore()]  # may contain secrets: never log them
    chat: Annotated[Names, OneOrMore()]  # names of targets in chat.targets
    alertmanagers: Annotated[Names, OneOrMore()]  # web addresses


class StatusWebsiteSettings(Struct, frozen=True):
    """Section `status_website`."""

    log_file: PlacePath
    web_dir: PlacePath
    interval: Seconds
    timeout: Seconds
    bind: Text
    port: Port | None  # None: pages are written to files only
    max_pages: Annotated[int, Range(1, 1000)]
    colour_good: CSSColour
    colour_bad: CSSColour
    colour_unknown: CSSColour
    service_to_name: Mapping[str, Text]
