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


class SecretError(ValueError):
    """The secret's file cannot be used; the text names it and says why."""


def make_secret(path: Path) -> None:
    """Make a secret of its own for a node, unless there is one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32) + "\n")


def replace_secret(path: Path, secret: str) -> None:
    """Have another secret from now on; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
    temporary.replace(path)


def read_secret(path: Path) -> bytes:
    """Read the secret.

    :raises SecretError: no such file, not readable, open to others, or too short
    """
    try:
        mode = path.stat().st_mode
        secret = path.read_bytes().strip()
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
