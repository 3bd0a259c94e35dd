"""A service that commits all the time, in a process of its own, and how long each commit took.

python committer.py <socket> <file of the secret>; ends with its standard input, and then says (ms).
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from darc.node.secret import read_secret
from darc.queues.client import Holder, QueueClient
from darc.queues.messages import Commit, ContentKind, Put
from darc.queues.plain_connection import pack

NAME = "committing"
PAUSE = 0.01  # s between two


def main() -> None:
    client = QueueClient(Path(sys.argv[1]), read_secret(Path(sys.argv[2])), NAME)
    holder = Holder(client, NAME, 1, "Committing", None)
    content, times = pack([1.0] * 100), []
    number = 0
    print("begun", flush=True)
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        number += 1
        begin = time.perf_counter()
        holder.commit(Commit(puts=(Put((NAME,), ContentKind.PLAIN, content),)), number)
        times.append(1e3 * (time.perf_counter() - begin))
        done = tuple(entry.id for entry in holder.take(10, 0.0))
        number += 1
        holder.commit(Commit(completed=done), number)
    print(json.dumps(times))


class Committer:
    """As a test sees it; `times` once it has ended (ms, sorted)."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def at(self, share: float) -> float:
        """What this share of the commits did not take longer than (ms)."""
        return self.times[min(len(self.times) - 1, int(share * len(self.times)))]

    def __str__(self) -> str:
        what = f"{len(self.times)} commits: median {self.at(0.5):.2f}, 99 % {self.at(0.99):.2f}"
        return f"{what}, longest {self.times[-1]:.2f} ms"


@contextmanager
def committing(socket: Path, secret: Path) -> Iterator[Committer]:
    """Have somebody commit while this lasts."""
    made = Committer()
    with subprocess.Popen(
        [sys.executable, __file__, str(socket), str(secret)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "begun\n"
            yield made
            out, _ = process.communicate("\n", timeout=60.0)
            made.times = sorted(json.loads(out))
        finally:
            process.kill()


if __name__ == "__main__":
    main()
