"""Python literals in text: what legacy clients send, and masters of before answer.

CPython counts the depth of a syntax tree in state that all threads share (its issue 106905). Where
a finalizer runs while one thread builds a tree, another thread may build one in between, and the
first fails with SystemError. So one thread at a time builds a tree here; nothing else in this
package parses Python.
"""

from __future__ import annotations

import ast
import threading
from typing import Any

# Reentrant: a finalizer that parses must not wait for its own thread.
_BUILDING = threading.RLock()


def parse_expression(text: str) -> ast.Expression:
    """Parse an expression, which is not evaluated.

    :raises SyntaxError: it is none, or not complete; ValueError, MemoryError and RecursionError
        likewise, by version of Python
    """
    with _BUILDING:
        return ast.parse(text.lstrip(" \t"), mode="eval")


def literal_value(expression: ast.Expression | str) -> Any:
    """Return the value of a literal.

    :raises ValueError: it is another expression; TypeError likewise (an unhashable key), and what
        :func:`parse_expression` raises
    """
    if isinstance(expression, str):
        expression = parse_expression(expression)
    return ast.literal_eval(expression)
