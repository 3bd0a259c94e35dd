"""The structure of the package: imports go from what talks to what computes and describes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "darc"
#: What modules below each directory may import of darc.
ALLOWED = {
    "model": {"darc.model"},
    "science": {"darc.science", "darc.model"},
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


def modules(kind: str) -> list[Path]:
    return sorted((PACKAGE / kind).glob("*.py"))


@pytest.mark.parametrize("kind", ALLOWED)
def test_what_computes_and_describes_imports_nothing_that_talks(kind: str) -> None:
    assert modules(kind)
    for path in modules(kind):
        for name in imported(path):
            if name.startswith("darc."):
                package = ".".join(name.split(".")[:2])
                assert package in ALLOWED[kind], f"{path.name} imports {name}"


@pytest.mark.parametrize("kind", ALLOWED)
def test_what_computes_and_describes_has_no_sockets_or_processes(kind: str) -> None:
    for path in modules(kind):
        assert not imported(path) & IO_MODULES, path.name


def test_science_reads_no_configuration() -> None:
    for path in modules("science"):
        assert not {name for name in imported(path) if "config" in name or "settings" in name}


def test_commands_import_no_yaml_and_no_numpy() -> None:
    """The darc command is typed many times a night."""
    light = ["control.py", "node/endpoint.py", "node/files.py", "node/secret.py", "__init__.py"]
    for name in light:
        heavy = {"yaml", "numpy", "astropy", "psutil", "supervisor", "msgpack"}
        assert not imported(PACKAGE / name) & heavy


def test_the_supervisor_directory_cannot_be_imported() -> None:
    assert not list((PACKAGE.parent / "supervisor").glob("*.py"))
