"""Trees of YAML texts that were parsed before, in a file that a node's processes share.

A process that finds its configuration there need not import PyYAML, which takes 14 ms and 1 MB. A
tree is found by the digest of its text, so that one of a changed text is never used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Set
from pathlib import Path
from typing import Any

from darc import __version__
from darc.config.config import Layer
from darc.config.typed import Value
from darc.config.yaml_tree import parse_yaml
from darc.runtime.paths import write_whole

#: Of the file: trees of another format or version of DARC, which may read a text differently, are
#: not used.
FORMAT = f"1 of {__version__}"


def keep_trees(path: Path, layers: Iterable[Layer]) -> None:
    """Write the trees of valid texts, and no others, unless they are there.

    :raises OSError: the file cannot be written
    """
    texts = {_digest(one.text): one for one in layers}
    if texts.keys() == KeptTrees(path).digests:
        return
    trees = {digest: _plain(parse_yaml(one.text, one.name)) for digest, one in texts.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({"format": FORMAT, "trees": trees}), mode=0o600)


class KeptTrees:
    """Trees in the file; none where it is missing, damaged, or of another format or version."""

    def __init__(self, path: Path) -> None:
        self._trees: dict[str, Any] = {}
        try:
            kept = json.loads(path.read_text())
            if kept["format"] == FORMAT:
                self._trees = dict(kept["trees"])
        except (OSError, ValueError, TypeError, KeyError):
            pass

    @property
    def digests(self) -> Set[str]:
        return self._trees.keys()

    def find(self, layer: Layer) -> Value | None:
        """Return the tree of a text; None: it has to be parsed."""
        try:
            return _value(self._trees[_digest(layer.text)], layer.name)
        except (ValueError, TypeError, KeyError):
            return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Value) -> list[Any]:
    data = value.data
    if isinstance(data, dict):
        data = {name: _plain(entry) for name, entry in data.items()}
    elif isinstance(data, list):
        data = [_plain(entry) for entry in data]
    return [value.line, data]


def _value(plain: list[Any], name: str) -> Value:
    line, data = plain
    if isinstance(data, dict):
        data = {key: _value(entry, name) for key, entry in data.items()}
    elif isinstance(data, list):
        data = [_value(entry, name) for entry in data]
    return Value(data, name, line)
