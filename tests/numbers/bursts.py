"""Each burst of `cells`, as DARC measures it, beside what is in the file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from cells import INSTRUMENTS, SNRS, Series
from darc_side import Measured, measure, off_trigger, right_trigger
from msgspec import Struct
from msgspec.structs import asdict

#: By a trigger that is right, and by one that is as far off as a search's may be.
TRIGGERS = ("right", "off")


class Cell(Struct, frozen=True):
    """A burst and what was measured of it.

    :param asked: S/N before quantisation; `matched`, as it is in the file; `seen`, with its noise
    :param dm_off: of that measured, in delay across the band per width; likewise dm_step, of trials
    :param late: of the listed bin's centre against that of the best boxcar, bins
    :param width: samples as asked; true_width, of the best boxcar
    """

    instrument: str
    kind: str
    width: int
    trigger: str
    asked: float
    everything: float
    matched: float
    boxcar: float
    seen: float
    true_width: int
    snr: float
    snr_best: float
    snr_dm0: float
    dm_off: float
    dm_step: float
    late: float
    found_width: float
    fate: str
    reason: str

    @property
    def ratio(self) -> float:
        """Best S/N measured, as a part of the matched filter's with the same noise."""
        return self.snr_best / self.seen

    @property
    def listed(self) -> float:
        """S/N listed, as a part of the best boxcar's with the same noise."""
        return self.snr / (self.boxcar + self.seen - self.matched)

    @property
    def name(self) -> str:
        return f"{self.instrument}, {self.kind}, {self.width} samples, S/N {self.asked:g}"

    def plain(self) -> dict[str, object]:
        return asdict(self)


def measured_series(
    series: Series, snrs: tuple[float, ...] = SNRS, triggers: tuple[str, ...] = TRIGGERS
) -> Iterator[Cell]:
    """Make the files of a series one after the other, and measure them."""
    instrument, scene = INSTRUMENTS[series.instrument], series.scene()
    per_dm = instrument.across(1.0)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "burst.fil"
        for asked in snrs:
            truth = scene.write(path, asked)
            for name in triggers:
                trigger = (
                    right_trigger(instrument, truth)
                    if name == "right"
                    else off_trigger(instrument, truth, series.seed)
                )
                found: Measured = measure(path, instrument.tsamp, trigger)
                yield Cell(
                    *(series.instrument, series.kind, series.width, name, asked),
                    *(truth.everything, truth.matched, truth.boxcar, truth.seen, truth.width),
                    snr=found.snr,
                    snr_best=found.snr_best,
                    snr_dm0=found.snr_dm0,
                    dm_off=(found.dm - instrument.dm) * per_dm / truth.width,
                    dm_step=found.dm_step * per_dm / truth.width,
                    late=(found.centre - truth.centre) / found.bin,
                    found_width=found.width,
                    fate=found.fate,
                    reason=found.reason,
                )
