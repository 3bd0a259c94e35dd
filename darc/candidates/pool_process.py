"""Worker process of a pool: runs tasks one by one, and exits when its parent does.

python -m darc.candidates.pool_process <socket> <process ID of the parent> <service> <niceness>
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
from multiprocessing.connection import Connection

from darc.candidates.pool import Task
from darc.runtime.end_with_parent import end_with
from darc.runtime.fault_points import fault_point
from darc.runtime.log import about, set_up_logging

log = logging.getLogger(__name__)


def main() -> None:
    """Run tasks until the other end is closed."""
    descriptor, parent, service, nice = sys.argv[1:]
    end_with(int(parent))
    os.nice(int(nice))
    # The service stops its processes itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_up_logging(service)
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # hundreds of lines for each PDF
    logging.captureWarnings(True)
    # Informational messages of libraries are not logged.
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("darc").setLevel(logging.INFO)
    connection = Connection(int(descriptor))
    while True:
        try:
            task: Task = pickle.loads(connection.recv_bytes())
            answer = _do(task)
            connection.send_bytes(pickle.dumps(answer))
        except (EOFError, ConnectionError):
            return


def _do(task: Task) -> tuple[str, object]:
    with about(task.observation):
        fault_point("pool process.before working")
        answer = run_task(task)
        fault_point("pool process.after working")
        return answer


def run_task(task: Task) -> tuple[str, object]:
    """Run a task; return an error text, empty on success, and the result."""
    try:
        return "", task.run()
    except OSError as error:
        return str(error), None
    except MemoryError:
        return "not enough memory", None
    except Exception as error:  # an error fails this task only
        log.exception("%s", task)
        return f"{type(error).__name__}: {error}", None


if __name__ == "__main__":
    main()
