"""Webhook addresses."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

ALLOWED = "http://host/path or https://host/path, in ASCII, without a user, password or fragment"


def split(text: str) -> SplitResult:
    """Split a webhook address into its parts.

    :raises ValueError: not a webhook address; the text is not repeated, it may contain a secret
    """
    if not is_web_address(text):
        raise ValueError(f"not a webhook address; allowed: {ALLOWED}")
    return urlsplit(text)


def is_web_address(text: str) -> bool:
    """Whether `text` is a webhook address, and safe inside an HTTP request."""
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
