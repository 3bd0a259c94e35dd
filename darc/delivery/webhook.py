"""Posting JSON to a URL, which is never logged, as it may contain a secret."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

from darc import __version__
from darc.config import web_address
from darc.delivery.http_connection import connection_to, reason_of
from darc.delivery.outbox import DeliveryError
from darc.delivery.total_timeout import cut_after
from darc.runtime.tcp_client import refuse_self


def host_of(url: str) -> str:
    """Return the part of a URL that may be logged: host, and port if given."""
    return web_address.split(url).netloc


def post(url: str, content: Mapping[str, Any], timeout: float) -> None:
    """Post an object; it is delivered if the server replies with 2xx.

    Redirections are not followed, as they may lead to any server. Proxies of the environment are
    not used.

    :param url: an address allowed by darc.config.web_address
    :param content: object to send as JSON
    :param timeout: total time except the name lookup, s
    :raises DeliveryError: it was not accepted
    """
    post_body(url, json.dumps(content).encode(), timeout)


def post_body(url: str, body: bytes, timeout: float, what: str = "webhook") -> None:
    """Post bytes that are JSON, unchanged; otherwise as :func:`post`.

    :param what: is at the URL, in errors
    """
    parts = web_address.split(url)
    connection = connection_to(parts, timeout)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"DARC/{__version__}",
        "Connection": "close",
    }
    with cut_after(timeout, connection) as was_cut:
        try:
            connection.connect()
            refuse_self(connection.sock)
            connection.request("POST", path, body, headers)
            status = connection.getresponse().status
            if was_cut.is_set():  # during its headers
                raise TimeoutError
        except (OSError, http.client.HTTPException) as error:
            late = was_cut.is_set() or isinstance(error, TimeoutError)
            why = f"not sent within {timeout:g} s" if late else reason_of(error)
            raise DeliveryError(f"{what} at {parts.netloc}: {why}") from None
        finally:
            connection.close()
    if 300 <= status < 400:
        raise DeliveryError(f"{what} at {parts.netloc}: redirects (HTTP {status}), not followed")
    if not 200 <= status < 300:
        raise DeliveryError(f"{what} at {parts.netloc}: HTTP {status}")
