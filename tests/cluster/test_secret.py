"""The secret of a cluster: the same everywhere, replaced while all goes on, and seen by nobody."""

from __future__ import annotations

import re
import stat
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from clusters import (
    MakeCluster,
    ask,
    on_all,
    restart,
    restarted,
    run_dir,
    secret_file,
    secrets_of,
    start,
    touched,
)
from nodes import patience, value_of, wait_for
from triggers import TRIGGER

from darc.node.secret import read_secret
from darc.queues.client import QueueClient
from darc.queues.messages import QueueError
from simulator.amber_files import format_header, format_line, trigger_name
from simulator.box import Box, BoxNode
from simulator.write_parsets import write_observation

OBSERVING = {
    "services_master_mix": ["lofar_trigger"],
    "services_worker_mix": ["amber_listener", "amber_clustering", "dada_trigger"],
    "setup_time": 0.1,
}
TASK = "secret001"
# Arguments: host, file of a secret. Has the node restart a service, proving that secret.
_RESTART = """
import sys
from pathlib import Path
from darc.node.command_client import exchange_messages
request = {"command": "restart", "service": "dada_trigger"}
print(exchange_messages(sys.argv[1], 51000, request, 30.0, Path(sys.argv[2]))["message"])
"""


@contextmanager
def watched_processes() -> Iterator[list[bytes]]:
    """Every command line and environment there is meanwhile, in nodes too.

    Of processes that were there before they are looked at twice, of new ones all the time.
    """
    found: set[bytes] = set()
    over = threading.Event()

    def look(old: Collection[Path] = ()) -> list[Path]:
        there = [path for path in Path("/proc").iterdir() if path.name.isdecimal()]
        for process in set(there).difference(old):
            found.update(contents(process / name) for name in ("cmdline", "environ"))
        return there

    def watch() -> None:
        old = look()
        while not over.wait(0.01):
            look(old)
        look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    seen: list[bytes] = []
    try:
        yield seen
    finally:
        over.set()
        watcher.join()
        seen += found


def contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # the process is gone


def where_it_is(box: Box, secrets: set[str]) -> list[Path]:
    """The files of a box in which a secret is, apart from those that are for it."""
    needles = [secret.encode() for secret in secrets]
    return [
        path
        for path in box.directory.rglob("*")
        if stat.S_ISREG(path.stat().st_mode)
        and not re.fullmatch(r"run/\w+/secret", "/".join(path.parts[-3:]))
        and any(needle in path.read_bytes() for needle in needles)
    ]


class Observation:
    """One on a worker, whose trigger file grows."""

    def __init__(self, worker: BoxNode, directory: Path) -> None:
        made = write_observation(
            directory, task_id=TASK, source="BLANK", start=time.time(), duration=3600, instances=1
        )
        self._worker = worker
        self._file = made.amber_dir / trigger_name(0, 1)
        self._file.write_bytes(format_header())
        self._n = 0
        result = worker.run("darc", "--parset", str(made.parset), "start_observation")
        assert result.returncode == 0, result.stdout

    def goes_on(self) -> None:
        """Lines that are written now come to the service behind the one that reads them."""
        with self._file.open("ab") as file:
            for _ in range(10):
                file.write(
                    format_line(
                        beam=self._n % 12,
                        batch=self._n,
                        sample=3,
                        integration_step=10,
                        time=self._n * 1.024,
                        dm_id=7,
                        dm=500.0,
                        snr=12.5,
                    )
                )
                self._n += 1
        wait_for(lambda: self._clustered() == self._n, 30.0, f"{self._n} lines clustered")

    def _clustered(self) -> int:
        counts = attribute(self._worker, self._worker, "amber_clustering", "counts")
        return int(counts.get(TASK, {}).get("candidates", 0))


def attribute(asking: BoxNode, of: BoxNode, service: str, name: str) -> Any:
    answer = ask(asking, of, "--service", service, "get_attr", name)[service]
    return value_of(answer)


def forwarding(worker: BoxNode) -> str:
    answer = ask(worker, worker, "--service", "amber_clustering", "get_attr", "forwarding")
    return str(answer["amber_clustering"])


def reach(worker: BoxNode) -> None:
    wait_for(lambda: "5201 reached" in forwarding(worker), 30.0, "lofar_trigger reached")


def hand_in(worker: BoxNode) -> None:
    """Put a trigger where the worker's amber_clustering does."""
    queues = run_dir(worker) / "queues.sock"
    client = QueueClient(queues, read_secret(secret_file(worker)), "test", patience(30.0))
    client.call("put", "lofar_trigger", [TRIGGER.to_plain()])
    client.close()


