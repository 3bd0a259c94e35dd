"""Error of a DM as measured; the trigger of a known source has the catalogue's DM instead."""

from __future__ import annotations

from darc.config.instrument import Instrument
from darc.model.trigger import Trigger
from darc.science import dispersion


def measured_dm_error(trigger: Trigger, instrument: Instrument) -> float | None:
    """Return the error of `dm_cluster`.

    That is the error of the trigger, or the DM whose delay across the band equals the width.

    :return: pc cm-3; None: the trigger has no width, or its band is invalid
    """
    if trigger.dm_err > 0:
        return trigger.dm_err
    bandwidth = (
        trigger.nchan * trigger.delta_nu_MHz if trigger.nchan is not None else instrument.bandwidth
    )
    f_low = trigger.nu_GHz * 1e3 - bandwidth / 2
    f_high = f_low + bandwidth
    if not (0 < f_low < f_high and trigger.width > 0):
        return None
    return dispersion.dm_error(trigger.width / 1e3, f_low, f_high)
