"""Settings of the real-time services, from AMBER's triggers to external triggers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from darc.config.settings_node import EmailSettings, Names, PlacePath, Port, Seconds, Text
from darc.config.typed import OneOrMore, Range

DM = Annotated[float, Range(0, 100_000)]  # pc cm-3
SNR = Annotated[float, Range(0, 1_000_000)]
Width = Annotated[float, Range(0, 1_000_000)]  # samples
Interval = Annotated[float, Range(0.01, 60)]  # s, a gather window
Window = Annotated[float, Range(0.001, 3600)]  # s
Period = Annotated[float, Range(0, 1000)]  # SBs


@dataclass(frozen=True, slots=True)
class AmberListenerSettings:
    """Section `amber_listener`."""

    log_file: PlacePath
    start_timeout: Seconds  # s to wait for AMBER's files after the start


@dataclass(frozen=True, slots=True)
class IquvThresholds:
    """Thresholds for an IQUV dump of a new source (`thresh_iquv`)."""

    dm_frac_min: Annotated[float, Range(0, 1000)]  # fraction of the Milky Way's maximum DM
    width_max: Width
    snr_min: SNR
    interval: Annotated[float, Range(0, 86400)]  # s between two requests


@dataclass(frozen=True, slots=True)
class LofarThresholds:
    """Thresholds of a cluster for triggering LOFAR (`thresh_lofar`)."""

    max_cands_per_cluster: Annotated[int, Range(1, 1_000_000_000)]
    dm_frac_min: Annotated[float, Range(0, 1000)]  # fraction of the Milky Way's maximum DM
    width_max: Width
    snr_min: SNR


@dataclass(frozen=True, slots=True)
class LofarOverride:
    """Thresholds for sources in `lofar_trigger_sources` (`thresh_lofar_override`)."""

    snr_min: SNR
    width_max: Width
    trigger_on_new_sources: bool
    # Compound beams that may trigger; None: any.
    cb: Annotated[tuple[Annotated[int, Range(0, 100_000)], ...], OneOrMore()] | None


@dataclass(frozen=True, slots=True)
class AmberClusteringSettings:
    """Section `amber_clustering`."""

    log_file: PlacePath
    source_file: Text  # the name of a packaged file, or a path
    galaxy_map: Text  # likewise
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


@dataclass(frozen=True, slots=True)
class DadaTriggerSettings:
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


@dataclass(frozen=True, slots=True)
class LofarTriggerSettings:
    """Section `lofar_trigger`."""

    log_file: PlacePath
    test: bool
    send_events: bool
    interval: Interval
    age_limit: Seconds  # oldest trigger that is still sent
    server_port: Port
    lofar_host: Text
    lofar_port: Port
    lofar_freq: Annotated[float, Range(1, 100_000)]  # MHz
    lofar_tbb_buffer_size: Window
    email_settings: EmailSettings


@dataclass(frozen=True, slots=True)
class VOEventGeneratorSettings:
    """Section `voevent_generator`."""

    log_file: PlacePath
    voevent_dir: PlacePath
    files_kept: Annotated[int, Range(1, 10_000_000)]  # in voevent_dir
    test: bool
    send_events: bool
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
