"""Trigger files as AMBER writes them: their names and lines."""

from __future__ import annotations


def format_header() -> bytes:
    """Return the header line as AMBER writes it, with its newline."""
    return (
        b"# beam_id batch_id sample_id integration_step compacted_integration_steps time "
        b"DM_id DM compacted_DMs SNR\n"
    )


def format_line(
    *,
    beam: int,
    batch: int,
    sample: int,
    integration_step: int,
    time: float,
    dm_id: int,
    dm: float,
    snr: float,
    compacted_steps: int = 1,
    compacted_dms: int = 1,
) -> bytes:
    """Return a candidate's line as AMBER writes it, with its newline.

    :param sample: index of the bin in its batch, in units of `integration_step` samples
    :param time: start of the bin (s since the start)
    :param dm: pc cm-3
    """
    return (
        f"{beam} {batch} {sample} {integration_step} {compacted_steps} {time:g} "
        f"{dm_id} {dm:g} {compacted_dms} {snr:g}\n"
    ).encode()


def trigger_name(beam: int, instance: int) -> str:
    """Return the file name of an AMBER instance (from 1) of a compound beam."""
    return f"CB{beam:02d}_step{instance}.trigger"
