"""The shipped classifier: features of both arrays, and trees for each of its probabilities.

The first probability is by the frequency-time array with that of DM and time beside it, as what one
does not tell the other often does; the second is by DM and time alone.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darc.candidates.classifier import ClassifierError
from darc.candidates.classifier.trees import Trees
from darc.model.processing_outcome import Score
from darc.runtime.paths import packaged
from darc.science.candidate_features import (
    DM_TIME_NAMES,
    FREQ_TIME_NAMES,
    dm_time_features,
    freq_time_features,
)

Floats = npt.NDArray[np.float32]

#: What reading a damaged file, or one of another kind, raises.
_UNREADABLE = (
    AttributeError,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)

#: Of both arrays: some names are the same.
_OF_DM = "dm_time."
BOTH_NAMES = (*FREQ_TIME_NAMES, *(f"{_OF_DM}{name}" for name in DM_TIME_NAMES))

_ARRAYS = {
    "feature": np.int16,
    "threshold": np.float32,
    "left": np.int16,
    "right": np.int16,
    "value": np.float32,
}


@dataclass(frozen=True, slots=True)
class FeatureClassifier:
    """Trees for each probability.

    :param freq_time: know the features of both arrays
    :param dm_time: those of DM and time
    """

    freq_time: Trees
    dm_time: Trees

    def score(self, freq_time: Floats, dm_time: Floats) -> Score:
        """Score a candidate: see `darc.candidates.classifier.Classifier`."""
        of_dm = dm_time_features(dm_time)
        both = freq_time_features(freq_time) | {f"{_OF_DM}{k}": v for k, v in of_dm.items()}
        return Score(
            freq_time=self.freq_time.probability(both), dm_time=self.dm_time.probability(of_dm)
        )


def load_features(path: Path | None) -> FeatureClassifier:
    """Read a file as `save_features` writes it.

    :param path: None: the shipped one
    :raises ClassifierError: it cannot be read, or is not such a file
    """
    shipped = "conf/classifier.npz"
    try:
        where = packaged(shipped) if path is None else path
        with where.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return FeatureClassifier(
                freq_time=_trees(arrays, "freq_time", BOTH_NAMES),
                dm_time=_trees(arrays, "dm_time", DM_TIME_NAMES),
            )
    except _UNREADABLE as error:
        raise ClassifierError(f"{path or shipped}: no classifier: {error}") from error


def save_features(classifier: FeatureClassifier, path: Path) -> None:
    """Write a classifier, ``.npz``; the file that was there before is replaced."""
    arrays: dict[str, Any] = {}
    for kind, trees in (("freq_time", classifier.freq_time), ("dm_time", classifier.dm_time)):
        arrays[f"{kind}.names"] = np.array(trees.names)
        arrays[f"{kind}.start"] = np.float64(trees.start)
        for name in _ARRAYS:
            arrays[f"{kind}.{name}"] = getattr(trees, name)
    np.savez_compressed(path, **arrays)


def _trees(arrays: Mapping[str, npt.NDArray[Any]], kind: str, known: tuple[str, ...]) -> Trees:
    names = tuple(str(name) for name in arrays[f"{kind}.names"].tolist())
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(f"it was trained on features that are not measured: {', '.join(unknown)}")
    found = {name: arrays[f"{kind}.{name}"].astype(dtype) for name, dtype in _ARRAYS.items()}
    return Trees(names=names, start=float(arrays[f"{kind}.start"]), **found)
