"""Settings of candidate processing, in real time and offline."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated

from darc.config.records import Struct
from darc.config.settings_node import Delay, EmailSettings, Names, PlacePath, Seconds, Text
from darc.config.settings_pipeline import DM, SNR, Interval, Period, Window, period_contradictions
from darc.config.typed import Contradiction, CrossChecked, OneOf, Range, shown

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
