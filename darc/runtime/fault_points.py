"""Points in the code at which a test can make a process crash.

Without DARC_FAULT_POINTS in the environment, the path of a directory, :func:`fault_point` does
nothing. With it, a process that reaches a point for which the directory has a file of that name
removes the file and kills itself with SIGKILL.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

_DIRECTORY = os.environ.get("DARC_FAULT_POINTS")


def fault_point(name: str) -> None:
    """Crash here if a test requests it.

    :param name: name of the point, such as ``amber_clustering.after taking``
    """
    if _DIRECTORY is None:
        return
    try:
        (Path(_DIRECTORY) / name).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
