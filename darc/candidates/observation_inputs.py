"""What the processing of an observation needs beside its data: channel mask, synthesised beams."""

from __future__ import annotations

from pathlib import Path

from darc.config.instrument import Instrument
from darc.config.settings import ProcessorSettings
from darc.model.observation import Observation
from darc.runtime.paths import configured_file
from darc.runtime.untrusted_files import MAX_TEXT, read_regular
from darc.science.synthesised_beam import (
    SynthesisedBeams,
    parse_synthesised_beams,
    synthesised_beams,
)


def mask_file(observation: Observation, settings: ProcessorSettings) -> Path | None:
    """Return the channel-mask file: the configured one, or AMBER's for this band."""
    if not settings.extractor.rfi_apply_mask:
        return None
    if settings.extractor.rfi_mask is not None:
        return Path(settings.extractor.rfi_mask)
    if not observation.amber_conf_dir:
        return None
    directory = Path(observation.amber_conf_dir)
    centre = observation.f_centre
    paths = [directory / f"zapped_channels_{int(one)}.conf" for one in (round(centre), centre)]
    try:
        for path in paths:
            if path.exists():
                return path
        found = sorted(directory.glob("zapped_channels_*.conf"))
    except OSError:
        return paths[0]  # its reader reports the error
    return found[0] if len(found) == 1 else None


def beam_table(observation: Observation, instrument: Instrument) -> SynthesisedBeams:
    """Return the TABs of all synthesised beams, from a file or by the formula.

    :raises OSError: the file cannot be read
    :raises ValueError: the file is invalid
    """
    shape = {
        "n_sbs": observation.nsynbeams,
        "n_subbands": instrument.n_subbands,
        "n_tabs": observation.ntabs,
    }
    if instrument.sb_table is not None:
        path = configured_file(instrument.sb_table)
        return parse_synthesised_beams(read_regular(path, MAX_TEXT).decode(), str(path), **shape)
    return synthesised_beams(
        **shape,
        band_low=instrument.sb_band_low,
        bandwidth=instrument.bandwidth,
        reference_freq=instrument.sb_reference_freq,
    )
