"""The queues as a :class:`multiprocessing.managers.BaseManager`.

>>> from darc.queues import QueueManager
>>> manager = QueueManager()  # of this host's node
>>> manager.connect()
>>> manager.amber_clustering().qsize()
0
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing import ProcessError, managers
from multiprocessing.managers import BaseManager, BaseProxy, RemoteError
from pathlib import Path
from typing import Any, NoReturn, Self

from darc.node.endpoint import read_endpoint
from darc.node.secret import read_secret
from darc.queues.client import QueuesGoneError
from darc.queues.messages import CallError, QueueError
from darc.queues.plain_connection import SERIALIZER, PlainListener, plain_client

# The documented extension point does not exist; this table is what BaseManager(serializer=…) reads.
managers.listener_client[SERIALIZER] = (PlainListener, plain_client)  # type: ignore[attr-defined]

_ERRORS: dict[str, type[Exception]] = {
    "Empty": queue.Empty,
    "Full": queue.Full,
    "queue.Empty": queue.Empty,
    "queue.Full": queue.Full,
    "CallError": CallError,
    "TypeError": CallError,
}


class QueueProxy(BaseProxy):
    """One queue, with the methods of :class:`queue.Queue`.

    Each thread has a connection of its own. A broken one, or one with an outstanding reply, is
    closed, and the next call opens another.

    :raises queue.Empty, queue.Full: as from :class:`queue.Queue`
    :raises TypeError: the value is not plain, or the arguments are invalid
    :raises QueueError: the request was refused; the message says why
    :raises QueuesGoneError: the connection to the node was lost
    """

    def _callmethod(
        self, methodname: str, args: tuple[Any, ...] = (), kwds: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            return super()._callmethod(methodname, args, dict(kwds or {}))
        except RemoteError as error:
            raise _original_error(error) from None
        except (queue.Empty, queue.Full, TypeError):
            raise
        except (OSError, EOFError) as error:
            self._give_up()
            raise QueuesGoneError(f"{self._token.address}: {error or 'closed'}") from error  # type: ignore[attr-defined]
        except BaseException:
            self._give_up()  # a late reply would be taken for that of the next call
            raise

    def _give_up(self) -> None:
        connection = vars(self._tls).pop("connection", None)  # type: ignore[attr-defined]
        if connection is not None:
            connection.close()

    def qsize(self) -> int:
        """Return the number of entries on the queue, read or not."""
        return int(self._callmethod("qsize"))

    def empty(self) -> bool:
        """Whether `get` would wait: this view has shown all entries."""
        return bool(self._callmethod("empty"))

    def full(self) -> bool:
        """Whether `put` would wait: the node has no room."""
        return bool(self._callmethod("full"))

    def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
        """Put a plain value, which is delivered to the service.

        :param timeout: s; None: no limit
        :raises queue.Full: there is no room
        """
        self._callmethod("put", (item, block, timeout))

    def put_nowait(self, item: object) -> None:
        self._callmethod("put_nowait", (item,))

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the next entry, and take it if the queue was opened with `take`.

        :param timeout: s; None: no limit
        :raises queue.Empty: none came in time
        """
        return self._callmethod("get", (block, timeout))

    def get_nowait(self) -> Any:
        return self._callmethod("get_nowait")

    def depths(self) -> dict[str, int]:
        """Return the number of entries of each queue of the node that is not empty."""
        return dict(self._callmethod("depths"))

    def ages(self) -> dict[str, float]:
        """Return the age of the oldest entry of each of them, s."""
        return dict(self._callmethod("ages"))


def _original_error(error: RemoteError) -> Exception:
    name, _, text = str(error.args[0]).partition(": ")
    return _ERRORS.get(name, QueueError)(text.rstrip() or name)


class QueueManager(BaseManager):
    """A node's queues by the names of their services: ``manager.amber_clustering()``.

    :param address: path of the node's ``queues.sock``; default: the node running on this host
    :param authkey: secret of the node; default: of the node running on this host
    :param take: `get` removes entries, which the service then never receives; otherwise it returns
        them in order, and they stay
    """

    def __init__(
        self,
        address: str | Path | tuple[str, int] | None = None,
        authkey: bytes | None = None,
        serializer: str = SERIALIZER,
        ctx: Any = None,
        *,
        take: bool = False,
    ) -> None:
        if address is None or authkey is None:
            endpoint = read_endpoint()
            if endpoint is None:
                raise QueuesGoneError("no node has been started on this host (no endpoint file)")
            address = endpoint.queues if address is None else address
            authkey = read_secret(Path(endpoint.secret)) if authkey is None else authkey
        place = str(address) if isinstance(address, Path) else address
        super().__init__(place, authkey, serializer, ctx)
        self._take = take
        self._attached = False

    def connect(self) -> None:
        """Attach to the node.

        :raises AuthenticationError: the key is wrong
        :raises OSError: no node is listening
        """
        super().connect()
        self._attached = True

    def queue(self, name: str, **options: bool) -> QueueProxy:
        """Open a queue.

        :param options: `take`, to override the manager's
        :raises QueueError: there is no queue of this name
        """
        try:
            token, exposed = self._create(name, **options)
        except RemoteError as error:
            raise _original_error(error) from None
        proxy: Any = QueueProxy  # the published types lack this serializer
        opened: QueueProxy = proxy(token, self._serializer, self, self._authkey, exposed)
        return opened

    def __getattr__(self, name: str) -> Callable[..., QueueProxy]:
        if name.startswith("_"):
            raise AttributeError(name)
        return partial(self.queue, name)

    def _create(self, typeid: str, /, *args: Any, **kwds: Any) -> Any:
        if self._take:
            kwds = {"take": True, **kwds}
        return super()._create(typeid, *args, **kwds)  # type: ignore[misc]

    def start(self, initializer: Any = None, initargs: Any = ()) -> NoReturn:
        """Raise ProcessError: only its node serves a queue."""
        raise ProcessError("the queues are served by darc_master; connect() attaches to them")

    def get_server(self) -> NoReturn:
        """Raise ProcessError, see :meth:`start`."""
        self.start()

    def __enter__(self) -> Self:
        if not self._attached:
            self.connect()
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing: connections are closed with their proxies."""
