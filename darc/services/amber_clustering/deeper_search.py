"""Search with a threshold that is lowered for a while, beside the usual one.

The usual decision about a window stays what it is; a deeper one can only add triggers to it. Both
follow from data time, so that a restart comes to the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from darc.config.records import replace
from darc.config.settings import AmberClusteringSettings
from darc.model.candidate import Records
from darc.model.lowered_threshold import LoweredThreshold
from darc.model.memory_rows import rows_under
from darc.services.amber_clustering.decisions import Decider, Decision

#: Prefix of an order's key in the memory of an observation.
LOWERED = "lowered "
#: Orders of an observation; of more, the first to end give way.
MOST_ORDERS = 200
_Limits = tuple[float | None, float | None]  # S/N, for dumps, and for LOFAR and VOEvents


class DeeperSearch:
    """The lowered thresholds of an observation.

    :param decider: makes a decider with other settings
    :param settings: the usual ones
    :param start: of the observation, Unix s
    :param memory: what `add` has returned, and the commits of the observation hold
    """

    def __init__(
        self,
        decider: Callable[[AmberClusteringSettings], Decider],
        settings: AmberClusteringSettings,
        start: float,
        memory: Mapping[str, Any],
    ) -> None:
        self._decider = decider
        self._settings = settings
        self._start = start
        self._deciders: dict[_Limits, Decider] = {}
        orders = map(LoweredThreshold.from_plain, rows_under(memory, LOWERED).values())
        self._orders = {order.key: order for order in orders}

    def add(self, order: LoweredThreshold) -> dict[str, Any]:
        """Obey an order, which replaces one of the same key; return the memory to commit."""
        memory: dict[str, Any] = {LOWERED + order.key: order.to_plain()}
        self._orders[order.key] = order
        ending = sorted(self._orders.values(), key=lambda one: (one.end, one.key))
        for old in ending[: max(0, len(ending) - MOST_ORDERS)]:
            del self._orders[old.key]
            memory[LOWERED + old.key] = None
        return memory

    def holding(self, window: int) -> list[LoweredThreshold]:
        """Return the orders that hold for a window."""
        length = self._settings.clustering_window
        start = self._start + window * length
        return [one for one in self._orders.values() if one.overlaps(start, start + length)]

    def deepened(self, usual: Decision, candidates: Records, window: int) -> Decision:
        """Return a decision with the triggers that lowered thresholds add to it.

        :param candidates: CANDIDATE records, all in the window
        """
        orders = self.holding(window)
        limits = _lowest(one for one in orders if one.iquv), _lowest(o for o in orders if o.lofar)
        if limits == (None, None):
            return usual
        if limits not in self._deciders:
            self._deciders[limits] = self._decider(lowered(self._settings, *limits))
        found = self._deciders[limits].decide(candidates, window)
        bins = {trigger.dm_bin for trigger in usual.iquv}
        further = tuple(trigger for trigger in found.iquv if trigger.dm_bin not in bins)
        return replace(
            usual,
            iquv=usual.iquv + further,
            lofar=usual.lofar or found.lofar,
            deeper=frozenset(trigger.dm_bin for trigger in further),
        )


def _lowest(orders: Iterable[LoweredThreshold]) -> float | None:
    return min((one.snr_min for one in orders), default=None)


def lowered(
    settings: AmberClusteringSettings, iquv: float | None, lofar: float | None
) -> AmberClusteringSettings:
    """Return settings with lower limits of S/N; none is raised.

    :param iquv: of triggers for a dump; None: as it is
    :param lofar: of triggers for LOFAR and VOEvents, likewise
    """
    dumps, far, override = (
        settings.thresh_iquv,
        settings.thresh_lofar,
        settings.thresh_lofar_override,
    )
    for_dumps = dumps.snr_min if iquv is None else min(iquv, dumps.snr_min)
    for_lofar = far.snr_min if lofar is None else min(lofar, far.snr_min)
    known = override.snr_min if lofar is None else min(lofar, override.snr_min)
    asked = [limit for limit in (iquv, lofar) if limit is not None]
    return replace(
        settings,
        snr_min_global=min([settings.snr_min_global, *asked]),
        thresh_iquv=replace(dumps, snr_min=for_dumps),
        thresh_lofar=replace(far, snr_min=for_lofar),
        thresh_lofar_override=replace(override, snr_min=known),
    )
