"""Imports of Python's own modules, names and literals; imports between rooms: pyproject.toml."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

import darc.config.typed
import darc.model.typed
import darc.services.base.trigger_consumer
import darc.services.trigger_consumer

PACKAGE = Path(__file__).resolve().parents[1] / "darc"
SOURCES = sorted(
    path
    for directory in (PACKAGE, PACKAGE.parent / "simulator", PACKAGE.parent / "training")
    for path in directory.rglob("*.py")
)
#: Files outside a service's folder that name it, and why.
NAMING_A_SERVICE = {
    "model/vocabulary.py": "the commands of the specification: lofar_enable and its like",
    "cli/darc_parser.py": "an example of use",
    "cli/logs.py": "examples of use",
    "config/settings.py": "keys of the configuration, in messages",
    "candidates/dask_pool.py": "a key of the configuration, in messages",
    "candidates/pool.py": "its processes log as the service that they work for",
    "services/base/alerts.py": "a key of the configuration, in a remedy",
    "services/base/forwarding.py": "the names of fault points",
}
IO_MODULES = {"socket", "subprocess", "sqlite3", "multiprocessing", "threading", "requests"}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@cache
def tree(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def modules(kind: str) -> list[Path]:
    return sorted((PACKAGE / kind).glob("*.py"))


@pytest.mark.parametrize("kind", ["science", "model", "config"])
def test_what_computes_and_describes_has_no_sockets_or_processes(kind: str) -> None:
    assert modules(kind)
    for path in modules(kind):
        assert not imported(path) & IO_MODULES, path.name


def test_science_reads_no_configuration() -> None:
    for path in modules("science"):
        names = {name.rpartition(".")[2] for name in imported(path)}
        assert not {name for name in names if "config" in name or "settings" in name}


def test_commands_import_no_yaml_and_no_numpy() -> None:
    """The darc command is typed many times a night."""
    light = [
        "control.py",
        "cli/__init__.py",
        "cli/darc_parser.py",
        "model/vocabulary.py",
        "node/command_client.py",
        "node/endpoint.py",
        "node/secret.py",
        "runtime/paths.py",
        "runtime/program.py",
        "__init__.py",
    ]
    for name in light:
        heavy = {"yaml", "numpy", "astropy", "psutil", "supervisor", "msgpack"}
        assert not imported(PACKAGE / name) & heavy


def test_the_supervisor_directory_cannot_be_imported() -> None:
    assert not list((PACKAGE.parent / "supervisor").glob("*.py"))


def test_a_module_has_a_name_of_its_own() -> None:
    names = Counter(path.name for path in PACKAGE.rglob("*.py"))
    by_rule = {"__init__.py", "__main__.py", "service.py", "settings.py", "traits.py", "checks.py"}
    moved = {"typed.py", "trigger_consumer.py"}  # found where they were, too
    assert not {name for name, count in names.items() if count > 1} - by_rule - moved


def test_a_class_has_a_name_of_its_own() -> None:
    names = Counter(
        node.name for path in SOURCES for node in tree(path) if isinstance(node, ast.ClassDef)
    )
    assert not {name for name, count in names.items() if count > 1}


def test_a_service_is_named_in_its_folder_alone() -> None:
    """What it is, is in its traits: so a service of this package is added as one of others is."""
    folders = [path.parent for path in PACKAGE.glob("services/*/traits.py")]
    name = re.compile(rf"(?<![a-z_])({'|'.join(path.name for path in folders)})(?![a-z_])")
    naming = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if not set(folders) & set(path.parents) and any(map(name.search, names_in(path)))
    }
    assert len(folders) > 1
    assert naming == set(NAMING_A_SERVICE)


def names_in(path: Path) -> list[str]:
    """All names and texts of a module but for its docstrings."""
    nodes = tree(path)
    docstrings = {
        node.body[0].value
        for node in nodes
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and isinstance(node.body[0] if node.body else None, ast.Expr)
    }
    found = []
    for node in nodes:
        if isinstance(node, ast.Constant) and node not in docstrings:
            found.append(str(node.value))
        elif isinstance(node, ast.Name | ast.Attribute):
            found.append(node.id if isinstance(node, ast.Name) else node.attr)
    return found


def test_nothing_is_unpacked_in_place_only_for_its_layout() -> None:
    """Neither ``*(a, b)`` nor ``**{"a": b}`` in a literal, by which a formatter is outwitted."""
    found = [
        f"{path.relative_to(PACKAGE.parent)}:{node.lineno}"
        for path in SOURCES
        for node in tree(path)
        if is_unpacked_in_place(node)
    ]
    assert not found


def is_unpacked_in_place(node: ast.AST) -> bool:
    if isinstance(node, ast.Dict):
        items = zip(node.keys, node.values, strict=True)
        return any(key is None and isinstance(value, ast.Dict) for key, value in items)
    return isinstance(node, ast.Starred) and isinstance(node.value, ast.Tuple | ast.List)


def test_services_of_others_find_what_they_imported_before() -> None:
    """As docs/example_service.py of version 0.1.0 did."""
    assert darc.model.typed.Range is darc.config.typed.Range
    base = darc.services.base
    assert darc.services.trigger_consumer.TriggerConsumer is base.trigger_consumer.TriggerConsumer
    assert base.Service is base.service.Service
    assert base.Consumer is base.service.Consumer
