"""Dumps of a polarisation calibrator, at fixed times instead of by triggers (docs/triggers.md)."""

from __future__ import annotations

from darc.model.observation import Observation
from darc.science.dump_window import DumpWindow, polcal_windows
from darc.services.dada_trigger.dump_request import DumpEvent, DumpRequest
from darc.services.dada_trigger.settings import DadaTriggerSettings

#: Part of the source name of such an observation.
POLCAL = "polcal"


def is_polcal(observation: Observation) -> bool:
    """Whether this worker's compound beam is on a polarisation calibrator."""
    on_source = observation.beam is not None and observation.beam == observation.source_beam
    return POLCAL in observation.source.lower() and on_source


def schedule(
    observation: Observation, settings: DadaTriggerSettings, batch_length_samples: int
) -> tuple[DumpWindow, ...]:
    """Return the time ranges to dump, in order.

    :param batch_length_samples: length of a page of raw data
    """
    return polcal_windows(
        duration=observation.duration,
        page=batch_length_samples * observation.tsamp,
        dump_size=settings.polcal_dump_size,
        interval=settings.polcal_interval,
        max_dumps=settings.polcal_max_dumps,
    )


def request(observation: Observation, window: DumpWindow) -> DumpRequest:
    """Make the request for one time range; the parameters of a pulse are dummies."""
    event = DumpEvent(window.start, window.end, dm=0.0, snr=0.0, width=0, beam=0)
    return DumpRequest(observation.utc_start, (event,))
