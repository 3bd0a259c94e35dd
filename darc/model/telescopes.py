"""Names and positions of the telescopes that filterbank headers identify by a number.

Source of numbers and names: SIGPROC and PRESTO; of the positions: tempo2's observatories.dat.
Positions are accurate to some metres, which is 10 ns.
"""

from __future__ import annotations

#: ITRF, m, by SIGPROC's telescope_id.
POSITIONS: dict[int, tuple[float, float, float]] = {
    1: (2390487.080, -5564731.357, 1994720.633),  # Arecibo
    3: (4324165.81, 165927.11, 4670132.83),  # Nancay
    4: (-4554231.5, 2816759.1, -3454036.3),  # Parkes
    5: (3822625.769, -154105.255, 5086486.256),  # Jodrell Bank
    6: (882589.289, -4924872.368, 3943729.418),  # Green Bank
    7: (1656342.30, 5797947.77, 2073243.16),  # GMRT
    8: (4033947.146, 486990.898, 4900431.067),  # Effelsberg
    12: (-1601192.0, -5041981.4, 3554871.4),  # VLA
    21: (-1668557.0, 5506838.0, 2744934.0),  # FAST
    64: (5109360.133, 2006852.586, -3238948.127),  # MeerKAT
}

#: By SIGPROC's telescope_id; 0 means simulated data.
NAMES: dict[int, str] = {
    1: "Arecibo",
    2: "Ooty",
    3: "Nançay",
    4: "Parkes",
    5: "Jodrell Bank",
    6: "Green Bank",
    7: "GMRT",
    8: "Effelsberg",
    9: "ATA",
    10: "SRT",
    11: "LOFAR",
    12: "VLA",
    20: "CHIME",
    21: "FAST",
    64: "MeerKAT",
    65: "KAT-7",
}


def telescope_name(telescope_id: int | None) -> str:
    """Return the name of a telescope by its number; empty if there is none."""
    if not telescope_id:
        return ""
    return NAMES.get(telescope_id, f"telescope {telescope_id}")
