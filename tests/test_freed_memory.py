"""Memory that was freed goes back; what the processes of a node do without, others have."""

from __future__ import annotations

import os
import subprocess
import sys

from nodes import patience

FREED = """
from darc.runtime.freed_memory import give_back_freed_memory

def dirty():
    text = open("/proc/self/smaps_rollup").read()
    return int(text.partition("Private_Dirty:")[2].split()[0])

kept = [bytes(3000) for _ in range(10_000)]
del kept[::2], kept[::2], kept[::2]  # an eighth stays, in between
before = dirty()
give_back_freed_memory()
print(before - dirty())
"""


def run(program: str, **environment: str) -> str:
    command = [sys.executable, "-P", "-c", program]
    return subprocess.run(
        command,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=patience(30.0),
    ).stdout


def test_what_was_freed_in_between_goes_back() -> None:
    """Of 30 MB an eighth is kept; pages beside what is kept stay."""
    assert int(run(FREED)) > 10_000  # kB


def test_another_program_has_the_serializer_by_one_import() -> None:
    """As documented: `import darc.queues` is enough for `BaseManager(serializer="darc")`."""
    program = "import darc.queues, multiprocessing.managers as m; print(*m.listener_client)"
    environment = {name: text for name, text in os.environ.items() if name != "DARC_NODE_ID"}
    said = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=patience(30.0),
    ).stdout
    assert "darc" in said.split()
    name = "from darc.queues import QueueManager; print(QueueManager.__module__)"
    assert run(name, DARC_NODE_ID="1").strip() == "darc.queues.manager"
