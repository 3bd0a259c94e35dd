"""Posting JSON to a URL, whatever its server does. The URL may hold a secret: it is never told."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

from darc import __version__
from darc.config import web_address
from darc.delivery.outbox import DeliveryError
from darc.delivery.total_timeout import cut_after


def host_of(url: str) -> str:
    """What may be told of a URL: its host, and the port where there is one."""
    return web_address.split(url).netloc


def post(url: str, content: Mapping[str, Any], timeout: float) -> None:
    """Post an object; done when the server answers with 2xx.

    A redirection is none: where it leads may be anybody's. Proxies of the environment are not used.

    :param url: as darc.config.web_address allows it
    :param timeout: s for the whole of it, but for looking its host's name up
    :raises DeliveryError: it was not taken
    """
    parts = web_address.split(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    body = json.dumps(content).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"DARC/{__version__}",
        "Connection": "close",
    }
    with cut_after(timeout, connection) as was_cut:
        try:
            connection.connect()
            connection.request("POST", path, body, headers)
            status = connection.getresponse().status
            if was_cut.is_set():  # in the midst of its headers
                raise TimeoutError
        except (OSError, http.client.HTTPException) as error:
            late = was_cut.is_set() or isinstance(error, TimeoutError)
            why = f"not done after {timeout:g} s" if late else _reason(error)
            raise DeliveryError(f"webhook at {parts.netloc}: {why}") from None
        finally:
            connection.close()
    if 300 <= status < 400:
        raise DeliveryError(f"webhook at {parts.netloc}: redirects (HTTP {status}), not followed")
    if not 200 <= status < 300:
        raise DeliveryError(f"webhook at {parts.netloc}: HTTP {status}")


def _reason(error: Exception) -> str:
    """Without what a server says, or where it was asked."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
