"""Compiled functions: where they are kept, and that Python itself gives the same."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from darc.science import compiled as module
from darc.science.compiled import compiled


def test_the_function_stays_what_it_was():
    @compiled
    def twice(values: np.ndarray) -> np.ndarray:
        """Doc."""
        return 2 * values

    assert twice.__doc__ == "Doc."
    assert (twice(np.arange(3)) == [0, 2, 4]).all()


def test_nowhere_to_keep_it_is_said_and_works():
    names: dict[str, object] = {}
    exec("def half(x):\n    return x / 2\n", names)  # a function without a file
    with pytest.warns(RuntimeWarning, match="compiled anew in each process: .*half"):
        half = compiled(names["half"])
    assert half(3.0) == 1.5


def test_no_number_is_no_number_and_nothing_divides_to_infinity():
    @compiled
    def quotient(a: float, b: float) -> float:
        return a / b

    assert np.isnan(quotient(0.0, 0.0))
    assert quotient(1.0, 0.0) == np.inf
    assert np.isnan(quotient(np.nan, 1.0))


def test_no_compiled_function_calls_another_module():
    """Numba would not see that it has changed."""
    science = Path(module.__file__).parent
    for path in sorted(science.glob("*.py")):
        tree = ast.parse(path.read_text())
        imported = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("darc.science")
            and node.module != "darc.science.arrays"  # types
            for alias in node.names
        } - {"compiled"}
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and any(
                isinstance(decorator, ast.Name) and decorator.id == "compiled"
                for decorator in node.decorator_list
            ):
                called = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
                assert not called & imported, f"{path.name}: {node.name}"
