"""A process of a pool: does one task after the other, and ends when nobody is there any more.

python -m darc.candidates.pool_process <socket> <process ID of who has started it>
"""

from __future__ import annotations

import logging
import pickle
import signal
import sys
from multiprocessing.connection import Connection

from darc.candidates.pool_tasks import Task
from darc.runtime.fault_points import fault_point
from darc.runtime.log import about, set_up_logging
from darc.runtime.process_end import end_with

log = logging.getLogger(__name__)


def main() -> None:
    """Do what comes in, until the other end is closed."""
    descriptor, parent = map(int, sys.argv[1:])
    end_with(parent)
    # Who ends a service ends its processes by the way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_up_logging("processor")
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # hundreds of lines for each PDF
    logging.captureWarnings(True)
    # What libraries say of their work (each font that is subset) is not for this log.
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("darc").setLevel(logging.INFO)
    connection = Connection(descriptor)
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
    """Run a task: an error in words, empty if there is none, and the result."""
    try:
        return "", task.run()
    except OSError as error:
        return str(error), None
    except MemoryError:
        return "not enough memory", None
    except Exception as error:  # whatever it is, it ends this task and no other
        log.exception("%s", task)
        return f"{type(error).__name__}: {error}", None


if __name__ == "__main__":
    main()
