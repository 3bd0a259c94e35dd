"""Python literals in text: requests of legacy clients, and replies of masters of earlier versions.

CPython counts the depth of a syntax tree in state that all threads share (its issue 106905). Where
a finalizer runs while one thread builds a tree, another thread may build one in between, and the
first fails with SystemError. So one thread at a time builds a tree here. numpy does it for the
header of each array of a file: `darc.science.array_files` holds `tree_lock` meanwhile.
"""

from __future__ import annotations

import ast
import threading
from typing import Any

#: Held while a tree is built. Reentrant: a finalizer that parses must not wait for its own thread.
tree_lock = threading.RLock()


def parse_expression(text: str) -> ast.Expression:
    """Parse an expression, which is not evaluated.

    :raises SyntaxError: the text is no expression, or not all of one; ValueError, MemoryError and
        RecursionError likewise, by version of Python
    """
    with tree_lock:
        return ast.parse(text, mode="eval")


def literal_value(expression: ast.Expression | str) -> Any:
    """Return the value of a literal.

    :raises ValueError: the expression is no literal; TypeError where a key is unhashable, and what
        :func:`parse_expression` raises
    """
    if isinstance(expression, str):
        expression = parse_expression(expression)
    return ast.literal_eval(expression)
