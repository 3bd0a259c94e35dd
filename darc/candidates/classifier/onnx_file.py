"""Neural network as classifier, from an ONNX file (https://onnx.ai), run by onnxruntime.

Inputs are float32 of shape (1, n, ntime) or (1, n, ntime, 1), where n and ntime are read from the
model (the first 1 may be undefined):

- ``data_freq_time``, n = nfreq, the lowest frequency first;
- ``data_dm_time``, n = ndm.

Both have the pulse in the middle bin, median 0 and standard deviation 1; missing data are 0.
Outputs are the probabilities from frequency-time and from DM-time, in this order: two of one value
each, or one of two values. A model with a single input, of any name, receives the frequency-time
array; it has one output of one value, and the other probability is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from darc.candidates.classifier import ClassifierError
from darc.model.processing_outcome import Score
from darc.science.arrays import Floats
from darc.science.candidate_arrays import checked_candidate, normalised, resampled

Failures = tuple[type[Exception], ...]

_FAILURES: Failures = (OSError, RuntimeError, TypeError, ValueError)

_FREQ_TIME, _DM_TIME = "data_freq_time", "data_dm_time"


class OnnxClassifier:
    """Session of onnxruntime.

    :param failures: exceptions that it raises
    :raises ClassifierError: the model has other inputs or outputs
    """

    def __init__(self, path: Path, session: Any, failures: Failures) -> None:
        self._failures = failures
        self._path = path
        self._session = session
        shapes = {given.name: self._shape(given) for given in session.get_inputs()}
        if len(shapes) == 1:
            self._freq_time = next(iter(shapes))
        elif set(shapes) == {_FREQ_TIME, _DM_TIME}:
            self._freq_time = _FREQ_TIME
        else:
            raise ClassifierError(
                f"{path}: inputs {', '.join(shapes)}; wanted: {_FREQ_TIME} and {_DM_TIME}, or one"
            )
        self._shapes = shapes
        # Invalid models are detected now, not at the first candidate.
        empty = np.zeros((1, 1), dtype=np.float32)
        self.score(empty, empty)

    def score(
        self, freq_time: Floats, dm_time: Floats, measured: Mapping[str, float] | None = None
    ) -> Score:
        """Score a candidate: see `darc.candidates.classifier.Classifier`.

        :param measured: not used: models have the arrays as inputs
        :raises ClassifierError: the outputs of the model are not probabilities
        """
        given = {self._freq_time: _as_wanted(freq_time, self._shapes[self._freq_time])}
        if len(self._shapes) > 1:
            given[_DM_TIME] = _as_wanted(dm_time, self._shapes[_DM_TIME])
        try:
            outputs = self._session.run(None, given)
            values = np.concatenate([np.asarray(o, dtype=np.float64).ravel() for o in outputs])
        except self._failures as error:
            raise ClassifierError(f"{self._path}: {error}") from error
        if len(values) != len(self._shapes):
            raise ClassifierError(
                f"{self._path}: {len(values)} values as output; wanted: {len(self._shapes)}"
            )
        if not np.all((values >= 0) & (values <= 1)):
            raise ClassifierError(f"{self._path}: {values.tolist()} are not from 0 to 1")
        return Score(float(values[0]), float(values[1]) if len(values) > 1 else 1.0)

    def _shape(self, given: Any) -> tuple[int, ...]:
        dimensions = list(given.shape)
        fits = len(dimensions) in (3, 4) and given.type == "tensor(float)"
        fits = fits and all(isinstance(n, int) and n > 0 for n in dimensions[1:])
        fits = fits and (dimensions[0] == 1 or not isinstance(dimensions[0], int))
        if not fits or dimensions[3:] not in ([], [1]):
            raise ClassifierError(
                f"{self._path}: input {given.name} is {given.type} of shape {dimensions}; "
                "wanted: float of shape (1, n, ntime) or (1, n, ntime, 1)"
            )
        return (1, *dimensions[1:])


def load_onnx(path: Path) -> OnnxClassifier:
    """Read a model.

    :raises ClassifierError: the file cannot be read or is invalid, or onnxruntime is not installed
    """
    try:
        # Large, and an optional dependency.
        import onnxruntime  # noqa: PLC0415
        from onnxruntime.capi import onnxruntime_pybind11_state as errors  # noqa: PLC0415
    except ImportError as error:
        raise ClassifierError(f"{path} needs onnxruntime: pip install 'darc[onnx]'") from error
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    own: Failures = tuple(kind for kind in kinds if issubclass(kind, Exception))
    failures: Failures = (*_FAILURES, *own)
    options = onnxruntime.SessionOptions()
    # Extraction is already parallel.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        model = path.read_bytes()
        session = onnxruntime.InferenceSession(
            model, sess_options=options, providers=["CPUExecutionProvider"]
        )
    except failures as error:
        raise ClassifierError(f"{path}: no model: {error}") from error
    return OnnxClassifier(path, session, failures)


def _as_wanted(array: Floats, shape: tuple[int, ...]) -> Floats:
    fitting = normalised(resampled(checked_candidate(array), (shape[1], shape[2])))
    return fitting.reshape(shape)
