"""The error of a DM as measured: a known source's trigger has the catalogue's, without one."""

from __future__ import annotations

from darc.config.instrument import Instrument
from darc.model.trigger import Trigger
from darc.science import dispersion


def measured_dm_error(trigger: Trigger, instrument: Instrument) -> float | None:
    """Error of `dm_cluster`: that of the trigger, or the DM that delays its band by one width.

    :return: pc cm-3; None: the trigger has no width, or no band of this world
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
