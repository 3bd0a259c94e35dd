"""Command: pack the home of a node of the version that is checked out, cut off in mid-observation.

    python tests/homes/make_home.py tests/homes/before_NAME.tar.gz

Run it in the version before, with that version's tests on the path; a test of the version after
unpacks it (tests/node/test_home_of_before.py). Some candidates have been clustered by then, some
wait in queues whose services are stopped, one switch is set, and every process is killed at once.
"""

from __future__ import annotations

import shutil
import sys
import tarfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nodes import Node, node, wait_for

from darc.node.processes import kill_node
from simulator.amber_files import format_header, format_line, trigger_name
from simulator.write_parsets import write_observation

TASK = "before2"
N_LINES = 200
#: What is made anew at each start, or tells where the node was.
_LEFT_OUT = {"endpoint.json", "journal.reserve", "node.json", "supervisor.d"}


def line(number: int) -> bytes:
    """A candidate that is a trigger of its own: one each 1.024 s."""
    return format_line(
        beam=0,
        batch=number,
        sample=3,
        integration_step=10,
        time=number * 1.024 + 0.5,
        dm_id=7,
        dm=700.0,
        snr=12.0,
    )


def fill(made: Node) -> None:
    made.configure(amber_clustering={"interval": 0.2, "thresh_iquv": {"interval": 0}})
    made.start()
    observation = write_observation(
        made.home / "data",
        task_id=TASK,
        source="BLANK",
        start=time.time(),
        duration=5e6,
        instances=1,
    )
    made.ask("lofar_enable")
    made.ask("--parset", str(observation.parset), "start_observation")
    path = observation.amber_dir / trigger_name(0, 1)
    path.write_bytes(format_header() + b"".join(line(number) for number in range(N_LINES // 2)))
    wait_for(lambda: made.counts("amber_clustering", TASK).get("candidates") == N_LINES // 2)
    # What comes from now on waits: the next version finds it.
    for service in ("amber_clustering", "processor", "dada_trigger"):
        made.darc("--service", service, "stop")
    with path.open("ab") as file:
        file.write(b"".join(line(number) for number in range(N_LINES // 2, N_LINES)))
    wait_for(lambda: made.counts("amber_listener", TASK).get("candidates") == N_LINES)
    kill_node(made.node_id, None, 0.0)


def pack(made: Node, target: Path) -> None:
    (made.run_dir / "home.txt").write_text(str(made.home))
    shutil.copytree(made.home / "data", made.run_dir / "data")
    with tarfile.open(target, "w:gz") as packed:
        for path in sorted(made.run_dir.iterdir()):
            if path.name not in _LEFT_OUT and not path.name.startswith("supervisord"):
                packed.add(path, path.name)


def main() -> None:
    with node("home of before") as made:
        fill(made)
        pack(made, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
