"""Connections to web servers, and what of their errors may be told."""

from __future__ import annotations

import http.client
from urllib.parse import SplitResult


def connection_to(url: SplitResult, timeout: float) -> http.client.HTTPConnection:
    """Return a connection that is not open yet; proxies of the environment are not used.

    :param timeout: for each packet, s
    """
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    return kind(url.hostname or "", url.port, timeout=timeout)


def reason_of(error: Exception) -> str:
    """Return an error without text of the server, and without the address."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
