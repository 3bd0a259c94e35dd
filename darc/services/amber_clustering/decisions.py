"""Which clusters of a window are triggers, and of which kind (docs/triggers.md)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import numpy as np

from darc.candidates.clusters import MIN_SBS, usable
from darc.config.instrument import Instrument
from darc.config.records import Struct, asdict, replace
from darc.config.settings import AmberClusteringSettings
from darc.model.arrival import utc_of
from darc.model.candidate import Records
from darc.model.counters import Rejection
from darc.model.observation import Observation
from darc.model.sources import Source
from darc.model.trigger import Trigger
from darc.science import clustering, dispersion, radiometer
from darc.science.arrays import Mask
from darc.science.same_burst import Scales, of_brighter
from darc.science.smearing import TOLERANCE
from darc.science.thresholds import passing

IMPORTANCE = 0.1


class BeamField(Struct, frozen=True):
    """Pointing of a beam.

    :param ra: right ascension, ICRS (deg)
    :param dec: declination, ICRS (deg)
    :param galactic_dm: maximum DM of the Milky Way in this direction, by ``galactic_model``
        (pc cm-3)
    """

    ra: float
    dec: float
    galactic_dm: float
    galactic_model: str


class SearchLimits(Struct, frozen=True):
    """Limits that a cluster has to pass; see :func:`darc.science.thresholds.passing`.

    :param dm_min: pc cm-3, as is `dm_max`
    :param width_max: boxcar width (samples)
    :param count_max: number of candidates in the cluster
    """

    dm_min: float
    dm_max: float = math.inf
    snr_min: float = 0.0
    width_max: float = math.inf
    count_max: float = math.inf


class ClusterSearch(Struct, frozen=True):
    """Search for clusters: of a known source, or of new ones (``source`` None).

    :param iquv: limits of a trigger for an IQUV dump
    :param lofar: limits of a trigger for LOFAR and VOEvents; None: this search triggers neither
    """

    source: Source | None
    iquv: SearchLimits
    lofar: SearchLimits | None


class _Found(Struct, frozen=True):
    """Clusters that a search found in a window.

    :param parts: clusters by width of their candidates: up to the first limit, to the next, beyond
    """

    search: ClusterSearch
    candidates: Records
    parts: list[Records]


class Decision(Struct, frozen=True):
    """Decision about a window.

    :param iquv: triggers for a dump, known sources first
    :param lofar: the trigger for LOFAR and VOEvents, if any
    :param injected: likewise of an injection, for notices of such alone
    :param clusters: number of clusters
    :param clustered: number of candidates that are in a cluster
    :param rejected: number of the other candidates, by reason
    :param clustered_at: Unix s
    :param deeper: DM bins of triggers for a dump that only a lowered threshold has let through
    """

    iquv: tuple[Trigger, ...]
    lofar: Trigger | None
    clusters: int
    clustered: int
    rejected: dict[Rejection, int]
    clustered_at: float
    deeper: frozenset[int] = frozenset()
    injected: Trigger | None = None

    @property
    def injections(self) -> tuple[Trigger, ...]:
        return (self.injected,) if self.injected else ()

    @property
    def leads_to_triggers(self) -> bool:
        """Whether anything is passed on."""
        return bool(self.iquv or self.lofar or self.injected)

    @property
    def lofar_triggers(self) -> tuple[Trigger, ...]:
        return (self.lofar,) if self.lofar else ()


class Decider:
    """Decider for the windows of one observation.

    :param field: None where the pointing or the Milky Way's DM is unknown; new sources then trigger
        neither LOFAR nor VOEvents
    :param source: the known source that is observed, if any
    :param fields: of candidates' beams, where these have pointings of their own; one that is
        missing has that of `field`
    """

    def __init__(
        self,
        settings: AmberClusteringSettings,
        observation: Observation,
        instrument: Instrument,
        field: BeamField | None,
        source: Source | None,
        fields: Mapping[int, BeamField] | None = None,
    ) -> None:
        self._fields = fields or {}
        self._settings = settings
        self._observation = observation
        self._instrument = instrument
        self._field = field
        self._edges = clustering.fixed_dm_edges(settings.dm_bin_top)
        self._scales = Scales.of_band(observation.tsamp, observation.f_low, observation.f_high)
        self.searches = self._searches(source)
        limits = (each for search in self.searches for each in (search.iquv, search.lofar))
        #: Limits of boxcar width, by which candidates are split (samples).
        self._widths = sorted({each.width_max for each in limits if each})

    def _searches(self, source: Source | None) -> tuple[ClusterSearch, ...]:
        new = ClusterSearch(None, self._new_iquv(), self._new_lofar(source))
        if source is None:
            return (new,)
        return (ClusterSearch(source, self._known_iquv(source), self._known_lofar(source)), new)

    def _new_iquv(self) -> SearchLimits:
        thresholds = self._settings.thresh_iquv
        galactic = self._field.galactic_dm if self._field else 0.0
        return SearchLimits(
            max(thresholds.dm_frac_min * galactic, self._settings.dm_min_global),
            snr_min=thresholds.snr_min,
            width_max=thresholds.width_max,
        )

    def _new_lofar(self, source: Source | None) -> SearchLimits | None:
        thresholds, override = self._settings.thresh_lofar, self._settings.thresh_lofar_override
        if self._field is None:
            return None
        if self._is_overridden(source) and not override.trigger_on_new_sources:
            return None
        return SearchLimits(
            max(thresholds.dm_frac_min * self._field.galactic_dm, self._settings.dm_min_global),
            snr_min=thresholds.snr_min,
            width_max=thresholds.width_max,
            count_max=thresholds.max_cands_per_cluster,
        )

    def _known_iquv(self, source: Source) -> SearchLimits:
        low, high = source.dm - self._settings.dm_range, source.dm + self._settings.dm_range
        thresholds = self._settings.thresh_iquv
        return SearchLimits(
            max(low, self._settings.dm_min_global),
            high,
            snr_min=thresholds.snr_min,
            width_max=thresholds.width_max,
        )

    def _known_lofar(self, source: Source) -> SearchLimits | None:
        if source.kind == "pulsar":
            return None
        dm = self._known_iquv(source)
        if not self._is_overridden(source):
            thresholds = self._settings.thresh_lofar
            return SearchLimits(dm.dm_min, dm.dm_max, thresholds.snr_min, thresholds.width_max)
        override = self._settings.thresh_lofar_override
        if override.cb is not None and self._observation.beam not in override.cb:
            return None
        return SearchLimits(dm.dm_min, dm.dm_max, override.snr_min, override.width_max)

    def _is_overridden(self, source: Source | None) -> bool:
        return source is not None and source.name in self._settings.lofar_trigger_sources

    # -- a window --------------------------------------------------------------------------------

    def decide(self, candidates: Records, window: int, injected: Mask | None = None) -> Decision:
        """Cluster the candidates of one window, and decide which clusters are triggers.

        :param candidates: CANDIDATE records, all in the window
        :param window: number of the window
        :param injected: which of them are of injections, which hide nothing; None: none
        """
        if injected is None or not injected.any():
            return self._decide(candidates, window)
        decision = self._decide(candidates[~injected], window)
        artificial = self._decide(candidates[injected], window)
        found = artificial.lofar
        return replace(
            decision,
            rejected={**decision.rejected, Rejection.INJECTED: int(injected.sum())},
            injected=replace(found, injection=True, test=True) if found else None,
        )

    def _decide(self, candidates: Records, window: int) -> Decision:
        observation = self._observation
        n_beams = observation.nsynbeams if observation.searched_in_sbs else None
        kept, rejected = usable(candidates, self._settings.snr_min_global, n_beams)
        everything = self._by_width(kept)
        found = []
        for search in self.searches:
            near = self._near(kept, search) if search.source else kept
            found.append(
                _Found(search, near, self._by_width(near) if search.source else everything)
            )
        clustered_at = time.time()
        iquv: dict[int, Trigger] = {}  # by DM bin: a known source comes first
        lofar: list[tuple[ClusterSearch, Records]] = []
        for one in found:
            for cluster in self._best(one, one.search.iquv, everything, window):
                iquv.setdefault(int(cluster["dm_bin"]), self.make_trigger(cluster, one.search))
            if one.search.lofar:
                best = self._best(one, one.search.lofar, everything, window)
                lofar.append((one.search, best))
        return Decision(
            tuple(iquv.values()) if self._observation.enable_iquv else (),
            self._strongest(lofar),
            sum(_dm_bins(one.parts) for one in found),
            len(kept),
            rejected,
            clustered_at,
        )

    @staticmethod
    def _near(candidates: Records, search: ClusterSearch) -> Records:
        """Select the DM range of a source, so that nothing stronger in the DM bin hides it."""
        low, high = search.iquv.dm_min, search.iquv.dm_max
        return candidates[(candidates["dm"] >= low) & (candidates["dm"] <= high)]

    def _by_width(self, candidates: Records) -> list[Records]:
        """Return the strongest of each DM bin and time, for each range of widths."""
        part = np.searchsorted(self._widths, candidates["downsampling"], side="left")
        return [
            clustering.cluster(
                candidates[part == number],
                snr_min=self._settings.snr_min_global,
                dm_edges=self._edges,
                time_window=TOLERANCE,
                time_origin=0.0,
            )
            for number in range(len(self._widths) + 1)
        ]

    def _best(
        self, found: _Found, limits: SearchLimits, everything: list[Records], window: int
    ) -> Records:
        """Return the strongest cluster of each DM bin that passes and is not part of a wider one.

        :param limits: one of those of the search
        :param everything: all clusters of the window at any DM, by width
        """
        end = self._widths.index(limits.width_max) + 1
        clusters = np.concatenate(found.parts[:end])
        if not len(clusters):
            return clusters
        counts = np.bincount(clusters["dm_bin"], weights=clusters["count"])
        clusters["count"] = counts[clusters["dm_bin"]]
        clusters["window"] = window
        clusters = clusters[passing(clusters, **asdict(limits))]
        if not len(clusters):
            return clusters
        if limits is found.search.lofar and found.search.source is None:
            clusters = clusters[~self._is_barred(clusters)]
        # A part of something wider is no pulse of its own.
        wider = np.concatenate(everything[end:])
        clusters = clusters[~of_brighter(clusters, wider, self._scales, math.inf)]
        clusters = self._as_the_sky(clusters, found.candidates)
        clusters = clusters[np.lexsort((clusters["time"], -clusters["snr"], clusters["dm_bin"]))]
        _, first = np.unique(clusters["dm_bin"], return_index=True)
        return clusters[first]

    def _is_barred(self, clusters: Records) -> Mask:
        """Whether a cluster is at the DM of a known source that must not trigger LOFAR."""
        barred = np.zeros(len(clusters), dtype=np.bool_)
        for other in self.searches:
            if other.source and other.lofar is None:
                low, high = other.iquv.dm_min, other.iquv.dm_max
                barred |= (clusters["dm"] >= low) & (clusters["dm"] <= high)
        return barred

    def _as_the_sky(self, clusters: Records, candidates: Records) -> Records:
        """Select clusters that recur over the SBs as a real signal does, given enough SBs."""
        n_beams = self._observation.nsynbeams
        if not (self._settings.sb_filter and n_beams >= MIN_SBS and len(clusters)):
            return clusters
        return clusters[
            clustering.synthesised_beam_filter(
                candidates,
                clusters,
                period_min=self._settings.sb_filter_period_min,
                period_max=self._settings.sb_filter_period_max,
                n_beams=n_beams,
            )
        ]

    def _strongest(self, passed: list[tuple[ClusterSearch, Records]]) -> Trigger | None:
        best = [(search, found[np.argmax(found["snr"])]) for search, found in passed if len(found)]
        if not best:
            return None
        search, cluster = max(best, key=lambda item: float(item[1]["snr"]))
        return self.make_trigger(cluster, search)

    def make_trigger(self, cluster: np.void, search: ClusterSearch) -> Trigger:
        observation, instrument, source = self._observation, self._instrument, search.source
        width = float(cluster["downsampling"]) * observation.tsamp
        tarr, found_dm = float(cluster["time"]), float(cluster["dm"])
        band = observation.f_low, observation.f_high
        arrival = dispersion.arrival_at_centre(
            tarr, found_dm, observation.f_centre, observation.f_reference
        )
        gain = radiometer.array_gain(
            instrument.dish_diameter, instrument.aperture_efficiency, observation.n_dishes
        )
        flux = radiometer.peak_flux_density(
            float(cluster["snr"]),
            sefd=radiometer.sefd(instrument.tsys, gain),
            n_polarisations=instrument.npol,
            bandwidth=observation.bandwidth,
            width=width,
        )
        field = self._fields.get(int(cluster["beam"]), self._field)
        return Trigger(
            observation=observation.task_id,
            window=int(cluster["window"]),
            dm_bin=int(cluster["dm_bin"]),
            name=source.kind if source else "candidate",
            src_name=source.name if source else None,
            dm=source.dm if source else found_dm,
            dm_err=0.0 if source else float(dispersion.dm_error(width, *band)),
            dm_cluster=found_dm,
            width=width * 1e3,
            downsampling=int(cluster["downsampling"]),
            snr=float(cluster["snr"]),
            flux=float(flux),
            ra=field.ra if field else None,
            dec=field.dec if field else None,
            cb=observation.beam,
            sb=int(cluster["beam"]),
            ymw16=field.galactic_dm if field else None,
            galactic_model=field.galactic_model if field else None,
            semiMaj=instrument.beam_semimajor,
            semiMin=instrument.beam_semiminor,
            datetimesource=observation.datetimesource,
            utc=utc_of(observation.start + arrival),
            tarr=tarr,
            count=int(cluster["count"]),
            importance=IMPORTANCE,
            dt=observation.tsamp,
            delta_nu_MHz=observation.channel_width,
            nu_GHz=observation.f_centre / 1e3,
            nchan=observation.nchan,
            gain=float(gain),
        )


def _dm_bins(parts: list[Records]) -> int:
    """Count DM bins with clusters; np.unique would load numpy.ma, with the first window: 25 ms."""
    return int(np.count_nonzero(np.bincount(np.concatenate(parts)["dm_bin"])))
