"""Process that sends one message to chats and mailboxes through apprise: ``python -m`` this module.

It reads the message with the addresses, which hold secrets, from standard input, and writes a line
of JSON for each target that is done: its name, and why it was not taken. What apprise and its
libraries say of an address, an answer or an error goes nowhere: the reasons are made here, of a
status, an error number or the type of an error.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import smtplib
import sys
import threading
import time
from contextvars import ContextVar
from typing import Any

from darc.delivery.chat import NO_ADDRESS, NOT_INSTALLED
from darc.runtime.end_with_parent import end_with

#: Why the target of this context has not taken the message; apprise's threads have its context.
_reason: ContextVar[list[str]] = ContextVar("reason")
_writing = threading.Lock()


def main(parent: int) -> None:
    """Send the message of standard input.

    :param parent: PID of the process that reads the answers
    """
    end_with(parent)
    order = json.load(sys.stdin)
    logging.disable(logging.CRITICAL)
    logging.raiseExceptions = False
    threading.excepthook = lambda arguments: None
    try:
        import apprise  # noqa: PLC0415 - the extra `chat`
    except Exception:  # one that is broken, too, or too old for its libraries
        for name in order["targets"]:
            _answer(name, NOT_INSTALLED)
        return
    _watch_libraries()
    # Nothing is written to a disk, and addresses are not followed elsewhere.
    asset = apprise.AppriseAsset(
        app_id="DARC",
        app_desc="DARC",
        app_url="",
        image_url_mask="",
        async_mode=False,
        storage_mode="memory",
        http_redirects=False,
        secure_logging=True,
    )
    deadline = time.monotonic() + order["timeout"]
    threads = {
        name: threading.Thread(
            target=_one, args=(apprise, asset, name, url, order), name=name, daemon=True
        )
        for name, url in order["targets"].items()
    }
    for thread in threads.values():
        thread.start()
    for name, thread in threads.items():
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            _answer(name, f"not taken within {order['timeout']:g} s")
    # A thread may still wait for its server.
    with _writing:
        sys.stdout.flush()
        os._exit(0)


def _one(apprise: Any, asset: Any, name: str, url: str, order: dict[str, Any]) -> None:
    """Send to one target, and answer."""
    _reason.set([])
    try:
        plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if plugin is None:
            _answer(name, NO_ADDRESS)
            return
        if not order["send"]:
            _answer(name, "")
            return
        # One limit, ours, and not 4 s for each packet.
        plugin.socket_connect_timeout = plugin.socket_read_timeout = order["timeout"]
        # A service refuses a text that is longer than its limit, again and again. Where the
        # address does not say what to do, it goes in parts.
        if "overflow_mode" not in vars(plugin):
            plugin.overflow_mode = apprise.OverflowMode.SPLIT
        sender = apprise.Apprise(asset=asset)
        sender.add(plugin)
        taken = sender.notify(
            body=order["body"],
            title=order["title"],
            body_format=apprise.NotifyFormat.TEXT,
            interpret_escapes=False,
            attach=_attachment(asset, order),
        )
    # Of any error only the type is told: its text may hold the address.
    except BaseException as error:
        _answer(name, f"apprise failed: {type(error).__name__}")
        return
    reasons = ["not taken, apprise gives no reason", *_reason.get()]
    _answer(name, "" if taken else reasons[-1])


def _attachment(asset: Any, order: dict[str, Any]) -> Any:
    if not order["picture"]:
        return None
    from apprise import AppriseAttachment  # noqa: PLC0415
    from apprise.attachment import memory  # noqa: PLC0415

    content = base64.b64decode(order["picture"])
    untyped: Any = memory.AttachMemory
    one = untyped(content=content, name=order["picture_name"], mimetype="image/png")
    found = AppriseAttachment(asset=asset)
    found.add(one)
    return found


def _answer(name: str, error: str) -> None:
    with _writing:
        sys.stdout.write(json.dumps({"name": name, "error": error}) + "\n")
        sys.stdout.flush()


def _watch_libraries() -> None:
    """Note what servers answer, which apprise tells its log alone, with addresses in it."""
    import requests.sessions  # noqa: PLC0415 - apprise's

    # An address may ask apprise to follow redirections; they may lead to any server.
    requests.sessions.DEFAULT_REDIRECT_LIMIT = 0  # type: ignore[attr-defined]
    send, connect = requests.Session.send, smtplib.SMTP.connect
    getreply = smtplib.SMTP.getreply

    def noting_send(self: Any, request: Any, **options: Any) -> Any:
        try:
            answer = send(self, request, **options)
        except requests.TooManyRedirects:
            _reason.get().append("it redirects, which is not followed")
            raise
        except Exception as error:
            _reason.get().append(_told(error))
            raise
        _reason.get().append(f"HTTP {answer.status_code}")
        return answer

    def noting_connect(self: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return connect(self, *arguments, **options)
        except Exception as error:
            _reason.get().append(_told(error))
            raise

    def noting_reply(self: Any) -> tuple[int, bytes]:
        try:
            code, text = getreply(self)
        except Exception as error:
            _reason.get().append(_told(error))
            raise
        if code >= 400:
            _reason.get().append(f"SMTP {code}")
        return code, text

    requests.Session.send = noting_send  # type: ignore[method-assign]
    smtplib.SMTP.connect = noting_connect  # type: ignore[method-assign]
    smtplib.SMTP.getreply = noting_reply  # type: ignore[method-assign]


def _told(error: BaseException) -> str:
    """Return what an error is, without its text."""
    inner: BaseException | None = error
    for _ in range(10):
        if inner is None:
            break
        if isinstance(inner, OSError) and isinstance(inner.errno, int) and inner.errno > 0:
            return os.strerror(inner.errno)
        given = [one for one in inner.args if isinstance(one, BaseException)]
        inner = given[0] if given else getattr(inner, "reason", None) or inner.__cause__
        inner = inner if isinstance(inner, BaseException) else None
    return type(error).__name__


if __name__ == "__main__":
    main(int(sys.argv[1]))
