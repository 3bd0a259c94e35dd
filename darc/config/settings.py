"""The settings of a section of the configuration, one class each.

Those that only one service reads stand in its folder: ``darc/services/NAME/settings.py``.
They have no defaults: those are in conf/default.yaml and nowhere else. Units and meanings
that a name does not say are noted at the field, and for operators in that file.
"""

from __future__ import annotations

import ipaddress
import re
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
    shown,
)
from darc.config.web_address import ALLOWED as WEB_ADDRESS
from darc.config.web_address import is_web_address

# -- the node: master, control, cluster, mail and status page --------------------------------------


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


# -- real-time services, from AMBER's triggers to external triggers --------------------------------


DM = Annotated[float, Range(0, 100_000)]  # pc cm-3
SNR = Annotated[float, Range(0, 1_000_000)]
Width = Annotated[float, Range(0, 1_000_000)]  # samples
Interval = Annotated[float, Range(0.01, 60)]  # s, the longest that a window is open
Settle = Annotated[float, Range(0.01, 60)]  # s without anything new, before a window closes
Window = Annotated[float, Range(0.001, 3600)]  # s
Period = Annotated[float, Range(0, 1000)]  # SBs


def period_contradictions(low: float, high: float) -> Iterator[Contradiction]:
    """Yield what is wrong with the limits of the periods of synthesised beams.

    :param low: sb_filter_period_min (SBs); `high` likewise
    """
    if low >= high:
        what = f"{high} is not above sb_filter_period_min"
        yield Contradiction("sb_filter_period_max", what, f"a number above {low}")


class IquvThresholds(Struct, frozen=True):
    """Thresholds for an IQUV dump of a new source (`thresh_iquv`)."""

    dm_frac_min: Annotated[float, Range(0, 1000)]  # fraction of the Milky Way's maximum DM
    width_max: Width
    snr_min: SNR
    interval: Annotated[float, Range(0, 86400)]  # s between two requests


class LofarThresholds(Struct, frozen=True):
    """Thresholds of a cluster for triggering LOFAR (`thresh_lofar`)."""

    max_cands_per_cluster: Annotated[int, Range(1, 1_000_000_000)]
    dm_frac_min: Annotated[float, Range(0, 1000)]  # fraction of the Milky Way's maximum DM
    width_max: Width
    snr_min: SNR


class LofarOverride(Struct, frozen=True):
    """Thresholds for sources in `lofar_trigger_sources` (`thresh_lofar_override`)."""

    snr_min: SNR
    width_max: Width
    trigger_on_new_sources: bool
    # Compound beams that may trigger; None: any.
    cb: Annotated[tuple[Annotated[int, Range(0, 100_000)], ...], OneOrMore()] | None


class AmberClusteringSettings(CrossChecked, Struct, frozen=True):
    """Section `amber_clustering`."""

    log_file: PlacePath
    source_file: Text  # the name of a packaged file, or a path
    match_files: Names  # likewise, or psrcat.db: sources that candidates are matched with
    galaxy_map: Text  # likewise
    galaxy_maps_shown: Names  # likewise: further models, whose values are shown beside
    settle: Settle
    interval: Interval
    clustering_window: Window
    dm_range: DM  # half width around the DM of a known source
    dm_min_global: DM
    dm_bin_top: Annotated[float, Range(1, 1_000_000)]  # pc cm-3, upper edge of the highest DM bin
    snr_min_global: SNR
    sb_filter: bool
    sb_filter_period_min: Period
    sb_filter_period_max: Period
    thresh_iquv: IquvThresholds
    thresh_lofar: LofarThresholds
    lofar_trigger_sources: Names
    thresh_lofar_override: LofarOverride
    injections: Text | None  # name of the file that lists them

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield what is wrong with the synthesised beams' periods."""
        return period_contradictions(self.sb_filter_period_min, self.sb_filter_period_max)


# -- candidate processing, in real time and offline ------------------------------------------------


Bins = Annotated[int, Range(1, 65536)]
Figure = Annotated[int, Range(1, 100)]
Sigma = Annotated[float, Range(0.1, 1000)]
Iterations = Annotated[int, Range(0, 1000)]
Probability = Annotated[float, Range(0, 1)]
OrNoLimit = Annotated[float, Range(-1, 1_000_000)]  # -1: no limit

#: Programs for which candidates can be written as they want them: docs/peers.md.
FETCH = "fetch"
PROGRAMS = (FETCH,)

_SCHEDULER = re.compile(
    r"(?:(?P<scheme>tls|tcp)://)?(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})"
)


class ProcessorClustering(CrossChecked, Struct, frozen=True):
    """`clustering` of the processor."""

    output_file: Text
    dm_min: OrNoLimit  # pc cm-3
    dm_max: OrNoLimit
    snr_min_clustering: SNR  # of a detection to be clustered
    snr_min: SNR  # of a cluster to be kept
    sb_filter: bool
    sb_filter_period_min: Period
    sb_filter_period_max: Period
    clustering_window: Window
    width_max: OrNoLimit  # samples

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield what is wrong with the synthesised beams' periods."""
        return period_contradictions(self.sb_filter_period_min, self.sb_filter_period_max)


