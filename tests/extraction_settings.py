"""What tests of the extraction extract, as the processor does by default."""

from __future__ import annotations

from darc.science.extraction_plan import ExtractionSettings

PER_CHANNEL = ExtractionSettings(
    ntime=64,
    nfreq=64,
    ndm=64,
    dm_halfrange=10,
    clean_type="perchannel",
    threshold_time=3.25,
    n_iter_time=3,
    threshold_freq=2.75,
    n_iter_freq=3,
    bin_size=32,
)