def test_it_is_replaced_while_an_observation_goes_on_and_seen_nowhere(
    make_cluster: MakeCluster, tmp_path: Path
) -> None:
    box = make_cluster(shared_home=True, darc_master=OBSERVING)
    master, worker01, worker02 = box.nodes
    with watched_processes() as seen_at_start:
        first = start(master)
    ((old, _),) = secrets_of(box.nodes)
    observation = Observation(worker01, tmp_path / "observation")
    observation.goes_on()
    reach(worker01)
    before = touched(box.nodes)

    # One node hears nothing of it.
    worker02.drop_packets()
    with watched_processes() as seen_at_replacement:
        second = on_all(master, "darc_replace_secret")
    worker02.restore()
    assert second.status == 1
    assert second.phases == {"master": "done", "worker01": "done", "worker02": "not reached"}
    assert second.rest.startswith("2 of 3 nodes have the new secret.\nnot reached: worker02\n")
    ((new, mode),) = secrets_of([master, worker01])
    assert (new != old, mode, secrets_of([worker02])) == (True, 0o600, {(old, 0o600)})
    observation.goes_on()
    assert {name: one[0] for name, one in touched(box.nodes).items()} == {
        name: one[0] for name, one in before.items()
    }

    # Who comes now proves the new one.
    assert restart(worker01, master) == restarted(master)
    clients: dict[str, str] = wait_for(
        lambda: attribute(master, master, "lofar_trigger", "clients"), 30.0, "a worker comes back"
    )
    assert list(clients) == ["worker01"]
    hand_in(worker01)
    wait_for(lambda: "1 handed in, 0 waiting" in forwarding(worker01), 30.0, "handed in")
    # The old one opens nothing; nor does the new one where it is not known.
    kept = tmp_path / "old secret"
    kept.touch(0o600)
    kept.write_text(old)
    for of, secret in ((worker01, kept), (worker02, secret_file(master))):
        said = master.run(sys.executable, "-c", _RESTART, of.name, str(secret), check=True).stdout
        assert said == "{'error': 'restart refused: the signature does not hold'}\n"
    with pytest.raises(QueueError, match="the secret was not accepted"):
        QueueClient(run_dir(worker01) / "queues.sock", old.strip().encode(), "test", patience(30.0))
    wait_for(lambda: "the secret was not accepted" in forwarding(worker02), 30.0, "refused")

    # It is repaired as anything else is.
    third = start(master)
    assert third.nodes["worker02"][1].endswith("its own secret was replaced by the cluster's")
    assert secrets_of(box.nodes) == {(new, 0o600)}
    assert restart(master, worker02) == restarted(worker02)
    reach(worker02)
    observation.goes_on()

    seen = [*seen_at_start, *seen_at_replacement]
    for part in (
        b"ssh\0-o",
        b"-m\0darc.cluster.remote",
        b"-m\0darc.services.dada_trigger",
        b"DARC_HOME=",
    ):
        assert any(part in one for one in seen), part
    secrets = {old.strip(), new.strip()}
    assert not any(secret.encode() in one for one in seen for secret in secrets)
    assert not any(secret in f"{said}" for said in (first, second, third) for secret in secrets)
    assert where_it_is(box, secrets) == []
    # The search finds what there is to find.
    (box.directory / "mark").write_text(f"x{new}")
    assert where_it_is(box, secrets) == [box.directory / "mark"]


def test_the_master_node_comes_first(make_cluster: MakeCluster) -> None:
    box = make_cluster(nodes=2)
    master, worker = box.nodes
    start(master)
    before = touched(box.nodes)
    said = on_all(master, "darc_replace_secret", "--nodes", "worker01")
    assert (said.status, said.nodes) == (1, {})
    assert said.err == "--nodes: must include the master node, whose secret all nodes use\n"
    # Without the master node, everybody else would be refused there.
    master.cut_off()
    said = on_all(worker, "darc_replace_secret")
    assert said.status == 1
    assert said.nodes["master"][0] == "not reached"
    assert said.nodes["worker01"] == ("failed", "not changed")
    master.restore()
    assert touched(box.nodes) == before
    said = on_all(worker, "darc_replace_secret", "--nodes", "master")
    assert (said.status, said.nodes) == (0, {"master": ("done", "the secret is installed")})
    assert len(secrets_of(box.nodes)) == 2
    assert start(worker).status == 0
    assert len(secrets_of(box.nodes)) == 1
    # One that is open to others is not handed on; nobody is started with another one instead.
    secret_file(master).chmod(0o644)
    said = start(master, status=1)
    assert said.nodes["master"][0] == "failed"
    assert "others can read it; repair with: chmod 600" in said.nodes["master"][1]
    assert said.nodes["worker01"] == ("done", "1 service: 1 already running")
