"""Places in the code at which a test can have a process die.

Without DARC_FAULT_POINTS in the environment, which names a directory, :func:`fault_point` does
nothing. With it, a process that comes to a point for which a file of that name waits in the
directory takes the file away and kills itself, as SIGKILL does.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

_DIRECTORY = os.environ.get("DARC_FAULT_POINTS")


def fault_point(name: str) -> None:
    """Die here if a test wants it.

    :param name: such as ``amber_clustering.after taking``
    """
    if _DIRECTORY is None:
        return
    try:
        (Path(_DIRECTORY) / name).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
