"""Messages to people through apprise: Slack, Mattermost, Matrix, e-mail and what else it knows.

Addresses of apprise hold secrets. They are in a file of mode 0600, each under a name of the
operator's, which is what everything else knows a target by::

    night = slack://xoxb-.../#bursts
    anna = mailtos://user:password@example.org

apprise is the extra `chat`. It runs in a process of its own for each message: what it logs, what
its plugins remember and what hangs in them ends there, and no process of a node carries it.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from darc.config.records import Struct
from darc.config.settings import ChatSettings
from darc.delivery.credentials import CredentialsError, read_credentials
from darc.delivery.outbox import DeliveryError

#: For the process to start and apprise to load, beside the time for sending (s).
START_SECONDS = 15.0
NOT_INSTALLED = "apprise is not installed (pip install 'darc[chat]'), or cannot be loaded"
NO_ADDRESS = "not an address of apprise (see its list of services), or one that lacks a part"
#: Without a file, nothing can be sent.
NO_FILE = "chat.targets is null: a file with their addresses (docs/people.md)"


class ChatMessage(Struct, frozen=True):
    """A message to people.

    :param title: one line
    :param text: lines, as plain text: what is of others is made harmless before
    :param picture: PNG; empty: none
    """

    title: str
    text: str
    picture: bytes = b""


def send(
    message: ChatMessage,
    names: Sequence[str],
    settings: ChatSettings,
    heard: Callable[[str, str], None] = lambda name, why: None,
) -> Mapping[str, str]:
    """Send a message to targets, side by side.

    :param names: of targets
    :param settings: their file, and the time for one delivery
    :param heard: called with name and answer of each target that answers, at once
    :return: why a target has not taken it, by name; empty: it has
    :raises DeliveryError: the file cannot be used, or the process cannot be started
    """
    return _run(message, names, settings, heard, send=True)


def is_installed() -> bool:
    """Whether apprise is there; it is not loaded."""
    return importlib.util.find_spec("apprise") is not None


def troubles(names: Sequence[str], settings: ChatSettings) -> Mapping[str, str]:
    """Return why a target cannot be used, by name; empty: it can, as far as is known.

    Nothing is sent. What is wrong with all of them is told of each.
    """
    try:
        return _run(ChatMessage("", ""), names, settings, lambda name, why: None, send=False)
    except DeliveryError as error:
        return dict.fromkeys(names, str(error))


def remedy(why: str, settings: ChatSettings) -> str:
    """Return what to do about an answer of `troubles`."""
    if why == NOT_INSTALLED:
        return "pip install 'darc[chat]'"
    if settings.targets is None:
        return "set chat.targets"
    return f"see {settings.targets}: mode 0600, lines of `name = address of apprise`"


def _run(
    message: ChatMessage,
    names: Sequence[str],
    settings: ChatSettings,
    heard: Callable[[str, str], None],
    *,
    send: bool,
) -> dict[str, str]:
    if settings.targets is None:
        raise DeliveryError(NO_FILE)
    try:
        addresses = read_credentials(Path(settings.targets)).values()
    except CredentialsError as error:
        raise DeliveryError(str(error)) from None
    unknown = f"{settings.targets} has no line for it"
    answers = {name: unknown for name in names if name not in addresses}
    wanted = {name: addresses[name] for name in names if name in addresses}
    if not wanted:
        return answers
    order = {
        "targets": wanted,
        "send": send,
        "timeout": settings.timeout,
        "title": message.title,
        "body": message.text,
        "picture": base64.b64encode(message.picture).decode(),
        "picture_name": "candidate.png",
    }
    found: dict[str, str] = {}

    def hear(line: bytes) -> None:
        try:
            plain = json.loads(line)
        except ValueError:  # cut short
            return
        name = plain.get("name") if isinstance(plain, dict) else None
        if name in wanted and name not in found:
            found[name] = str(plain["error"])
            heard(name, found[name])

    ended = _follow(json.dumps(order).encode(), settings.timeout + START_SECONDS, hear)
    lost = ended or f"not taken within {settings.timeout:g} s"
    return answers | dict.fromkeys(wanted, lost) | found


def _follow(order: bytes, limit: float, hear: Callable[[bytes], None]) -> str:
    """Let the process work, and return how it ended where that was too early.

    :param limit: s
    :param hear: called with each line that it writes
    """
    words = [sys.executable, "-P", "-m", "darc.delivery.chat_process", str(os.getpid())]
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a traceback may hold an address
            env=_environment(),
        )
    except OSError as error:
        raise DeliveryError(f"apprise's process cannot be started: {error.strerror}") from None
    assert process.stdin
    assert process.stdout
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(limit, end)
    timer.daemon = True
    timer.start()
    with process:
        try:
            with contextlib.suppress(BrokenPipeError):  # it has ended, which is told below
                process.stdin.write(order)
                process.stdin.close()
            for line in process.stdout:
                hear(line)
        except BaseException:
            process.kill()
            raise
        finally:
            timer.cancel()
    if late.is_set() or not process.returncode:
        return ""
    if process.returncode < 0:
        return f"apprise's process was ended by signal {-process.returncode}"
    return f"apprise's process ended with status {process.returncode}"


def _environment() -> dict[str, str]:
    """Return this process's environment without what would lead messages elsewhere."""
    kept = {name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "NETRC": os.devnull}
