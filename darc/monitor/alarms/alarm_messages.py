"""Text of alarm messages: for e-mail, for chats, and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from darc.config import typed
from darc.config.records import Struct, replace
from darc.delivery.harmless_text import harmless
from darc.monitor.alarms.alarm_states import ALARM, OVER, UPDATE, AlarmItem, AlarmMessage

#: Version of the JSON: increased when a key is removed or changes its meaning.
FORMAT = 1
MAX_TEXT = 1000  # characters of a log's text
_KINDS = {ALARM: "ALARM", UPDATE: "ALARM, now", OVER: "OVER"}
#: For chats: characters that could mention people, form a link, or end a block of code.
_HARMLESS = str.maketrans({"<": "\u2039", ">": "\u203a", "`": "'"})


class MessageOrigin(Struct, frozen=True):
    """Sender of a message.

    :param cluster: name of the cluster
    :param page: URL of the status page; None: it is not served
    """

    cluster: str
    page: str | None


def subject(message: AlarmMessage, origin: MessageOrigin) -> str:
    """Return the subject, on one line."""
    return f"[DARC {origin.cluster}] {_KINDS[message.kind]}: {message.title}"


def text(message: AlarmMessage, origin: MessageOrigin) -> str:
    """Return the text of an e-mail."""
    return "\n".join(_lines(message, origin)) + "\n"


def payload(message: AlarmMessage, origin: MessageOrigin) -> dict[str, Any]:
    """Return the JSON of a webhook; chats show `text`."""
    title, *lines = (subject(message, origin), *_lines(message, origin))
    body = "\n".join(line.translate(_HARMLESS) for line in lines).rstrip("\n")
    return {
        "text": f"{title.translate(_HARMLESS)}\n```\n{body}\n```",
        "format": FORMAT,
        "cluster": origin.cluster,
        "page": origin.page,
        **typed.to_plain(message),
    }


def plain(words: str) -> str:
    """Return text of our own so that chats show it as it is."""
    return words.translate(_HARMLESS)


def for_chat(message: AlarmMessage, origin: MessageOrigin) -> tuple[str, str]:
    """Return title and text for people's chats, in which nothing of a log acts."""
    message = replace(
        message,
        items=tuple(replace(one, text=harmless(one.text, MAX_TEXT)) for one in message.items),
        over=tuple(replace(one, text=harmless(one.text, MAX_TEXT)) for one in message.over),
    )
    return plain(subject(message, origin)), plain(text(message, origin))


def _lines(message: AlarmMessage, origin: MessageOrigin) -> Iterator[str]:
    if message.kind != OVER:
        for item in message.items:
            yield from _wrong(item)
    if message.over and message.kind != OVER:
        yield from ("Over meanwhile:", "")
    for item in message.over:
        yield from _over(item, message.time)
    if origin.page:
        yield f"All that is known now: {origin.page}"
    yield f"Sent by the status page of {origin.cluster} at {_time(message.time)}."


def _wrong(item: AlarmItem) -> Iterator[str]:
    yield item.title
    yield f"  On:    {', '.join(item.hosts)}"
    yield f"  Since: {'not known' if item.since is None else _time(item.since)}"
    if item.text:
        yield f"  Known: {_short(item.text)}"
    if item.command:
        yield f"  Type:  {item.command}"
    yield ""


def _over(item: AlarmItem, now: float) -> Iterator[str]:
    yield item.title
    yield f"  On:    {', '.join(item.hosts)}"
    if item.since is not None:
        yield f"  From:  {_time(item.since)}"
    yield f"  Over:  seen at {_time(now)}"
    if item.text:
        yield f"  Then:  {_short(item.text)}"
    yield ""


def _short(words: str) -> str:
    """Return the text on one line, shortened."""
    words = " ".join(words.split())
    return words if len(words) <= MAX_TEXT else words[: MAX_TEXT - 3] + "..."


def _time(unix: float) -> str:
    try:
        return f"{datetime.fromtimestamp(unix, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):  # a clock that is far off
        return f"{unix:.0f} s (Unix time)"
