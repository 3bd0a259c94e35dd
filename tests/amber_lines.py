"""Lines as AMBER writes them."""

from __future__ import annotations

from simulator.amber_files import format_line

BATCH_S, TSAMP = 1.024, 81.92e-6


def line(number: int, snr: float = 12.5, dm: float = 500.0) -> bytes:
    """One of each batch, in one beam after the other."""
    return format_line(
        beam=number % 12,
        batch=number,
        sample=3,
        integration_step=10,
        time=number * BATCH_S + 30 * TSAMP,
        dm_id=7,
        dm=dm,
        snr=snr,
    )
