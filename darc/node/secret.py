"""The secret of a node or cluster, and what it signs.

A change is proven by answering the master's challenge, a number used once, with a signature over
challenge and message: nothing recorded can be played again, here or to another node, and clocks do
not matter.
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
    """The secret's file cannot be used; the text names it and says why."""


def make_secret(path: Path) -> bool:
    """Make a secret of its own for a node, unless there is one.

    One of no length at all is none: an earlier version left that on a full disk. Nobody can be
    using it, as :func:`read_secret` refuses it.

    Its directory is made, too, where it is missing.

    :return: whether such an empty one was replaced
    :raises OSError: it could not be written; nothing is left of it
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
    """Have another secret from now on; whole or not at all."""
    _make_directory(path.parent)
    write_whole(path, secret + "\n", mode=_MODE)


def _make_directory(directory: Path) -> None:
    """Whatever the umask is, others write neither into it nor into what is made above it."""
    before = os.umask(0o022)
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    finally:
        os.umask(before)


def read_secret(path: Path) -> bytes:
    """Read the secret.

    :raises SecretError: no such file, not readable, open to others, or too short
    """
    try:
        mode = path.stat().st_mode
        secret = read_regular(path, _LONGEST).strip()
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror}") from error
    if mode & 0o077:
        raise SecretError(f"{path}: others can read it; repair with: chmod 600 {path}")
    if len(secret) < 32:
        raise SecretError(f"{path}: not a secret of at least 32 characters")
    return secret


def make_challenge() -> str:
    return secrets.token_hex(16)


def sign(secret: bytes, challenge: str, message: bytes) -> str:
    return hmac.new(secret, challenge.encode() + b"\n" + message, hashlib.sha256).hexdigest()


def signature_holds(secret: bytes, challenge: str, message: bytes, signature: str) -> bool:
    return hmac.compare_digest(sign(secret, challenge, message).encode(), signature.encode())
