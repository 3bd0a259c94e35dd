"""The Transient Name Server's interface for bots: to report a burst, and to ask what became of it.

What is relied on, and from where that is known, says docs/tns.md. The server's texts leave this
module on one line, of limited length, and without the key, should they hold it.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from darc.config import web_address
from darc.config.records import Struct
from darc.delivery.credentials import HIDDEN
from darc.delivery.http_connection import connection_to, reason_of
from darc.delivery.outbox import DeliveryError
from darc.delivery.tns_errors import Bot, ReportKnownError, ReportRefusedError, ReportUnsureError
from darc.delivery.total_timeout import HeldConnection, cut_after
from darc.runtime.tcp_client import refuse_self

#: An answer is some hundred bytes.
MAX_BYTES = 1 << 20
MAX_REASON = 300  # characters
#: How long a server that is asked too often is left alone: where it does not say, and at most (s).
USUAL_WAIT, LONGEST_WAIT = 60.0, 3600.0
#: Of an answer, which nests less than ten deep.
_DEEPEST = 20
#: As the TNS names bursts: the day (UTC), and letters.
_NAME = re.compile(r"(?:FRB ?)?([0-9]{8}[A-Za-z]{1,6})")
#: Of a refusal since it has the report, in this order. One expression of all would take hours for a
#: message that repeats them, and meanwhile no other thread of the process would run.
_KNOWN = [re.compile(part, re.I) for part in (r"identical\b", r"\breport\b", r"\balready exists")]
#: Codes of feedback: an object was made, or was there.
_TAKEN = {"100", "101"}
_RESETS = "x-rate-limit-reset", "retry-after"
#: What means that nothing was taken, whatever a body says.
_REFUSALS = {
    401: "it does not know the bot or its key",
    403: "it refuses the bot",
    404: "it has no such interface: see the address",
}


class _Reply(Struct, frozen=True):
    status: int
    body: bytes
    wait: float  # s


class TNSClient:
    """A server of the TNS. Every question is one connection, limited in time and size.

    :param url: of its interface, such as https://sandbox.wis-tns.org/api
    :param timeout: total time of a question except the name lookup, s
    """

    def __init__(self, url: str, bot: Bot, timeout: float) -> None:
        self._url = web_address.split(url.rstrip("/"))
        self._bot = bot
        self._timeout = timeout

    def submit(self, report: bytes) -> str:
        """Hand a report in; return its number, by which :meth:`name_given` asks.

        :param report: JSON
        :raises ReportRefusedError: it was refused
        :raises ReportKnownError: the server has it
        :raises ReportUnsureError: it may have been taken; any other DeliveryError: it was not
        """
        answer = self._asked("set/bulk-report", {"data": report.decode()})
        if answer.status in _REFUSALS:
            raise ReportRefusedError(self._said(_REFUSALS[answer.status]))
        if answer.status >= 500 or answer.status == HTTPStatus.REQUEST_TIMEOUT:
            raise ReportUnsureError(self._said(f"HTTP {answer.status}"))
        if 300 <= answer.status < 400:
            raise ReportRefusedError(self._said(f"redirects (HTTP {answer.status}), not followed"))
        if answer.status >= 400:
            self._refuse(answer)
        told = self._read(answer)
        number = _of(told, "data").get("report_id")
        if isinstance(number, int | str) and re.fullmatch("[0-9]{1,20}", str(number)):
            return str(number)
        raise ReportUnsureError(self._said("an answer without the number of the report"))

    def name_given(self, number: str) -> str:
        """Return the name that a report's burst was given.

        :param number: of the report
        :raises ReportRefusedError: it was refused
        :raises ReportKnownError: the server had the same report before
        :raises DeliveryError: not processed yet, or no answer
        """
        answer = self._asked("get/bulk-report-reply", {"report_id": number})
        if answer.status == HTTPStatus.NOT_FOUND:
            raise DeliveryError(self._said(f"report {number} is not processed yet"))
        refused = answer.status == HTTPStatus.BAD_REQUEST
        told = self._read(answer) if refused else self._told(answer)
        feedback = _of(told, "data").get("feedback")
        names = {*_names(feedback)}
        if names:
            return self._one(names)
        if refused:
            self._refuse(answer)
        self._raise_if_known(feedback)
        said = self._reasons(feedback)
        why = f"report {number} is not processed yet{f': {said}' if said else ''}"
        raise DeliveryError(self._said(why))

    def find(self, internal_name: str) -> str:
        """Return the name of the burst that was reported under a name of ours; empty: none was.

        :raises DeliveryError: no answer
        """
        question = {"internal_name": internal_name, "internal_name_exact_match": 1}
        answer = self._asked("get/search", {"data": json.dumps(question)})
        if answer.status == HTTPStatus.NOT_FOUND:
            return ""
        told = self._told(answer)
        if "data" not in told:
            # "None" would let the same report be sent twice.
            raise DeliveryError(self._said("an answer without what was found"))
        names = {*_names(told["data"], everywhere=True)}
        return self._one(names) if names else ""

    # -- reading -------------------------------------------------------------------------------

    def _one(self, names: set[str]) -> str:
        """Return the only name, as bursts are called.

        :raises DeliveryError: there are several, or it is of no burst
        """
        found = {match[1] for name in names if (match := _NAME.fullmatch(name.strip()))}
        if len(found) != 1 or len(names) != 1:
            listed = ", ".join(sorted(names))
            raise DeliveryError(self._said(f"not the name of a burst: {listed}"))
        return f"FRB {found.pop()}"

    def _told(self, answer: _Reply) -> Mapping[str, Any]:
        if answer.status != HTTPStatus.OK:
            raise DeliveryError(self._said(f"HTTP {answer.status}"))
        return self._read(answer)

    def _read(self, answer: _Reply) -> Mapping[str, Any]:
        try:
            told = json.loads(answer.body)
        except (ValueError, RecursionError):
            raise ReportUnsureError(self._said("an answer that is not JSON")) from None
        if not isinstance(told, dict):
            raise ReportUnsureError(self._said("an answer that is not an object of JSON"))
        return told

    def _refuse(self, answer: _Reply) -> None:
        """Raise what a refusal means."""
        try:
            told = self._read(answer)
        except ReportUnsureError:
            told = {}
        self._raise_if_known(told)
        reasons = self._reasons(told) or str(told.get("id_message") or f"HTTP {answer.status}")
        raise ReportRefusedError(self._said(reasons))

    def _raise_if_known(self, told: object) -> None:
        for _, message in _messages(told):
            if _says_known(message):
                raise ReportKnownError(self._said(message))

    def _reasons(self, told: object) -> str:
        return "; ".join(f"{place}: {text}" if place else text for place, text in _messages(told))

    def _said(self, text: str) -> str:
        """Return a text about the server as one printable line without the key."""
        line = " ".join(text.split()).replace(self._bot.key, HIDDEN)
        line = "".join(one if one.isprintable() else "?" for one in line)[:MAX_REASON]
        return f"TNS at {self._url.netloc}: {line}"

    # -- the connection ------------------------------------------------------------------------

    def _asked(self, path: str, fields: Mapping[str, str]) -> _Reply:
        """Post a form; return what came.

        :raises DeliveryError: not connected, or asked too often; ReportUnsureError: connected, but
            no whole answer
        """
        url = self._url
        connection = connection_to(url, self._timeout)
        body = urlencode({"api_key": self._bot.key, **fields}).encode()
        headers = {
            "User-Agent": self._bot.marker,
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        failure: type[DeliveryError] = DeliveryError
        held = HeldConnection(connection)
        with cut_after(self._timeout, held) as was_cut:
            try:
                connection.connect()
                refuse_self(connection.sock)
                held.hold()
                failure = ReportUnsureError
                connection.request("POST", f"{url.path}/{path}", body, headers)
                reply = connection.getresponse()
                content = reply.read(MAX_BYTES + 1)
                if was_cut.is_set():
                    raise TimeoutError
            except (OSError, http.client.HTTPException) as error:
                late = was_cut.is_set() or isinstance(error, TimeoutError)
                why = f"no answer within {self._timeout:g} s" if late else reason_of(error)
                raise failure(self._said(why)) from None
            finally:
                connection.close()
        answer = _Reply(_status(reply.status, content), content, _wait(reply.headers))
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            why = f"asked too often (HTTP 429): again in {answer.wait:g} s"
            raise DeliveryError(self._said(why), wait=answer.wait)
        if len(content) > MAX_BYTES:
            raise ReportUnsureError(self._said(f"an answer of more than {MAX_BYTES} bytes"))
        return answer


def _wait(headers: http.client.HTTPMessage) -> float:
    """Return how long the server wants to be left alone (s)."""
    texts = [headers.get(name, "") for name in _RESETS]
    seconds = [float(text) for text in texts if re.fullmatch("[0-9]{1,9}", text)]
    return min(max(seconds, default=USUAL_WAIT), LONGEST_WAIT)


def _says_known(message: str) -> bool:
    """Whether a message refuses a report since the server has it."""
    at = 0
    for part in _KNOWN:
        found = part.search(message, at)
        if found is None:
            return False
        at = found.end()
    return True


def _status(status: int, content: bytes) -> int:
    """Return the status of an answer: its own, where HTTP says that all is well and it does not."""
    if status != HTTPStatus.OK:
        return status
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return status
    own = str(told.get("id_code")) if isinstance(told, dict) else ""
    return int(own) if re.fullmatch("[45][0-9]{2}", own) else status


def _of(told: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = told.get(key)
    return value if isinstance(value, dict) else {}


def _nodes(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield all objects in a value, with the keys that lead there."""
    if len(path) > _DEEPEST:
        return
    if isinstance(value, dict):
        yield path, value
        for key, one in value.items():
            yield from _nodes(one, (*path, str(key)))
    elif isinstance(value, list):
        for one in value:
            yield from _nodes(one, (*path, ""))


def _names(value: object, *, everywhere: bool = False) -> Iterator[str]:
    """Yield names of objects: those that a report made or found, or all."""
    for path, one in _nodes(value):
        found = one.get("objname")
        under = next((part for part in reversed(path) if part), "")  # also as one of a list
        codes = {under, str(one.get("message_id"))}
        if isinstance(found, str) and found.strip() and (everywhere or codes & _TAKEN):
            yield found


def _messages(value: object) -> Iterator[tuple[str, str]]:
    """Yield what an answer says, and of which field: names, without numbers and what holds all."""
    for path, one in _nodes(value):
        message = one.get("message")
        if isinstance(message, str) and message.strip():
            around = "data", "feedback", "frb_report", "frb_rep", "value"
            names = [part for part in path if part and not part.isdigit() and part not in around]
            yield ".".join(names), message
