"""Which process listens on a port, for messages about one that is in use."""

from __future__ import annotations


def who_listens(port: int) -> str:
    """Return a description of the process that listens on a TCP port."""
    import psutil  # noqa: PLC0415 - 1 MB, for who finds a port in use

    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,):
            if connection.pid is None:
                return "a process of another user"
            try:
                words = psutil.Process(connection.pid).cmdline()
            except psutil.Error:
                words = []
            command = " ".join(" ".join(words).split())  # on one line
            return f"process {connection.pid} ({command[:200] or 'unknown'})"
    return "a process that is not visible here"
