"""Finding about a classified cluster, for the service that may have announced it."""

from __future__ import annotations

from darc.candidates.pool_jobs import ExtractionOutcome
from darc.config.instrument import Instrument
from darc.model.finding import BurstFinding
from darc.model.observation import Observation


def finding_of(
    observation: Observation, outcome: ExtractionOutcome, instrument: Instrument, host: str
) -> BurstFinding | None:
    """Return a finding; None where the cluster was not classified, or its values are no numbers.

    Of what was kept, it has the values as measured; of the others those of the search.

    :param host: name of this host
    """
    start = observation.arrival_reference(instrument.observatory).start
    if start is None or not outcome.fate.passed_thresholds:
        return None
    listed, pulse = outcome.listed, outcome.pulse
    picture = outcome.path.with_suffix(".png") if outcome.path else None
    snr, dm, time, downsampling = pulse.snr, pulse.dm, pulse.time, pulse.downsampling
    probability = outcome.probability
    if listed:
        snr, dm, time, downsampling = listed.snr, listed.dm, listed.time, listed.downsampling
        probability = listed.probability
    return BurstFinding(
        observation=observation.key,
        cb=observation.beam,
        sb=pulse.beam,
        arrival=start + float(time),
        dm=float(dm),
        snr=float(snr),
        width=float(downsampling * observation.tsamp * 1e3),
        probability=None if probability is None else float(probability),
        host=host,
        picture=str(picture) if picture and picture.exists() else "",
    )
