"""Client id and secret of an external system, in a file that only its owner can read.

Lines of ``name = value``, and remarks after ``#`` at the start of a line::

    client_id = 4f1t...
    client_secret = 1ro5...

The values are in no text that leaves this module but by :meth:`Credentials.values`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from darc.runtime.untrusted_files import open_regular

_LONGEST = 65536  # bytes
HIDDEN = "***"


class CredentialsError(ValueError):
    """The file cannot be used; the message names it, says why and what to do."""


class Credentials:
    """Names and values; neither its text nor its representation has the values."""

    __slots__ = ("_values", "path")

    def __init__(self, path: Path, values: Mapping[str, str]) -> None:
        self.path = path
        self._values = dict(values)

    def values(self) -> dict[str, str]:
        """Return the values; not for logs, pages or the environment."""
        return dict(self._values)

    def hide(self, text: str) -> str:
        """Return a text of others without the values, should it hold any."""
        for value in sorted(self._values.values(), key=len, reverse=True):
            text = text.replace(value, HIDDEN)
        return text

    def __repr__(self) -> str:
        return f"<credentials of {self.path}>"


def read_credentials(path: Path) -> Credentials:
    """Read a file of credentials.

    :raises CredentialsError: it is missing, others can read it, it is not UTF-8, a line is not a
        name and value, or a name is there twice
    """
    try:
        with open_regular(path) as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_LONGEST + 1)
    except OSError as error:
        raise CredentialsError(f"{path}: {error.strerror or error}") from None
    if mode & 0o077:
        raise CredentialsError(
            f"{path}: others can read it (mode {mode & 0o777:04o}); not used. Repair with:"
            f" chmod 600 {path}, and ask for another secret if somebody may have"
        )
    if len(content) > _LONGEST:
        raise CredentialsError(f"{path}: more than {_LONGEST} bytes: not a file of credentials")
    try:
        whole = content.decode("utf-8-sig")  # some editors put a mark at the beginning
    except UnicodeDecodeError:  # a value that is changed is no secret any more, and not hidden
        raise CredentialsError(f"{path}: not text in UTF-8") from None
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(whole.splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            # Without the line, which may be a secret.
            raise CredentialsError(f"{path}:{number}: not a line of `name = value`")
        # Which of both is meant, nobody can say. The name may be a part of an address.
        if name in lines:
            raise CredentialsError(f"{path}:{number}: line {lines[name]} has this name, too")
        values[name], lines[name] = value, number
    if not values:
        raise CredentialsError(f"{path}: no line of `name = value`")
    return Credentials(path, values)
