"""Classifiers: probabilities that a candidate is a burst, from its arrays.

The shipped classifier (docs/classifier.md) measures features and evaluates boosted decision trees;
a neural network is read from an ONNX file (`darc.candidates.classifier.onnx_file`, extra ``onnx``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from darc.model.processing_outcome import Score
from darc.science.arrays import Floats


class ClassifierError(ValueError):
    """A classifier's file cannot be used; the message names it."""


class Classifier(Protocol):
    """Classifier of candidates; thread-safe."""

    def score(
        self, freq_time: Floats, dm_time: Floats, measured: Mapping[str, float] | None = None
    ) -> Score:
        """Return the probabilities that a candidate is a burst, one from each array.

        Units and size of the arrays do not matter; values that are not finite count as missing.

        :param freq_time: the lowest frequency first, shape (nfreq, ntime), the pulse in bin ntime
            // 2
        :param dm_time: shape (ndm, ntime), the pulse in bin ntime // 2
        :param measured: `darc.science.extraction_features`, which not all classifiers use; None:
            unknown
        :raises ValueError: an array is not two-dimensional, or empty
        """


def load_classifier(path: Path | None) -> Classifier:
    """Read a classifier.

    :param path: an ``.onnx`` file, or one written by `training.train_classifier`; None: the
        shipped classifier
    :raises ClassifierError: the file cannot be read or is invalid, or a dependency is not installed
    """
    if path is not None and path.suffix.lower() == ".onnx":
        from darc.candidates.classifier.onnx_file import load_onnx  # noqa: PLC0415 (an extra)

        return load_onnx(path)
    # Imported late: it is not needed for the interface.
    from darc.candidates.classifier.feature_classifier import load_features  # noqa: PLC0415

    return load_features(path)
