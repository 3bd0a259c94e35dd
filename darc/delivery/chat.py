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
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
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


def send(message: ChatMessage, names: Sequence[str], settings: ChatSettings) -> Mapping[str, str]:
    """Send a message to targets, side by side.

    :param names: of targets
    :param settings: their file, and the time for one delivery
    :return: why a target has not taken it, by name; empty: it has
    :raises DeliveryError: the file cannot be used, or the process cannot be started
    """
    return _run(message, names, settings, send=True)


def examine(names: Sequence[str], settings: ChatSettings) -> Mapping[str, str]:
    """Return why a target cannot be used, by name; empty: it can, as far as is known.

    Nothing is sent.

    :raises DeliveryError: see `send`
    """
    return _run(ChatMessage("", ""), names, settings, send=False)


def is_installed() -> bool:
    """Whether apprise is there; it is not loaded."""
    return importlib.util.find_spec("apprise") is not None


def troubles(names: Sequence[str], settings: ChatSettings) -> Mapping[str, str]:
    """Return what `examine` does, with what is wrong with all of them at each."""
    try:
        return examine(names, settings)
    except DeliveryError as error:
        return dict.fromkeys(names, str(error))


def remedy(why: str, settings: ChatSettings) -> str:
    """Return what to do about an answer of `examine`."""
    if why == NOT_INSTALLED:
        return "pip install 'darc[chat]'"
    if settings.targets is None:
        return "set chat.targets"
    return f"see {settings.targets}: mode 0600, lines of `name = address of apprise`"


def _run(
    message: ChatMessage, names: Sequence[str], settings: ChatSettings, *, send: bool
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
    output, ended = _output(json.dumps(order).encode(), settings.timeout + START_SECONDS)
    lost = ended or f"not taken within {settings.timeout:g} s"
    return answers | dict.fromkeys(wanted, lost) | _answers(output, wanted)


def _output(order: bytes, limit: float) -> tuple[bytes, str]:
    """Return what the process has said in time, and how it ended where that was too early.

    :param limit: s
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
    with process:
        try:
            output = process.communicate(order, limit)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            return process.communicate()[0], ""
        except BaseException:
            process.kill()
            raise
    return output, _end(process.returncode)


def _end(status: int) -> str:
    """Return how a process ended; empty: as it is to."""
    if status < 0:
        return f"apprise's process was ended by signal {-status}"
    return f"apprise's process ended with status {status}" if status else ""


def _environment() -> dict[str, str]:
    """Return this process's environment without what would lead messages elsewhere."""
    kept = {name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "NETRC": os.devnull}


def _answers(output: bytes, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the answers of the process, of which the last line may be cut short."""
    found: dict[str, str] = {}
    for line in output.splitlines():
        try:
            plain = json.loads(line)
        except ValueError:
            continue
        if isinstance(plain, dict) and plain.get("name") in wanted:
            found.setdefault(plain["name"], str(plain["error"]))
    return found
