"""The pages as files for any web server, each written atomically."""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from darc.monitor.page.live_page import STATUS, LivePages
from darc.monitor.page.render_page import INDEX, NODES
from darc.runtime.paths import write_whole
from darc.runtime.retention import remove_unfinished

#: A node's page is written when something has changed there, and so often for its numbers (s).
NODE_SECONDS = 60.0


class WebDirectory:
    """Directory of the files.

    :param path: web_dir; created where it is missing
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: dict[str, float] = {}  # monotonic, s

    def write(self, live: LivePages, changed: Collection[str]) -> None:
        """Write the files that have changed.

        :param changed: names of nodes that have changed
        :raises OSError: a file could not be written; the old one is kept
        """
        now = time.monotonic()
        pages = live.node_pages()
        for name in live.names():
            written = self._written.get(name, -math.inf)
            if name in pages:
                is_due = pages[name] in changed or written <= now - NODE_SECONDS
            else:
                is_due = name in (INDEX, STATUS) or name not in self._written
            if is_due:
                self._write_one(live, name)
                self._written[name] = now

    def write_all(self, live: LivePages) -> None:
        """Write all files.

        :raises OSError: a file could not be written; the old one is kept
        """
        for directory in (self.path, self.path / NODES):
            remove_unfinished(directory)
        for name in live.names():
            self._write_one(live, name)

    def remove_others(self, live: LivePages) -> None:
        """Remove the pages of nodes that do not exist any more.

        :raises OSError: a file cannot be removed
        """
        kept = live.node_pages()
        for path in (self.path / NODES).glob("*.html"):
            if str(NODES / path.name) not in kept:
                path.unlink()

    def _write_one(self, live: LivePages, name: str) -> None:
        text = live.read(name)
        if text is None:
            return
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text, durable=False)


def is_directory_below(root: Path, name: str) -> bool:
    """Whether a path below `root` is a directory with an index page."""
    root = root.resolve()
    try:
        path = _below(root, name)
        return path is not None and path.is_relative_to(root) and (path / INDEX).is_file()
    except (FileNotFoundError, NotADirectoryError):
        return False


def _below(root: Path, name: str) -> Path | None:
    parts = name.split("/")
    if "\0" in name or any(part.startswith(".") for part in parts) or "" in parts[:-1]:
        return None
    return root.joinpath(*parts).resolve(strict=True)


def open_below(root: Path, name: str) -> BinaryIO | None:
    """Open a file below a directory; None where it does not exist or is outside.

    :param name: path with slashes, as decoded from a request; a directory stands for its index
    :raises OSError: the file cannot be read
    """
    root = root.resolve()
    try:
        path = _below(root, name)
        if path is None:
            return None
        if path.is_dir():
            path = (path / INDEX).resolve(strict=True)
        if not path.is_relative_to(root):
            return None
        # Neither a pipe nor a device: reading one might not end.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        return None
    return os.fdopen(file, "rb")
