"""Whether a candidate is a burst: anything that gives its arrays two probabilities.

The shipped classifier (docs/classifier.md) measures features and asks boosted trees; a neural
network comes as an ONNX file (`darc.candidates.classifier.onnx_file`, extra ``onnx``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from darc.model.processing_outcome import Score

Floats = npt.NDArray[np.float32]


class ClassifierError(ValueError):
    """A classifier's file cannot be used; the message names it."""


class Classifier(Protocol):
    """What scores candidates; one may be used by several threads."""

    def score(self, freq_time: Floats, dm_time: Floats) -> Score:
        """Give probabilities that a candidate is a burst: one by each of its arrays.

        Units and size of the arrays do not matter; what is not finite counts as no data.

        :param freq_time: the lowest frequency first, shape (nfreq, ntime), the pulse in bin
            ntime // 2
        :param dm_time: shape (ndm, ntime), likewise
        :raises ValueError: an array has no two dimensions, or no values
        """


def load_classifier(path: Path | None) -> Classifier:
    """Read a classifier.

    :param path: an ``.onnx`` file, or one as `training.train_classifier` writes it; None:
        the shipped
    :raises ClassifierError: the file cannot be read, is not such a file, or needs what is not
        installed
    """
    if path is not None and path.suffix.lower() == ".onnx":
        from darc.candidates.classifier.onnx_file import load_onnx  # noqa: PLC0415 (an extra)

        return load_onnx(path)
    # So that who only names the interface does not read all of this.
    from darc.candidates.classifier.feature_classifier import load_features  # noqa: PLC0415

    return load_features(path)
