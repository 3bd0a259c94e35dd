"""Secret of a node or cluster, and signatures of commands.

A change is authenticated by replying to the master's challenge, a number used once, with a
signature of challenge and message: recorded messages cannot be replayed, here or to another node,
and clocks do not matter.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from darc.runtime.paths import write_new, write_whole
from darc.runtime.untrusted_files import read_regular

_MODE = 0o600
_LONGEST = 4096  # bytes


class SecretError(ValueError):
    """The secret's file cannot be used; the message names it and says why.

    :param remedy: a command that repairs it; empty: there is none
    """

    def __init__(self, why: str, remedy: str = "") -> None:
        super().__init__(f"{why}; repair with: {remedy}" if remedy else why)
        self.why = why
        self.remedy = remedy


def make_secret(path: Path) -> bool:
    """Create a node's secret and its directory, unless there is one.

    An empty file, which an earlier version left on a full disk, is replaced: it cannot be in use,
    as :func:`read_secret` refuses it.

    :return: whether an empty file was replaced
    :raises OSError: it could not be written; no partial file is left
    """
    _make_directory(path.parent)
    secret = secrets.token_hex(32) + "\n"
    if write_new(path, secret, mode=_MODE):
        return False
    if not path.is_file() or path.stat().st_size:
        return False
    write_whole(path, secret, mode=_MODE)
    return True


def replace_secret(path: Path, secret: str) -> None:
    """Replace the secret atomically."""
    _make_directory(path.parent)
    write_whole(path, secret + "\n", mode=_MODE)


def _make_directory(directory: Path) -> None:
    """Create a directory and its parents, writable only by the user, whatever the umask is."""
    before = os.umask(0o022)
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    finally:
        os.umask(before)


def read_secret(path: Path) -> bytes:
    """Read the secret.

    :raises SecretError: the file is missing, unreadable, readable by others, or too short
    """
    try:
        mode = path.stat().st_mode
        secret = read_regular(path, _LONGEST).strip()
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror}") from error
    if mode & 0o077:
        raise SecretError(f"{path}: others can read it", f"chmod 600 {path}")
    if len(secret) < 32:
        raise SecretError(f"{path}: not a secret of at least 32 characters")
    return secret


def make_challenge() -> str:
    return secrets.token_hex(16)


def sign(secret: bytes, challenge: str, message: bytes) -> str:
    return hmac.new(secret, challenge.encode() + b"\n" + message, hashlib.sha256).hexdigest()


def signature_holds(secret: bytes, challenge: str, message: bytes, signature: str) -> bool:
    return hmac.compare_digest(sign(secret, challenge, message).encode(), signature.encode())
