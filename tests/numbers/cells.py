"""What is measured: instruments, kinds of bursts, and what is beside them. One line adds one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import interference
import numpy as np
from msgspec import Struct
from oracle import NO_DATA, SATURATED, Component, Floats, Instrument, Random, Receiver, Scene

#: Edges of the band (MHz), channels, sampling (s), bits, DM; the order of channels.
INSTRUMENTS = {
    one.name: one
    for one in (
        Instrument("ARTS", 1219.7, 1519.7, 1536, 81.92e-6, 8, 300.0),
        Instrument("64 channels 400-800", 400.0, 800.0, 64, 5e-4, 8, 25.0),
        Instrument("16 channels 1300-1400", 1300.0, 1400.0, 16, 2e-3, 16, 600.0, descending=False),
        Instrument("ASKAP-like, 336 channels", 1130.0, 1466.0, 336, 1e-3, 8, 400.0),
        Instrument("CHIME-like, 1024 channels", 400.0, 800.0, 1024, 983e-6, 8, 150.0),
        Instrument("110-190 MHz, 800 channels", 110.0, 190.0, 800, 1e-3, 32, 25.0),
        Instrument("4-8 GHz, 256 channels", 4000.0, 8000.0, 256, 1e-5, 16, 300.0),
        Instrument("4096 channels 1000-2000", 1000.0, 2000.0, 4096, 256e-6, 8, 200.0),
        Instrument("4 bits, 128 channels", 1300.0, 1600.0, 128, 3e-4, 4, 250.0, descending=False),
        Instrument("2 bits, 96 channels", 1230.0, 1518.0, 96, 2.5e-4, 2, 250.0),
        Instrument("1 bit, 512 channels", 1200.0, 1500.0, 512, 2.5e-4, 1, 250.0),
    )
}

Disturb = Callable[[Floats, Instrument, Random, int], Receiver | None]


def _zeros(rows: Floats, instrument: Instrument, rng: Random, arrival: int) -> None:
    """A tenth of what is before the burst."""
    rows[:, arrival // 2 : arrival // 2 + arrival // 10] = NO_DATA


def _steps_at(part: float) -> Disturb:
    """The level rises by 2 sigma, in so many times what is before the burst."""

    def disturb(rows: Floats, instrument: Instrument, rng: Random, arrival: int) -> Receiver:
        n = rows.shape[1]
        return Receiver(np.ones(n), np.where(np.arange(n) < int(arrival * part), 0.0, 2.0))

    return disturb


def _gain(rows: Floats, instrument: Instrument, rng: Random, arrival: int) -> Receiver:
    """30 % up and down in 10 s."""
    times = np.arange(rows.shape[1]) * instrument.tsamp
    gain = 1 + 0.3 * np.sin(2 * np.pi * (times / 10 + rng.random()))
    return Receiver(np.asarray(gain), np.zeros(len(times)))


def _beside(kind: interference.Kind) -> Disturb:
    def disturb(rows: Floats, instrument: Instrument, rng: Random, arrival: int) -> None:
        kind(rows, instrument.tsamp, rng)

    return disturb


class Kind(Struct, frozen=True):
    """A kind of burst, or what disturbs it.

    :param clean: nothing but noise is beside it
    :param saturated: above 3 sigma; of 8 bits only
    """

    components: tuple[Component, ...] = (Component(),)
    disturb: Disturb | None = None
    clean: bool = True
    saturated: bool = False
    nifs: int = 1


KINDS = {
    "flat": Kind(),
    "quarter of the band": Kind((Component(part=(0.4, 0.65)),)),
    "scattered": Kind((Component(scattering=1.0),)),
    "drifting": Kind(
        tuple(Component(part=(0.75 - n / 4, 1.0 - n / 4), late=0.7 * n) for n in range(4))
    ),
    "saturated": Kind(saturated=True),
    "one of two polarisations": Kind(nifs=2),
    "beside zeros": Kind(disturb=_zeros),
    "after a step of 2 sigma": Kind(disturb=_steps_at(0.5)),
    "gain drifts by 30 % in 10 s": Kind(disturb=_gain),
} | {
    f"in {name}": Kind(disturb=_beside(kind), clean=False)
    for name, kind in interference.KINDS.items()
    if name != "nothing"
}
# The last, as places are seeds.
KINDS["before a step of 2 sigma"] = Kind(disturb=_steps_at(1.5))

SNRS = (7.0, 10.0, 15.0, 25.0, 50.0, 100.0, 300.0, 1000.0, 5000.0)
WIDTHS = (1, 2, 3, 5, 10, 30, 80, 250)
#: Values that a file may have.
LARGEST = 4e7


class Series(Struct, frozen=True):
    """The same burst in the same noise, at each S/N."""

    instrument: str
    kind: str
    width: int
    seed: int

    def scene(self) -> Scene:
        kind = KINDS[self.kind]
        return Scene(
            *(INSTRUMENTS[self.instrument], kind.components, self.width),
            seed=self.seed,
            disturb=kind.disturb,
            levels=SATURATED if kind.saturated else None,
            nifs=kind.nifs,
        )


def _fits(instrument: Instrument, kind: Kind, width: int) -> bool:
    # As Scene has it, about.
    lasts = (width + float(np.median(instrument.smearing(instrument.dm)))) * (
        1 + max(one.late + one.scattering for one in kind.components)
    )
    n = 2 * max(2048, 40 * lasts) + 1.1 * instrument.across(instrument.dm)
    return n * instrument.nchans * kind.nifs <= LARGEST


def all_series(size: float = 1.0) -> Iterator[Series]:
    """Some of all there could be; below size 1 not all kinds of all instruments.

    Size 1: of each instrument and kind one width, of flat ones three; 8: all widths.
    """
    apart = max(1, round(1 / size))
    for i, (name, instrument) in enumerate(INSTRUMENTS.items()):
        for j, (kind_name, kind) in enumerate(KINDS.items()):
            if (kind.saturated and instrument.nbits != 8) or (j and (i + j) % apart):
                continue
            widths = [width for width in WIDTHS if _fits(instrument, kind, width)]
            wanted = max(1, round(size * (1 if j else 3)))
            step = max(1, len(widths) // wanted)
            for number, width in enumerate(widths[(i + 3 * j) % step :: step][:wanted]):
                yield Series(name, kind_name, width, seed=10_000 * i + 100 * j + number)
