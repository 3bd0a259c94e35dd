"""Shipped classifier: features of a candidate, and boosted trees for each of its probabilities.

The first probability is from the features of both arrays, as they complement each other, and, where
they are known, of the extraction; the second is from those of the DM-time array alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darc.candidates.classifier import ClassifierError
from darc.candidates.classifier.trees import Trees
from darc.config.records import Struct
from darc.model.processing_outcome import Score
from darc.runtime.paths import packaged
from darc.science.array_files import arrays_of
from darc.science.arrays import Floats
from darc.science.dm_time_features import DM_TIME_NAMES, dm_time_features
from darc.science.extraction_features import EXTRACTION_NAMES
from darc.science.freq_time_features import FREQ_TIME_NAMES, freq_time_features

#: Prefixes of features, as some names occur in several groups.
_OF_DM, _OF_EXTRACTION = "dm_time.", "extraction."
BOTH_NAMES = (*FREQ_TIME_NAMES, *(f"{_OF_DM}{name}" for name in DM_TIME_NAMES))
ALL_NAMES = (*BOTH_NAMES, *(f"{_OF_EXTRACTION}{name}" for name in EXTRACTION_NAMES))

_ARRAYS = {
    "feature": np.int16,
    "threshold": np.float32,
    "left": np.int16,
    "right": np.int16,
    "value": np.float32,
}


class FeatureClassifier(Struct, frozen=True):
    """Boosted trees for each probability.

    :param freq_time: trees with the features of both arrays
    :param dm_time: trees with the features of the DM-time array
    :param all: trees with those of both arrays and of the extraction; None in files of earlier
        versions
    """

    freq_time: Trees
    dm_time: Trees
    all: Trees | None = None

    def score(
        self, freq_time: Floats, dm_time: Floats, measured: Mapping[str, float] | None = None
    ) -> Score:
        """Score a candidate: see `darc.candidates.classifier.Classifier`."""
        of_dm = dm_time_features(dm_time)
        features = freq_time_features(freq_time) | {f"{_OF_DM}{k}": v for k, v in of_dm.items()}
        if not any(features.values()):  # nothing varies: trees do not know that
            return Score(freq_time=0.0, dm_time=0.0)
        trees = self.freq_time
        if self.all is not None and measured is not None:
            features |= {f"{_OF_EXTRACTION}{k}": v for k, v in measured.items()}
            trees = self.all
        return Score(freq_time=trees.probability(features), dm_time=self.dm_time.probability(of_dm))


def load_features(path: Path | None) -> FeatureClassifier:
    """Read a file written by `save_features`.

    :param path: None: the shipped classifier
    :raises ClassifierError: the file cannot be read or is invalid
    """
    shipped = "conf/classifier.npz"
    try:
        arrays = arrays_of((packaged(shipped) if path is None else path).read_bytes())
        return FeatureClassifier(
            freq_time=_trees(arrays, "freq_time", BOTH_NAMES),
            dm_time=_trees(arrays, "dm_time", DM_TIME_NAMES),
            all=_trees(arrays, "all", ALL_NAMES) if "all.names" in arrays else None,
        )
    except Exception as error:  # of many types, where it is damaged or of another format
        raise ClassifierError(f"{path or shipped}: no classifier: {error}") from error


def save_features(classifier: FeatureClassifier, path: Path) -> None:
    """Write a classifier as ``.npz``, replacing an existing file."""
    arrays: dict[str, Any] = {}
    for kind in ("freq_time", "dm_time", "all"):
        trees = getattr(classifier, kind)
        if trees is None:
            continue
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
