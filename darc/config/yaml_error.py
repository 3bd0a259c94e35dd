"""What is wrong with a YAML text."""

from __future__ import annotations

from darc.config.records import Struct
from darc.config.typed import Value


class YAMLProblem(Struct, frozen=True):
    """Something that is wrong with a text; `line` is None where it is about all of it."""

    name: str
    line: int | None
    what: str

    def __str__(self) -> str:
        place = self.name if self.line is None else f"{self.name}:{self.line}"
        return f"{place}: {self.what}"


class YAMLTextError(ValueError):
    """A text is not YAML, or uses a feature that is not allowed here.

    `problems` has all errors, `tree` what could be read all the same.
    """

    def __init__(self, problems: tuple[YAMLProblem, ...], tree: Value | None = None) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems
        self.tree = tree
