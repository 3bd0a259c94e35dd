"""YAML text to a tree and back, with PyYAML; :mod:`darc.config.yaml_tree` is how it is used."""

from __future__ import annotations

import re
from typing import Any

import yaml

from darc.config.file_kinds import BYTE_ORDER_MARK
from darc.config.typed import Value
from darc.config.yaml_error import YAMLProblem, YAMLTextError

#: Limits of a document. One written by hand has some hundreds of values.
MAX_CHARACTERS = 2**18
#: Values and keys; those behind an alias count each time.
MAX_VALUES = 20_000
MAX_DEPTH = 50
#: Characters of a number: converting a longer one takes long.
_MAX_NUMBER = 64

# YAML 1.1 reads 1e-3 and 4.1e3 as text; whoever writes them means a number.
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
# A number in YAML 1.2, or a truth value in YAML 1.1, but text in PyYAML.
_ELSEWHERE = re.compile("0o[0-7]+|[yYnN]")
_SCALARS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str")}
_COLLECTIONS = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq")}
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


def parse(text: str, name: str, *, as_text: bool, from_package: bool) -> Value:
    """See :func:`darc.config.yaml_tree.parse_yaml`."""
    if len(text) > MAX_CHARACTERS:
        what = f"longer than {MAX_CHARACTERS} characters"
        raise YAMLTextError((YAMLProblem(name, None, what),))
    text = text.removeprefix(BYTE_ORDER_MARK)
    kind = _PackageLoader if from_package else _Loader
    loader = kind("")
    try:
        loader = kind(text)
        root = loader.get_single_node()
        if root is None:
            return Value(None, name, 1)
        problems: list[YAMLProblem] = []
        tree = _Builder(loader, name, as_text, problems).value(root, root.start_mark.line + 1)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = mark.line + 1 if mark else None
        what = f"not valid YAML: {error.problem or error.context}"
        raise YAMLTextError((YAMLProblem(name, at, what),)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"not valid YAML: {error.reason}"
        raise YAMLTextError((YAMLProblem(name, line, what),)) from error
    except _TooMuchError as error:
        raise YAMLTextError((YAMLProblem(name, error.line, str(error)),)) from error
    finally:
        loader.dispose()
    if problems:
        raise YAMLTextError(tuple(problems), tree)
    return tree


def dump(value: object, width: int) -> str:
    """See :func:`darc.config.yaml_tree.yaml_text`."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=width)


class _Dumper(yaml.SafeDumper):
    """A dumper that quotes texts which a YAML reader would take for something else."""


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_other = _EXPONENT.fullmatch(text) or _ELSEWHERE.fullmatch(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, "'" if is_other else None)


_Dumper.add_representer(str, _quoted)


class _TooMuchError(Exception):
    def __init__(self, what: str, node_or_event: Any) -> None:
        super().__init__(what)
        self.line: int = node_or_event.start_mark.line + 1


class _Bounds:
    """Counter of values and nesting depth."""

    def __init__(self) -> None:
        self._values = 0
        self._depth = 0

    def enter(self, place: Any) -> None:
        """Count a value.

        :raises _TooMuchError: too many values, or nested too deeply
        """
        self._values += 1
        self._depth += 1
        if self._values > MAX_VALUES:
            what = f"more than {MAX_VALUES} values, those behind aliases counted each time"
            raise _TooMuchError(what, place)
        if self._depth > MAX_DEPTH:
            raise _TooMuchError(f"nested too deeply, more than {MAX_DEPTH} levels", place)

    def leave(self) -> None:
        self._depth -= 1


class _Loader(yaml.SafeLoader):
    """A loader that stops at the limits, before a large document has taken the memory."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._bounds = _Bounds()

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._bounds.enter(self.peek_event())  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        self._bounds.leave()
        return node


_PackageLoader: Any = getattr(yaml, "CSafeLoader", _Loader)


class _Builder:
    def __init__(
        self, loader: yaml.SafeLoader, name: str, as_text: bool, problems: list[YAMLProblem]
    ) -> None:
        self._loader = loader
        self._name = name
        self._as_text = as_text
        self._problems = problems
        self._open: set[int] = set()
        self._bounds = _Bounds()

    def value(self, node: yaml.Node, line: int) -> Value:
        self._bounds.enter(node)
        value = self._value(node, line)
        self._bounds.leave()
        return value

    def _value(self, node: yaml.Node, line: int) -> Value:
        if isinstance(node, yaml.ScalarNode):
            return Value(self._scalar(node), self._name, line)
        if id(node) in self._open:
            self._complain(node, "an alias inside its own anchor")
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
                self._complain(key, "a key must be a scalar")
            elif key.value in found:
                first = found[key.value].line
                self._complain(key, f"{key.value}: duplicate key, first in line {first}")
            elif not _is_text(key.value):
                self._complain(key, f"{key.value!r:.60} is not valid Unicode")
            else:
                found[key.value] = self.value(entry, key.start_mark.line + 1)
        return found

    def _scalar(self, node: yaml.ScalarNode) -> object:
        old = "" if self._as_text or node.style else _old_number(node)
        if wrong := _wrong_with(node) or old:
            self._complain(node, wrong)
            return None
        if node.tag == _TIMESTAMP:
            return node.value
        if self._as_text:
            return None if node.tag.endswith(":null") else node.value
        if not node.style and _EXPONENT.fullmatch(node.value):
            return float(node.value)
        try:
            return self._loader.construct_object(node)
        # For instance 0o9, !!int or !!bool on a word, or an hour out of range.
        except (ValueError, KeyError, OverflowError, IndexError):
            self._complain(node, f"{node.value!r:.60} is not {node.tag.rsplit(':')[-1]}")
            return None

    def _complain(self, node: yaml.Node, what: str) -> None:
        self._problems.append(YAMLProblem(self._name, node.start_mark.line + 1, what))


def _wrong_with(node: yaml.ScalarNode) -> str:
    """Return why a scalar is refused; empty if it is valid."""
    if node.tag != _TIMESTAMP and node.tag not in _SCALARS:
        return f"the tag {node.tag} is not allowed"
    if not _is_text(node.value):
        return f"{node.value!r:.60} is not valid Unicode"
    if node.tag.endswith((":int", ":float")) and len(node.value) > _MAX_NUMBER:
        return f"{node.value[:20]!r}... is not a number: longer than {_MAX_NUMBER} characters"
    return ""


def _old_number(node: yaml.ScalarNode) -> str:
    """Return why a number is refused that YAML 1.1 reads differently than its author means."""
    plain = node.value.lstrip("+-")
    if node.tag.endswith(":int") and re.fullmatch("0[0-7_]+", plain):
        return (
            f"{node.value!r:.60} starts with 0, which YAML reads as octal; write"
            f" {plain.lstrip('0_') or '0'}, or quote a text"
        )
    if node.tag.endswith((":int", ":float")) and ":" in plain:
        return f"{node.value!r:.60} has colons, which YAML reads as base 60; quote a text"
    return ""


def _is_text(text: str) -> bool:
    """Whether `text` can be encoded: half a surrogate pair, made by an escape, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
