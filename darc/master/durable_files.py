"""Small files that are synced to disk before the master replies."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from darc.runtime.paths import sync_directory, write_whole
from darc.runtime.untrusted_files import MAX_TEXT, read_regular

log = logging.getLogger(__name__)


class DurableFiles:
    """Small JSON files in a directory, which survive a loss of power.

    :meth:`retry` retries failed writes.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._lock = threading.Lock()
        # Failed writes by name: the text, None: to be removed; and the error.
        self._lacking: dict[str, tuple[str | None, str]] = {}

    def load(self) -> Iterator[tuple[Path, Any]]:
        """Yield all files with their content; a damaged one is set aside."""
        for path in sorted(self._directory.glob("*.json")):
            try:
                yield path, json.loads(read_regular(path, MAX_TEXT))
            except OSError as error:
                log.error("%s: cannot be read, and is left as it is: %s", path, error)
            except ValueError as error:
                self.set_aside(path, error)

    def set_aside(self, path: Path, error: Exception) -> None:
        """Rename a file that cannot be read, so that its content is kept."""
        log.error("%s: damaged, set aside: %s", path, error)
        try:
            path.replace(path.with_suffix(".damaged"))
        except OSError as failed:
            log.error("%s: stays where it is: %s", path, failed)

    def save(self, name: str, plain: Any) -> None:
        """Write a file; :meth:`lacks` says whether that failed."""
        with self._lock:
            self._do(name, json.dumps(plain))

    def remove(self, name: str) -> None:
        """Remove a file; :meth:`lacks` says whether that failed."""
        with self._lock:
            self._do(name, None)

    def lacks(self, name: str) -> str:
        """Return why the last change of a file is not on disk; empty if it is."""
        return self._lacking.get(name, (None, ""))[1]

    def retry(self) -> bool:
        """Retry failed writes and removals; False while any of them still fails."""
        with self._lock:
            for name, (text, _) in list(self._lacking.items()):
                self._do(name, text)
            return not self._lacking

    def _do(self, name: str, text: str | None) -> None:
        path = self._directory / f"{name}.json"
        try:
            if text is None:
                path.unlink(missing_ok=True)
                sync_directory(self._directory)
            else:
                write_whole(path, text)
        except OSError as error:
            if self.lacks(name) != str(error):
                what = "taken up again" if text is None else "forgotten, or as it was before,"
                log.error("would be %s if the master died now: %s", what, error)
            self._lacking[name] = text, str(error)
        else:
            self._lacking.pop(name, None)
