"""A client of another Python than the node's: `darc`, and the queues from a program of one's own.

`darc` needs the standard library alone, and the queues msgpack and msgspec beside it, so another
interpreter gets those, and no others.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from interpreters import MINORS, interpreter
from nodes import PYTHON, Node, patience

import darc

NEEDED = ("msgpack", "msgspec")
OTHERS = [minor for minor in MINORS if minor != sys.version_info.minor]
RUNNING_SERVICES = ("amber_listener", "amber_clustering", "lofar_trigger")
#: Of each kind: what reads, what lists, what is refused.
QUESTIONS = (
    ("--version",),
    ("--help",),
    ("--service", "all", "status"),
    ("--json", "--service", "all", "status"),
    ("--service", "amber_clustering", "get_attr", "counts"),
    ("lofar_status",),
)
QUEUES = """
import json
from darc.queues.client import attach
queues = attach()
values = [{"dm": 56.77, "beams": [1, 2, None, True]}, (1, b"2"), "\\u2192"]
for value in values:
    queues.put(value)
print(json.dumps([queues.get(timeout=20) == value for value in values]))
"""


@pytest.fixture(scope="module", params=OTHERS, ids=lambda minor: f"3.{minor}")
def python(request: pytest.FixtureRequest) -> str:
    found = interpreter(request.param)
    if found is None:
        pytest.skip(f"there is no Python 3.{request.param} on this machine")
    return found


@pytest.fixture(scope="module")
def packages(python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("packages")
    command = [python, "-m", "pip", "install", "--quiet", "--target", str(made), *NEEDED]
    seconds = patience(60)
    installed = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=seconds
    )
    if installed.returncode:
        pytest.skip(f"{' and '.join(NEEDED)} cannot be installed for {python}: {installed.stderr}")
    source = Path(str(darc.__file__)).parent
    (made / source.name).symlink_to(source)
    return made


def run(node: Node, python: str, packages: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-S", "-W", "error", *words],
        env={**node.environment, "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=patience(30),
    )


@pytest.mark.parametrize("words", QUESTIONS, ids=" ".join)
def test_questions_get_the_same_answers(
    running_node: Node, python: str, packages: Path, words: tuple[str, ...]
) -> None:
    ours = run(running_node, PYTHON, packages, "-m", "darc.control", *words)
    theirs = run(running_node, python, packages, "-m", "darc.control", *words)
    assert (theirs.stdout, theirs.stderr) == (ours.stdout, ours.stderr)
    assert theirs.returncode == ours.returncode


def test_a_signed_change_is_made(running_node: Node, python: str, packages: Path) -> None:
    before = running_node.pid("amber_listener")
    command = ("-m", "darc.control", "--json", "--service", "amber_listener", "restart")
    result = run(running_node, python, packages, *command)
    assert json.loads(result.stdout)["status"] == "Success", result.stderr
    assert running_node.pid("amber_listener") not in (0, before)
    running_node.start()


def test_values_go_through_a_queue(running_node: Node, python: str, packages: Path) -> None:
    result = run(running_node, python, packages, "-c", QUEUES)
    assert result.stderr == ""
    assert json.loads(result.stdout) == [True, True, True]
