"""What goes over the command port: requests and replies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MAX_MESSAGE_BYTES = 2**20
#: How the answer ends to a start of what was started before.
RUNNING_ALREADY = "is running already"


@dataclass(frozen=True, slots=True)
class Request:
    """A command, as one line of JSON: ``{"service": …, "command": …, "payload": …}``.

    :param service: a service's name, ``all``, or empty
    :param attribute: what ``get_attr`` asks for
    :param payload: path of an observation's parset or YAML file on the node
    :param origin: who sent it, for the logs
    :param content: the text of that file; payload is its name then
    """

    command: str
    service: str = ""
    attribute: str = ""
    payload: str = ""
    origin: str = ""
    content: str = ""

    def to_plain(self) -> dict[str, str]:
        plain = {"command": f"{self.command} {self.attribute}".strip()}
        if self.service:
            plain["service"] = self.service
        if self.payload:
            plain["payload"] = self.payload
        if self.content:
            plain["content"] = self.content
        return plain

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Request:
        """Read a request in either dialect.

        :raises ValueError: a value is not text, or there is content without a protocol
        """
        names = ("command", "service", "payload", "from", "content")
        texts = {key: plain.get(key) or "" for key in names}
        for key, text in texts.items():
            if not isinstance(text, str):
                raise ValueError(f"{key} is not text: {text!r}"[:200])
        if texts["content"] and "protocol" not in plain:
            raise ValueError("content is for messages that say their protocol")
        command, _, attribute = texts["command"].strip().partition(" ")
        service = "" if texts["service"] == "None" else texts["service"]
        payload = "" if texts["payload"] == "None" else texts["payload"]
        return cls(command, service, attribute.strip(), payload, texts["from"], texts["content"])


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; the message is text or a dict of plain values."""

    status: str
    message: Any

    def to_plain(self) -> dict[str, Any]:
        return {"status": self.status, "message": self.message}

    @classmethod
    def success(cls, message: Any) -> Reply:
        return cls("Success", message)

    @classmethod
    def warning(cls, message: Any) -> Reply:
        return cls("Warning", message)

    @classmethod
    def error(cls, text: str) -> Reply:
        """An error that has no wording of its own in the vocabulary."""
        return cls("Error", {"error": text})

    @classmethod
    def failed(cls, text: str) -> Reply:
        """An error whose wording is plain text."""
        return cls("Error", text)
