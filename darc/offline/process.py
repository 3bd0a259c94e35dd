"""Process that runs one offline task, then exits.

python -m darc.offline.process <socket> <process ID of the parent>
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
from multiprocessing.connection import Connection

from darc.offline.offline_tasks import OfflineTask
from darc.runtime.end_with_parent import end_with
from darc.runtime.fault_points import fault_point
from darc.runtime.log import about, set_up_logging

log = logging.getLogger(__name__)

#: Lower priority than real-time processing.
NICE = 10


def main() -> None:
    """Run the task that is received."""
    descriptor, parent = map(int, sys.argv[1:])
    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    set_up_logging("offline_processing")
    logging.captureWarnings(True)
    connection = Connection(descriptor)
    try:
        task: OfflineTask = pickle.loads(connection.recv_bytes())
        with about(task.place.observation.task_id):
            fault_point("offline process.before working")
            answer = run_task(task)
        connection.send_bytes(pickle.dumps(answer))
    except (EOFError, ConnectionError):
        return


def run_task(task: OfflineTask) -> tuple[str, list[str]]:
    """Run a task; return an error text, empty on success, and its partial failures."""
    try:
        return "", task.run()
    except (OSError, ValueError) as error:
        return str(error), []
    except MemoryError:
        return "not enough memory", []
    except Exception as error:  # an error fails this task only
        log.exception("%s", task.key)
        return f"{type(error).__name__}: {error}", []


if __name__ == "__main__":
    main()
