"""Trees of configuration texts, parsed once for the processes of a node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from nodes import patience

from darc.config.config import Layer
from darc.config.yaml_error import YAMLTextError
from darc.config.yaml_tree import parse_yaml
from darc.node.node_config import read_sources
from darc.node.parsed_texts import KeptTrees, keep_trees
from darc.runtime.paths import packaged

ODD = Layer(
    "odd.yaml",
    "a: [1, 1.5, .inf, null, true, 'x: y', 2020-01-01]\n"
    "b:\n  c: {d: -0.0, e: é}\n\n  f: &g [1]\nh: *g\n",
)
PACKAGED = ("default.yaml", "arts.yaml")
ALL = [ODD, *(Layer(name, packaged(f"conf/{name}").read_text()) for name in PACKAGED)]
#: Prints the port of the master, and whether PyYAML was imported for it.
LOAD = """
import sys
from darc.node.node_config import load_config
print(load_config().master.port, "yaml" in sys.modules)
"""


@pytest.mark.parametrize("layer", ALL, ids=lambda layer: layer.name)
def test_a_kept_tree_is_that_of_the_text(tmp_path: Path, layer: Layer) -> None:
    keep_trees(tmp_path / "kept.json", ALL)
    assert KeptTrees(tmp_path / "kept.json").find(layer) == parse_yaml(layer.text, layer.name)


@pytest.mark.parametrize("name", PACKAGED)
def test_libyaml_reads_the_packaged_texts_as_pyyaml_does(name: str) -> None:
    text = packaged(f"conf/{name}").read_text()
    assert parse_yaml(text, name, from_package=True) == parse_yaml(text, name)


def test_another_text_is_not_found(tmp_path: Path) -> None:
    keep_trees(tmp_path / "kept.json", [ODD])
    assert KeptTrees(tmp_path / "kept.json").find(Layer(ODD.name, f"{ODD.text}\n")) is None


def test_only_the_texts_of_now_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    keep_trees(path, ALL)
    keep_trees(path, [ODD])
    assert len(KeptTrees(path).digests) == 1


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    keep_trees(path, ALL)
    before = path.stat()
    keep_trees(path, ALL)
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 0, "trees": {}}', '{"format": 1}'])
def test_a_damaged_file_has_no_trees(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "kept.json"
    path.write_text(damage)
    assert KeptTrees(path).find(ODD) is None
    keep_trees(path, [ODD])
    assert KeptTrees(path).find(ODD) is not None


def test_a_damaged_tree_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    keep_trees(path, [ODD])
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, "trees": dict.fromkeys(kept["trees"], "damaged")}))
    assert KeptTrees(path).find(ODD) is None


def test_what_another_version_has_parsed_is_parsed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept.json"
    with monkeypatch.context() as before:
        before.setattr("darc.node.parsed_texts.FORMAT", "1 of 0.0.9")
        keep_trees(path, [ODD])
    assert KeptTrees(path).find(ODD) is None
    keep_trees(path, [ODD])
    assert KeptTrees(path).find(ODD) is not None


def test_an_invalid_text_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(YAMLTextError):
        keep_trees(tmp_path / "kept.json", [Layer("wrong", "a: [")])
    assert not (tmp_path / "kept.json").exists()


def load(home: Path) -> list[str]:
    environment = {**os.environ, "DARC_HOME": str(home), "DARC_HOSTNAME": "here"}
    environment.pop("DARC_CONFIG", None)
    words = [sys.executable, "-P", "-c", LOAD]
    timeout = patience(20.0)
    return subprocess.run(
        words, env=environment, capture_output=True, text=True, check=True, timeout=timeout
    ).stdout.split()


def test_who_finds_the_texts_parsed_needs_no_pyyaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARC_HOME", str(tmp_path))
    monkeypatch.setenv("DARC_HOSTNAME", "here")
    monkeypatch.delenv("DARC_CONFIG", raising=False)
    (tmp_path / "config.yaml").write_text("darc_master: {port: 51001}\ninstrument: {base: arts}\n")
    assert load(tmp_path) == ["51001", "True"]
    sources = read_sources()
    sources.parse()
    sources.keep_parsed()
    assert load(tmp_path) == ["51001", "False"]
    (tmp_path / "config.yaml").write_text("darc_master: {port: 51002}\n")
    assert load(tmp_path) == ["51002", "True"]
