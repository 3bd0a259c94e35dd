"""The Python interpreters of this machine in which the package is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

MINORS = range(11, 15)
#: Isolated, and without the directory of installed packages: the standard library alone.
BARE = ("-I", "-S")


@cache
def interpreter(minor: int) -> str | None:
    """Path of a Python 3.minor; None where this machine has none."""
    if sys.version_info.minor == minor:
        return sys.executable
    name = f"python3.{minor}"
    places = [shutil.which(name)]
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    places += map(str, sorted(root.glob(f"3.{minor}.*/bin/{name}"), reverse=True))
    for place in filter(None, places):
        # What pyenv puts on the path exists and may run nothing.
        answer = subprocess.run(
            [place, *BARE, "-c", "import sys; print(sys.version_info.minor)"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if answer.stdout.strip() == str(minor):
            return place
    return None
