"""Requests and replies of the command port."""

from __future__ import annotations

from typing import Any

from darc.config.records import Struct
from darc.model.vocabulary import VALUES

MAX_MESSAGE_BYTES = 2**20
#: Code of the error that an observation was started before.
RUNNING_ALREADY = "running_already"


class Request(Struct, frozen=True):
    """A command, as one line of JSON: ``{"service": …, "command": …, "payload": …}``.

    :param service: a service's name, ``all``, or empty
    :param attribute: name of the attribute for ``get_attr``
    :param payload: path of an observation's parset or YAML file on the node
    :param origin: who sent it, for the logs
    :param content: the text of that file; payload is its name then
    :param values: a program asks, which wants values that ``get_attr`` gives, not text
    """

    command: str
    service: str = ""
    attribute: str = ""
    payload: str = ""
    origin: str = ""
    content: str = ""
    values: bool = False

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Request:
        """Parse a request in either dialect.

        :raises ValueError: a value is not text, or there is content without a protocol version
        """
        names = ("command", "service", "payload", "from", "content", "form")
        texts = {key: plain.get(key) or "" for key in names}
        for key, text in texts.items():
            if not isinstance(text, str):
                raise ValueError(f"{key} is not text: {text!r}"[:200])
        if texts["content"] and "protocol" not in plain:
            raise ValueError("content is for messages that say their protocol")
        command, _, attribute = texts["command"].strip().partition(" ")
        service = "" if texts["service"] == "None" else texts["service"]
        payload = "" if texts["payload"] == "None" else texts["payload"]
        values = texts["form"] == VALUES and "protocol" in plain
        about = command, service, attribute.strip(), payload
        return cls(*about, texts["from"], texts["content"], values)


class Reply(Struct, frozen=True):
    """An answer; the message is text or a dict of plain values.

    :param code: of an error that programs distinguish; sent to those that want values
    """

    status: str
    message: Any
    code: str = ""

    def to_plain(self) -> dict[str, Any]:
        return {"status": self.status, "message": self.message}

    @classmethod
    def success(cls, message: Any) -> Reply:
        return cls("Success", message)

    @classmethod
    def warning(cls, message: Any) -> Reply:
        return cls("Warning", message)

    @classmethod
    def error(cls, text: str, code: str = "") -> Reply:
        """An error that has no wording of its own in the vocabulary."""
        return cls("Error", {"error": text}, code)

    @classmethod
    def failed(cls, text: str) -> Reply:
        """Return an error whose message is plain text."""
        return cls("Error", text)
