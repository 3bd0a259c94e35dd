"""Tables of the features of examples, made once and kept in files."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darc.config.records import Struct, replace
from darc.science.array_files import arrays_of
from darc.science.dm_time_features import dm_time_features
from darc.science.freq_time_features import freq_time_features
from training.examples import Example
from training.population import examples_of_arts, examples_of_instrument

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

#: Maximum number of pieces of data of an instrument, and of the ARTS that goes with it.
_PIECES = 50


class FeatureTable(Struct, frozen=True, eq=False):
    """Features of examples, one row each.

    :param number: number of the piece of data that an example is of, shape (n,)
    :param instrument: number in the population, shape (n,)
    :param arts: whether it is of ARTS, in the same fold as the instrument, shape (n,)
    :param is_burst: shape (n,)
    :param kind: type of burst or interference, shape (n,)
    :param snr: as extracted, shape (n,)
    :param true_snr: of a burst, 0 for interference, shape (n,)
    :param delay: across the band, in units of the width, shape (n,)
    :param freq_time: shape (n, number of features)
    :param dm_time: shape (n, number of features)
    :param measured: by the extraction, shape (n, number of features)
    """

    number: Ints
    instrument: Ints
    arts: Mask
    is_burst: Mask
    kind: npt.NDArray[np.str_]
    snr: Doubles
    true_snr: Doubles
    delay: Doubles
    freq_time: Floats
    dm_time: Floats
    measured: Floats

    def __len__(self) -> int:
        return len(self.number)

    @property
    def both(self) -> Floats:
        """Features of both arrays, in the order of BOTH_NAMES."""
        return np.hstack([self.freq_time, self.dm_time])

    @property
    def all(self) -> Floats:
        """Features of both arrays and of the extraction, in the order of ALL_NAMES."""
        return np.hstack([self.freq_time, self.dm_time, self.measured])

    @property
    def strongest(self) -> Mask:
        """The first example of each piece of data, which is the strongest, shape (n,)."""
        first = np.zeros(len(self), dtype=np.bool_)
        first[np.unique(self.number, return_index=True)[1]] = True
        return first

    def __getitem__(self, some: Mask | npt.NDArray[np.intp]) -> FeatureTable:
        return FeatureTable(*(getattr(self, name)[some] for name in self.__struct_fields__))


def make_table(seed: int, instrument: int, directory: Path | None = None) -> FeatureTable:
    """Make the examples of an instrument and of the ARTS that goes with it, and measure them.

    :param seed: of the population
    :param instrument: its number
    :param directory: of tables made earlier by the same code: it is read from there, or written
    """
    path = directory / f"{seed}-{instrument}.npz" if directory else None
    if path is not None and path.exists():
        return FeatureTable(**arrays_of(path.read_bytes()))
    table = _measured(instrument, _all_examples(seed, instrument))
    if path is not None:
        columns = {name: getattr(table, name) for name in FeatureTable.__struct_fields__}
        unfinished = path.with_suffix(".part.npz")
        np.savez_compressed(unfinished, **columns)
        unfinished.rename(path)
    return table


def make_tables(
    seed: int, instruments: int, processes: int, directory: Path | None = None
) -> FeatureTable:
    """Make the tables of the first instruments in several processes; see `make_table`."""
    make = partial(make_table, seed, directory=directory)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return joined(pool.map(make, range(instruments), chunksize=1))


def joined(tables: Iterable[FeatureTable]) -> FeatureTable:
    """Concatenate tables."""
    parts = list(tables)
    columns = [
        np.concatenate([getattr(t, n) for t in parts]) for n in FeatureTable.__struct_fields__
    ]
    return FeatureTable(*columns)


def _all_examples(seed: int, instrument: int) -> Iterator[tuple[bool, int, Example]]:
    for piece, example in examples_of_instrument(seed, instrument):
        yield False, piece, example
    for piece, example in examples_of_arts(seed, instrument):
        yield True, piece, example


def _measured(instrument: int, examples: Iterable[tuple[bool, int, Example]]) -> FeatureTable:
    rows = [
        (
            (2 * instrument + arts) * _PIECES + piece,
            instrument,
            arts,
            example.is_burst,
            example.kind,
            example.snr,
            example.true_snr,
            example.delay,
            list(freq_time_features(example.freq_time).values()),
            list(dm_time_features(example.dm_time).values()),
            list(example.measured.values()),
        )
        for arts, piece, example in examples
    ]
    columns = dict(zip(FeatureTable.__struct_fields__, zip(*rows, strict=True), strict=True))
    table = FeatureTable(**{name: np.array(values) for name, values in columns.items()})
    return replace(
        table,
        freq_time=table.freq_time.astype(np.float32),
        dm_time=table.dm_time.astype(np.float32),
        measured=table.measured.astype(np.float32),
    )
