"""Addresses of webhooks."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

ALLOWED = "http://host/path or https://host/path, in ASCII, without a user, password or fragment"


def split(text: str) -> SplitResult:
    """Take an address apart.

    :raises ValueError: it is none; what is wrong is not said, as there may be a secret in it
    """
    if not is_web_address(text):
        raise ValueError(f"no address of a webhook; allowed: {ALLOWED}")
    return urlsplit(text)


def is_web_address(text: str) -> bool:
    """Whether this is one, and can be nothing else in a request."""
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and port != 0
        and "@" not in parts.netloc
        and "#" not in text
    )
