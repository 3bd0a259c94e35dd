"""Models of ONNX, run by onnxruntime."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from darc.candidates.classifier import ClassifierError, load_classifier

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))),
    reason="onnx and onnxruntime are not installed (extra test)",
)
FLOAT, DOUBLE = 1, 11  # of onnx.TensorProto: each test process collects all files

Shape = tuple[int | str, ...]


def write_model(
    path: Path,
    inputs: dict[str, Shape],
    *,
    joined: bool = False,
    operation: str = "Sigmoid",
    element: int = FLOAT,
) -> Path:
    """Each probability is the sigmoid of an array's largest value, less 5."""
    from onnx import helper  # noqa: PLC0415

    nodes, outputs = [], []
    less = helper.make_tensor("less", element, [1, 1], [-5.0])
    for number, (name, shape) in enumerate(inputs.items()):
        axes = list(range(1, len(shape)))
        nodes.append(helper.make_node("ReduceMax", [name], [f"max{number}"], axes=axes, keepdims=0))
        nodes.append(helper.make_node("Add", [f"max{number}", "less"], [f"sum{number}"]))
        nodes.append(helper.make_node(operation, [f"sum{number}"], [f"p{number}"]))
        outputs.append(f"p{number}")
    if joined:
        nodes.append(helper.make_node("Concat", outputs, ["p"], axis=1))
        outputs = ["p"]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, element, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, element, None) for name in outputs],
        [less],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def candidate() -> tuple[np.ndarray, np.ndarray]:
    freq_time, dm_time = np.random.default_rng(1).normal(9, 2, (2, 64, 64)).astype(np.float32)
    freq_time[20:24, 32] += 30  # a block that resampling leaves as it is
    return freq_time, dm_time


def sigmoid_of_largest(array: np.ndarray) -> float:
    values = (array - np.median(array)) / array.std()
    return float(1 / (1 + np.exp(5 - values.max())))


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("more", [(), (1,)])
@pytest.mark.parametrize("first", [1, "batch"])
def test_two_inputs(tmp_path: Path, joined: bool, more: Shape, first: int | str) -> None:
    # In the order in which a model must not rely on.
    shapes: dict[str, Shape] = {
        "data_freq_time": (first, 32, 64, *more),
        "data_dm_time": (first, 64, 64, *more),
    }
    classifier = load_classifier(write_model(tmp_path / "model.onnx", shapes, joined=joined))
    freq_time, dm_time = candidate()
    found = classifier.score(freq_time, dm_time)
    resampled = freq_time.reshape(32, 2, 64).mean(axis=1)
    assert found.freq_time == pytest.approx(sigmoid_of_largest(resampled), abs=1e-5)
    assert found.dm_time == pytest.approx(sigmoid_of_largest(dm_time), abs=1e-5)
    assert found.freq_time - found.dm_time > 0.3


def test_one_input_is_frequency_time(tmp_path: Path) -> None:
    classifier = load_classifier(write_model(tmp_path / "model.onnx", {"image": (1, 64, 64)}))
    freq_time, dm_time = candidate()
    found = classifier.score(freq_time, dm_time)
    assert found.freq_time == pytest.approx(sigmoid_of_largest(freq_time), abs=1e-5)
    assert found.dm_time == 1


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_arrays_of_one_value(tmp_path: Path, value: float) -> None:
    classifier = load_classifier(write_model(tmp_path / "model.ONNX", {"image": (1, 32, 64)}))
    array = np.full((64, 64), value, dtype=np.float32)
    assert classifier.score(array, array).freq_time == pytest.approx(1 / (1 + np.exp(5)), abs=1e-6)


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ({"data_freq_time": (1, 32, 64), "dm": (1, 64, 64)}, {}, "inputs data_freq_time, dm;"),
        ({"image": (1, "n", 64)}, {}, "wanted: float of shape"),
        ({"image": (2, 32, 64)}, {}, "wanted: float of shape"),
        ({"image": (1, 32, 64, 3)}, {}, "wanted: float of shape"),
        ({"image": (32, 64)}, {}, "wanted: float of shape"),
        ({"image": (1, 32, 64)}, {"element": DOUBLE}, r"tensor\(double\)"),
        ({"image": (1, 32, 64)}, {"operation": "Identity"}, "not from 0 to 1"),
    ],
)
def test_other_models(tmp_path: Path, inputs, options, message: str) -> None:
    path = write_model(tmp_path / "model.onnx", inputs, **options)
    with pytest.raises(ClassifierError, match=rf"model\.onnx: .*{message}"):
        load_classifier(path)


def test_a_model_of_more_outputs(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", {"image": (1, 32, 64)})
    import onnx  # noqa: PLC0415

    model = onnx.load(path)
    model.graph.output.append(onnx.helper.make_tensor_value_info("sum0", FLOAT, None))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ClassifierError, match="2 values as output; wanted: 1"):
        load_classifier(path)


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(ClassifierError, match=r"model\.onnx: no model"):
        load_classifier(path)
    for content in (b"", b"no model at all"):
        path.write_bytes(content)
        with pytest.raises(ClassifierError, match=r"model\.onnx: no model"):
            load_classifier(path)


def test_without_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_model(tmp_path / "model.onnx", {"image": (1, 32, 64)})
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ClassifierError, match=r"model\.onnx needs onnxruntime: pip install"):
        load_classifier(path)