class ProcessorExtractor(Struct, frozen=True):
    """`extractor` of the processor."""

    dm_halfrange: DM
    ndm: Bins
    ntime: Bins
    nfreq: Bins
    delay: Delay  # s for the data to reach the disk
    rfi_mask: Text | None  # file of channels to mask; None: AMBER's mask, if there is one
    rfi_apply_mask: bool
    rfi_clean_type: Annotated[
        str, OneOf("isolated", "time", "frequency", "both", "perchannel", "none")
    ]
    rfi_threshold_time: Sigma
    rfi_n_iter_time: Iterations
    rfi_threshold_freq: Sigma
    rfi_n_iter_freq: Iterations
    rfi_bin_size: Bins  # channels
    snr_min_local: SNR
    snr_dm0_filter: bool
    snr_dm0_diff_threshold: SNR
    files_for: tuple[Annotated[str, OneOf(*PROGRAMS)], ...]  # that want files of their own


class ProcessorClassifier(Struct, frozen=True):
    """`classifier` of the processor."""

    model: Text | None  # *.onnx file of a classifier; None: the packaged one
    thresh_freqtime: Probability
    thresh_dmtime: Probability
    ndm: Bins
    ntime: Bins
    nfreq: Bins


class ProcessorVisualizer(Struct, frozen=True):
    """`visualizer` of the processor."""

    nfreq: Bins
    ntime: Bins
    ndm: Bins
    nplot_per_side: Figure
    figsize: Annotated[float, Range(1, 100)]  # inches
    colour_extragal: Text
    colour_gal: Text
    cmap_freqtime: Text
    cmap_dmtime: Text
    colour_1dtime: Text
    plot_types: tuple[Annotated[str, OneOf("freq_time", "dm_time", "1d_time")], ...]


class SchedulerTLS(Struct, frozen=True):
    """`scheduler_tls`: files, all PEM."""

    ca: Text  # authority that signed the certificates of scheduler and workers
    certificate: Text  # of this host
    key: Text


class ProcessorSettings(CrossChecked, Struct, frozen=True):
    """Section `processor`: candidate processing on a worker."""

    log_file: PlacePath
    result_dir: PlacePath
    output_subdir: Text
    interval: Interval
    num_extractor: Annotated[int, Range(1, 256)]
    scheduler: Text | None  # address of a Dask scheduler; None: processes on this host
    scheduler_tls: SchedulerTLS | None  # None: no encryption or authentication
    scheduler_unencrypted: bool  # allow an unencrypted scheduler on another host
    stop_delay: Delay
    processing_time_limit: Annotated[float, Range(-1, 10_000_000)]  # s, 0 or less: no limit
    clustering: ProcessorClustering
    extractor: ProcessorExtractor
    classifier: ProcessorClassifier
    visualizer: ProcessorVisualizer

    def contradictions(self) -> Iterator[Contradiction]:
        """Yield what is wrong with the scheduler's address, given its encryption."""
        if self.scheduler is None:
            return
        match = _SCHEDULER.fullmatch(self.scheduler)
        key = "scheduler_tls" if self.scheduler_tls else "scheduler"
        if match is None:
            what = f"{shown(self.scheduler)} is not a scheduler address"
            allowed = "tls://<host>:<port>, or tcp://localhost:<port>"
        elif match["scheme"] == "tls":
            if self.scheduler_tls is not None:
                return
            what = f"{self.scheduler} without processor.scheduler_tls"
            allowed = "TLS files: {ca: <file>, certificate: <file>, key: <file>}"
        elif self.scheduler_tls is not None:
            what, allowed = f"not used for {self.scheduler}", "an address that starts with tls://"
        elif self.scheduler_unencrypted or _is_loopback(match["host"]):
            return
        else:
            what = f"{self.scheduler}: anyone on the network path could run programs here"
            allowed = (
                "tls://<host>:<port> with processor.scheduler_tls, a scheduler on this host, or"
                " processor.scheduler_unencrypted: true in a private network"
            )
        yield Contradiction(key, what, allowed)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class ProcessorMasterSettings(Struct, frozen=True):
    """Section `processor_master`: collection of the results on the master."""

    log_file: PlacePath
    check_interval: Seconds
    max_wait_time: Delay
    ntrig_email_max: Annotated[int, Range(0, 1_000_000)]
    webdir: Text  # inside the status website's web_dir, or absolute
    site_days_kept: Annotated[int, Range(1, 1_000_000)] | None  # None: all
    node_timeout: Seconds
    email_settings: EmailSettings


class AlertSettings(Struct, frozen=True):
    """Settings of each service that gathers triggers, for LOFAR or for notices."""

    test: bool
    send_events: bool
    settle: Settle
    interval: Interval
    age_limit: float  # s, oldest trigger that is still sent; each service has a range of its own
    server_port: Port


class OfflineProcessingSettings(Struct, frozen=True):
    """Section `offline_processing`."""

    log_file: PlacePath
    result_dir: PlacePath
    output_subdir: Text
    time_limit: Seconds  # of one task
    test_pulsars: Names
    pulsar_file: Text  # ephemerides: the name of a packaged file, or a path
    fold_bins: Bins
    prepfold: Text | None  # program; None: DARC folds the data itself
    prepfold_time_limit: Seconds
    calibrators: Names
    calibrator_file: Text  # flux densities: the name of a packaged file, or a path
    drift_bin: Window  # s
    repeater_dm_range: DM
    repeater_snr_min: SNR
