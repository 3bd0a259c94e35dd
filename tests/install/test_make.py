"""Environments: whose is whose, and that there is one for every Python that is promised."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path

import pytest
from nodes import PYTHON, patience

ROOT = Path(__file__).resolve().parents[2]
TARGETS = ("demo", "test", "quick", "peers", "faults", "bench", "numbers", "docs")


def make(*words: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", f"--file={ROOT / 'Makefile'}", *words],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=patience(30),
    )


def made_by(target: str, directory: Path, python: str = PYTHON) -> set[str]:
    """Environments that a target makes where there is nothing yet."""
    for name in ("setup.cfg", "pyproject.toml", "darc/__init__.py"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).touch()
    result = make("--dry-run", target, f"PYTHON={python}", directory=directory)
    assert result.returncode == 0, result.stderr
    return set(re.findall(r"-m venv .*?(\S+)(?: \|\|.*)?$", result.stdout, re.MULTILINE))


def test_each_target_has_an_environment_of_its_own(tmp_path: Path) -> None:
    made = [made_by(target, tmp_path) for target in TARGETS]
    assert [len(one) for one in made] == [1] * len(TARGETS)
    assert len(set().union(*made)) == len(TARGETS)
    assert all(path.startswith(".make/") for one in made for path in one)


def test_each_python_has_an_environment_of_its_own(tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho 3.99\n")
    other.chmod(0o755)
    assert made_by("demo", tmp_path, str(other)) == {".make/demo-3.99"}
    assert made_by("demo", tmp_path) != {".make/demo-3.99"}


def test_an_environment_that_is_there_is_kept(tmp_path: Path) -> None:
    (environment,) = made_by("demo", tmp_path)
    for name in ("made", "ready"):
        (tmp_path / environment / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / environment / name).touch()
    assert made_by("demo", tmp_path) == set()
    # Of a new dependency, nothing but what is installed.
    (tmp_path / "setup.cfg").touch()
    assert made_by("demo", tmp_path) == set()


def test_clean_removes_what_make_made_alone(tmp_path: Path) -> None:
    made = (".make/demo-3.11", ".tox/tests", "darc/__pycache__", "docs/_build", "docs/api")
    for name in (*made, ".venv/bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "tests").mkdir()
    (tmp_path / "benchmarks").mkdir()
    result = make("clean", directory=tmp_path)
    assert result.returncode == 0, result.stderr
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {".venv", "darc", "docs", "tests", "benchmarks"}
    assert list((tmp_path / "docs").iterdir()) == []
    assert (tmp_path / ".venv" / "bin").is_dir()


@pytest.mark.parametrize("python", ["", "/nowhere/python3", "false"])
def test_without_a_python_it_is_said_which_is_needed(tmp_path: Path, python: str) -> None:
    made_by("demo", tmp_path)
    result = make("demo", f"PYTHON={python}", directory=tmp_path)
    assert result.returncode != 0
    assert "Python 3.11 or later is needed: make PYTHON=/path/to/python3.11" in result.stdout
    assert not (tmp_path / ".make").exists()


def parsed(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / name)
    return parser


def test_every_python_that_is_promised_has_a_quick_environment() -> None:
    promised = re.findall(r"Python :: 3\.(\d+)", parsed("setup.cfg")["metadata"]["classifiers"])
    assert promised == ["11", "12", "13", "14"]
    tox = parsed("tox.ini")
    assert f"testenv:py3{{{','.join(promised)}}}-quick" in tox.sections()
    assert f"py3{{{','.join(promised[1:])}}}-quick" in tox["tox"]["envlist"]


def test_what_is_quick_is_there() -> None:
    (quick,) = (text for name, text in parsed("tox.ini").items() if name.endswith("-quick"))
    places = re.findall(r"tests/[\w/.:]+", quick["commands"])
    assert len(places) > 10
    for place in places:
        path, _, test = place.partition("::")
        assert (ROOT / path).exists(), place
        assert not test or f"def {test}(" in (ROOT / path).read_text(), place
