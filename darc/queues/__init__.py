"""The queues between services: journal, server and client.

Importing it makes ``serializer="darc"`` known to :mod:`multiprocessing.managers`. Processes of a
node do without, as with pools and shared memory that is 0.6 MB in each, and
:class:`QueueManager` makes it known where one of them asks for that class.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or "DARC_NODE_ID" not in os.environ:
    from darc.queues.manager import QueueManager

__all__ = ["QueueManager"]


def __getattr__(name: str) -> Any:
    if name != "QueueManager":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from darc.queues import manager  # noqa: PLC0415

    return manager.QueueManager
