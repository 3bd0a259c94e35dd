"""Messages about events to people: to each target once, where the others are away, too."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from pathlib import Path

from darc.config.settings import ChatSettings
from darc.delivery.outbox import DeliveryError
from darc.runtime.untrusted_files import read_regular
from darc.services.voevent_generator.pending_event import PendingEvent

log = logging.getLogger(__name__)

#: A target that did not take a message is not asked for another for so long (s): one that is away
#: takes the whole time limit, and must not take it for each message that waits.
PAUSE = 5.0
#: For answers of targets, before the next message is seen to (s); later ones are noted, too.
GRACE = 5.0
UNDER_WAY = "not answered yet"
MAX_PICTURE = 5 * 2**20  # bytes
#: As candidates are named: no other file is sent, whatever path comes with a finding.
_PICTURE = re.compile(r"TOA[-0-9.]+_DM[-0-9.]+_DS[0-9]+_SNR[-0-9a-z]+\.png")
_PNG = b"\x89PNG\r\n\x1a\n"


class PeopleSender:
    """What targets have taken. One thread sends; another asks what was taken.

    A target that hangs holds up no other: it is waited for in a thread of its own, and gets nothing
    else meanwhile.

    :param settings: returns those of section `chat`
    """

    def __init__(self, settings: Callable[[], ChatSettings]) -> None:
        self._settings = settings
        self._lock = threading.Condition()
        self._taken: dict[str, set[str]] = {}  # names of targets, by key
        self._places: dict[str, tuple[str, int]] = {}  # event and number, by key
        self._news: set[str] = set()  # keys
        self._paused: dict[str, tuple[float, str]] = {}  # until when (monotonic s), and why
        self._asked: set[str] = set()  # names of targets that have not answered yet
        self._slow: set[str] = set()  # names of targets whose last answer came too late
        self._without_picture: set[str] = set()  # keys

    def send(self, item: PendingEvent, names: Sequence[str]) -> None:
        """Send a message to those targets that have not had it, nor a later one of its event.

        :raises DeliveryError: a target has not taken it, or not answered yet
        """
        with self._lock:
            self._taken.setdefault(item.key, set(item.taken))
            self._places[item.key] = item.event_id, item.number
            wanted = [name for name in names if name not in self._taken[item.key]]
            errors = {name: why for name in wanted if (why := self._pause_of(name))}
            now = [name for name in wanted if name not in errors]
            self._asked.update(now)
            awaited = {*now} - self._slow
        answers: dict[str, str] = {}
        if now:
            work = partial(copy_context().run, self._ask, item, now, answers)
            threading.Thread(target=work, name="people", daemon=True).start()
            with self._lock:
                self._lock.wait_for(lambda: awaited <= answers.keys(), GRACE)
                errors |= {name: why for name in now if (why := answers.get(name, UNDER_WAY))}
        if errors:
            raise DeliveryError("; ".join(f"{name}: {why}" for name, why in errors.items()))

    def progress(self) -> dict[str, tuple[str, ...]]:
        """Return who has taken messages since the last call, by key."""
        with self._lock:
            news, self._news = self._news, set()
            return {key: tuple(sorted(self._taken.get(key, ()))) for key in news}

    def taken(self, item: PendingEvent) -> tuple[str, ...]:
        """Return who has taken a message, or a later one of its event."""
        with self._lock:
            return tuple(sorted({*item.taken, *self._taken.get(item.key, ())}))

    def forget(self, key: str) -> None:
        """Forget who has taken a message that is done."""
        with self._lock:
            self._taken.pop(key, None)
            self._places.pop(key, None)
            self._news.discard(key)
            self._without_picture.discard(key)

    def _pause_of(self, name: str) -> str:
        if name in self._asked:
            return UNDER_WAY
        until, why = self._paused.get(name, (0.0, ""))
        return why if time.monotonic() < until else ""

    def _ask(self, item: PendingEvent, names: Sequence[str], answers: dict[str, str]) -> None:
        """Send, and note each answer as it comes."""
        picture, began = False, time.monotonic()

        def heard(name: str, why: str) -> None:
            with self._lock:
                is_slow = time.monotonic() - began > GRACE
                (self._slow.add if is_slow else self._slow.discard)(name)
                self._note(item, name, why, with_picture=picture)
                answers[name] = why
                self._lock.notify_all()

        try:
            from darc.delivery import chat  # noqa: PLC0415 - subprocess; where people are told
            from darc.services.voevent_generator.people_text import read_message  # noqa: PLC0415

            kept = read_message(item.content)
            # A picture that a target does not take must not keep the text from it.
            with_picture = kept.picture and item.key not in self._without_picture
            content = _picture(kept.picture) if with_picture else b""
            picture = bool(content)
            message = chat.ChatMessage(kept.title, kept.text, content)
            found = dict(chat.send(message, names, self._settings(), heard))
        except DeliveryError as error:
            found = dict.fromkeys(names, str(error))
        # A defect must not leave targets that nobody asks any more.
        except Exception as error:
            log.exception("people are not told")
            found = dict.fromkeys(names, f"{type(error).__name__}: {error}")
        for name in names:
            if name not in answers:
                heard(name, found[name])

    def _note(self, item: PendingEvent, name: str, why: str, *, with_picture: bool) -> None:
        """Note what a target has answered; the lock is held."""
        self._asked.discard(name)
        if why:
            self._paused[name] = time.monotonic() + PAUSE, why
            if with_picture:
                self._without_picture.add(item.key)
            return
        for key, (event, number) in self._places.items():
            # Who has the later message does not get the one before, after a restart either.
            if event == item.event_id and number <= item.number:
                self._taken[key].add(name)
                self._news.add(key)


def _picture(path: str) -> bytes:
    """Return a candidate's picture; empty where it is not at hand: it may be a worker's alone."""
    file = Path(path)
    if not file.is_absolute() or not _PICTURE.fullmatch(file.name):
        return b""
    try:
        content = read_regular(file, MAX_PICTURE, file.parent)
    except (OSError, ValueError) as error:
        log.info("no picture: %s: %s", path, error)
        return b""
    return content if content.startswith(_PNG) else b""
