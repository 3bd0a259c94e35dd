"""Settings of a node: its master, control, cluster, mail and status pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from darc.config.css_colour import OneColour
from darc.config.typed import FromRoot, NotEmpty, OneOf, OneOrMore, Range

Text = Annotated[str, NotEmpty()]
PlacePath = Annotated[str, FromRoot()]
Port = Annotated[int, Range(1, 65535)]
Seconds = Annotated[float, Range(0.01, 86400)]
Delay = Annotated[float, Range(0, 86400)]  # s, may be none
Names = tuple[Text, ...]
CSSColour = Annotated[str, OneColour()]


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """When a service counts as hung."""

    unresponsive_after: Annotated[float, Range(1.5, 3600)]  # s without a beat
    restart_unresponsive: bool


@dataclass(frozen=True, slots=True)
class MasterSettings:
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
    socket_timeout: Seconds  # s, for a client to send its message
    setup_time: Delay  # s before the start that the services get an observation
    end_delay: Delay  # s after the end at which an observation without a stop is ended
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


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """Section `control`: the command port."""

    bind: Text | None  # None: see Config.bind_address
    allow_unsigned_from: Names  # addresses or networks
    max_connections: Annotated[int, Range(1, 10_000)]


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Section `cluster`; ranges in `workers` are expanded."""

    master: Text | None
    workers: Names
    user: Text | None  # to log in as with ssh; None: as the user's ssh configuration says
    ssh_port: Port | None  # likewise
    ssh_options: Names  # further words for ssh
    python: Text | None  # on the other nodes; None: the same path as here
    darc_home: Text | None  # likewise; None: as their environment says
    connect_timeout: Seconds
    start_timeout: Seconds
    stop_timeout: Seconds
    parallel: Annotated[int, Range(1, 10_000)]


@dataclass(frozen=True, slots=True)
class MailSettings:
    """Section `mail`: where e-mail is handed in."""

    host: Text
    port: Port
    sender: Text | None  # None: <user>@<host name>


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Section `metrics`: what Prometheus asks for, on every node."""

    bind: Text
    port: Port | None  # None: nothing is served


@dataclass(frozen=True, slots=True)
class EmailSettings:
    """Who gets the e-mails of a service; no one: none are sent."""

    to: Annotated[Names, OneOrMore()]


@dataclass(frozen=True, slots=True)
class AlarmSettings:
    """Section `alarms`: what status_website tells people of by e-mail and webhooks."""

    enabled: bool
    hold: Delay  # s that a grave problem has to last
    hold_minor: Delay  # s that another one has to
    clear: Annotated[float, Range(1, 86400)]  # s that it has to be gone
    gather: Delay  # s to wait for further hosts with the same problem
    repeat: Annotated[float, Range(1, 86400)]  # s to the next message about further hosts
    give_up_after: Annotated[float, Range(1, 31_536_000)]  # s that a message is tried for
    timeout: Annotated[float, Range(0.1, 600)]  # s for a server to take a message
    ignore: Names  # hosts; ranges are not expanded here
    page_url: Text | None  # None: where the status page is served
    email_settings: EmailSettings
    webhooks: Annotated[Names, OneOrMore()]  # may hold secrets: never to be logged


@dataclass(frozen=True, slots=True)
class StatusWebsiteSettings:
    """Section `status_website`."""

    log_file: PlacePath
    web_dir: PlacePath
    interval: Seconds
    timeout: Seconds
    bind: Text
    port: Port | None  # None: the pages are files only
    max_pages: Annotated[int, Range(1, 1000)]
    colour_good: CSSColour
    colour_bad: CSSColour
    colour_unknown: CSSColour
    service_to_name: Mapping[str, Text]
