"""Settings of the real-time services, from AMBER's triggers to external triggers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from darc.config.records import Struct
from darc.config.settings_node import Names, PlacePath, Text
from darc.config.typed import Contradiction, CrossChecked, OneOrMore, Range

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
