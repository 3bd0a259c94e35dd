"""YAML text as a tree of values that know their file and line."""

from __future__ import annotations

import re

import yaml

from darc.model.typed import Value

# YAML 1.1 takes 1e-3 and 4.1e3 for text; nobody who writes them means that.
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_SCALARS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str")}
_COLLECTIONS = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq")}
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class YAMLTextError(ValueError):
    """A text is not YAML, or YAML of a kind that is not used here.

    `problems` has a message per error, `tree` what could be read all the same.
    """

    def __init__(self, problems: tuple[str, ...], tree: Value | None = None) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.tree = tree


def parse_yaml(text: str, name: str, *, as_text: bool = False) -> Value:
    """Parse one YAML document.

    :param name: the file's name, for messages
    :param as_text: keep every scalar as it is written, a null excepted
    :returns: the tree; the data of an empty document is None. A value has the line of its key.
    :raises YAMLTextError: wrong syntax, a key given twice, or a tag or alias that is not allowed
    """
    loader = yaml.SafeLoader("")
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return Value(None, name, 1)
        problems: list[str] = []
        tree = _Builder(loader, name, as_text, problems).value(root, root.start_mark.line + 1)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        problem = error.problem or error.context
        raise YAMLTextError((f"{place}: not valid YAML: {problem}",)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YAMLTextError((f"{name}:{line}: not valid YAML: {error.reason}",)) from error
    except RecursionError:
        raise YAMLTextError((f"{name}: nested too deeply",)) from None
    finally:
        loader.dispose()
    if problems:
        raise YAMLTextError(tuple(problems), tree)
    return tree


class _Builder:
    def __init__(
        self, loader: yaml.SafeLoader, name: str, as_text: bool, problems: list[str]
    ) -> None:
        self._loader = loader
        self._name = name
        self._as_text = as_text
        self._problems = problems
        self._open: set[int] = set()

    def value(self, node: yaml.Node, line: int) -> Value:
        if isinstance(node, yaml.ScalarNode):
            return Value(self._scalar(node), self._name, line)
        if id(node) in self._open:
            self._complain(node, "an alias inside what it stands for")
            return Value(None, self._name, line)
        if node.tag not in _COLLECTIONS:
            self._complain(node, f"the tag {node.tag} is not allowed")
        self._open.add(id(node))
        data = self._mapping(node) if isinstance(node, yaml.MappingNode) else self._list(node)
        self._open.remove(id(node))
        return Value(data, self._name, line)

    def _list(self, node: yaml.Node) -> list[Value]:
        return [self.value(entry, entry.start_mark.line + 1) for entry in node.value]

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for key, entry in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._complain(key, "a key must be a single word")
            elif key.value in found:
                first = found[key.value].line
                self._complain(key, f"{key.value}: given twice, first in line {first}")
            else:
                found[key.value] = self.value(entry, key.start_mark.line + 1)
        return found

    def _scalar(self, node: yaml.ScalarNode) -> object:
        if node.tag == _TIMESTAMP:
            return node.value
        if node.tag not in _SCALARS:
            self._complain(node, f"the tag {node.tag} is not allowed")
            return None
        if self._as_text:
            return None if node.tag.endswith(":null") else node.value
        if node.style is None and _EXPONENT.fullmatch(node.value):
            return float(node.value)
        try:
            return self._loader.construct_object(node)
        except ValueError:  # for instance 0o9, or an explicit !!int on a word
            self._complain(node, f"{node.value!r} is not {node.tag.rsplit(':')[-1]}")
            return None

    def _complain(self, node: yaml.Node, what: str) -> None:
        self._problems.append(f"{self._name}:{node.start_mark.line + 1}: {what}")
