"""A Transient Name Server for tests: names bursts, and behaves as badly as it is told."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from darc.config.records import Struct
from simulator.receiver import HOST, Receiver

#: Without one of these, a report is refused.
REQUIRED = ("reporter", "reporting_groupid", "groupid", "discovery_datetime", "dm")
IDENTICAL = (
    "An identical FRB report (sender, RA/DEC, discovery date, internal_name) already exists."
)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class TnsQuestion(Struct, frozen=True):
    """A request, as it came.

    :param path: below the address of the interface
    :param agent: its user agent
    :param fields: of the form, without the key
    """

    path: str
    agent: str
    fields: dict[str, str]


#: What is done instead of an answer.
Trouble = Callable[["_Asker"], None]


def says(status: int, body: bytes = b"", **headers: str) -> Trouble:
    """Answer with a status, a body and headers, whose names have _ for -."""

    def answer(asker: _Asker) -> None:
        asker.answer(status, body, {name.replace("_", "-"): text for name, text in headers.items()})

    return answer


def throttles(seconds: int) -> Trouble:
    """Say that it was asked too often."""
    body = b'{"id_code":429,"id_message":"Too Many Requests"}'
    return says(
        429, body, x_rate_limit_limit="10", x_rate_limit_remaining="0",
        x_rate_limit_reset=str(seconds),
    )  # fmt: skip


def closes(asker: _Asker) -> None:
    """Close without an answer, and forget the question."""
    asker.close_connection = True


def loses_answer(asker: _Asker) -> None:
    """Do what was asked, and close without an answer."""
    asker.of.do(asker.question)
    asker.close_connection = True


def loses_half(asker: _Asker) -> None:
    """Do what was asked, and close in the middle of the answer."""
    status, told = asker.of.do(asker.question)
    body = json.dumps(told).encode()
    asker.send_response(status)
    asker.send_header("Content-Length", str(len(body)))
    asker.end_headers()
    asker.wfile.write(body[: len(body) // 2])
    asker.close_connection = True


def hangs(asker: _Asker) -> None:
    """Say nothing, until the server is closed."""
    asker.of.closing.wait()


def drips(asker: _Asker) -> None:
    """Never finish, and never be silent for long."""
    asker.of.do(asker.question)
    with suppress(OSError):
        asker.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{")
        while not asker.of.closing.wait(0.05):
            asker.wfile.write(b" ")


def floods(asker: _Asker) -> None:
    """Do what was asked, and answer with more than anybody wants."""
    asker.of.do(asker.question)
    with suppress(OSError):
        asker.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while not asker.of.closing.is_set():
            asker.wfile.write(b'"%s",' % (b"x" * 65536))


class NameServer(Receiver[TnsQuestion]):
    """The interface for bots on a port of this machine, with one bot.

    `troubles` are for the next questions, in order. A report is not processed until so many
    questions for it were answered with 404.

    :param port: 0: a free one
    """

    def __init__(self, key: str, bot: int = 7, port: int = 0) -> None:
        super().__init__()
        self.key, self.bot = key, bot
        self.troubles: list[Trouble] = []
        self.not_yet = 0
        #: Whether no report is processed; whether each is, before its number is told.
        self.holds = False
        self.at_once = False
        self.reports: list[dict[str, Any]] = []
        self.names: dict[str, str] = {}  # by internal name
        self._replies: dict[str, tuple[int, Any]] = {}  # by number of the report
        self._left: dict[str, int] = {}
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer((HOST, port), _asker_of(self))
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/api"

    def asked(self, path: str) -> list[TnsQuestion]:
        """The questions of a kind."""
        return [one for one in self.received if one.path == path]

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # -- what it does --------------------------------------------------------------------------

    def take(self, question: TnsQuestion) -> None:
        self._add(question)

    def do(self, question: TnsQuestion) -> tuple[int, Any]:
        """Return the status and the answer of a question."""
        with self._lock:
            match question.path:
                case "set/bulk-report":
                    return self._handed_in(question.fields.get("data", ""))
                case "get/bulk-report-reply":
                    return self._asked_for(question.fields.get("report_id", ""))
                case "get/search":
                    return self._searched(question.fields.get("data", ""))
        return 404, {"id_code": 404, "id_message": "Not found"}

    def _handed_in(self, data: str) -> tuple[int, Any]:
        try:
            report = json.loads(data)["frb_report"]["0"]
        except (ValueError, KeyError):
            return 400, {"id_code": 400, "id_message": "Bad request", "data": {}}
        self.reports.append(report)
        number = str(1000 + len(self.reports))
        self._left[number] = self.not_yet
        if self.at_once:
            self.process()
        return 200, {"id_code": 200, "id_message": "OK", "data": {"report_id": int(number)}}

    def _asked_for(self, number: str) -> tuple[int, Any]:
        index = int(number) - 1001 if number.isdigit() else -1
        if not 0 <= index < len(self.reports) or self.holds or self._left[number] > 0:
            if number in self._left:
                self._left[number] -= 1
            return 404, {"id_code": 404, "id_message": "Not found", "data": {}}
        self.process()
        return self._replies[number]

    def process(self) -> None:
        """Name what was reported, in its order."""
        for index, report in enumerate(self.reports):
            number = str(1001 + index)
            if number not in self._replies:
                self._replies[number] = self._processed(report)

    def _processed(self, report: dict[str, Any]) -> tuple[int, Any]:
        wrong = [name for name in REQUIRED if not report.get(name)]
        feedback: dict[str, Any]
        if wrong:
            said = [{"message": "Required field.", "message_id": 3}]
            feedback = {name: {"value": said} for name in wrong}
            return 400, _fed_back(400, "Bad request", feedback)
        name = str(report["internal_name"])
        if name in self.names:
            feedback = {"frb_rep": {"message": IDENTICAL, "message_id": 5}}
            return 400, _fed_back(400, "Bad request", feedback)
        day = re.sub(r"\D", "", str(report["discovery_datetime"]))[:8]
        same_day = [one for one in self.names.values() if one.startswith(day)]
        self.names[name] = f"{day}{_LETTERS[len(same_day)]}"
        message = "FRB report posted. Object created."
        feedback = {"100": {"message": message, "objname": self.names[name]}}
        return 200, _fed_back(200, "OK", feedback)

    def _searched(self, data: str) -> tuple[int, Any]:
        wanted = json.loads(data).get("internal_name")
        found = [
            {"objname": name, "prefix": "FRB", "objid": 1}
            for internal, name in self.names.items()
            if internal == wanted
        ]
        return 200, {"id_code": 200, "id_message": "OK", "data": {"reply": found}}


def _fed_back(code: int, message: str, feedback: dict[str, Any]) -> dict[str, Any]:
    data = {"feedback": {"frb_report": [feedback]}}
    return {"id_code": code, "id_message": message, "data": data}


class _Asker(BaseHTTPRequestHandler):
    of: NameServer
    question: TnsQuestion

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        fields = {name: values[0] for name, values in parse_qs(body).items()}
        key = fields.pop("api_key", "")
        agent = self.headers.get("User-Agent", "")
        self.question = TnsQuestion(self.path.removeprefix("/api/"), agent, fields)
        self.of.take(self.question)
        trouble = self.of.troubles.pop(0) if self.of.troubles else None
        if trouble is not None:
            trouble(self)
            return
        marker = re.fullmatch(r"tns_marker(\{.*\})", agent)
        bot = json.loads(marker[1]) if marker else {}
        if key != self.of.key or bot.get("tns_id") != self.of.bot or bot.get("type") != "bot":
            self.answer(401, b'{"id_code":401,"id_message":"Unauthorized"}', {})
            return
        status, told = self.of.do(self.question)
        self.answer(status, json.dumps(told).encode(), {})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        usual = {"x-rate-limit-limit": "100", "x-rate-limit-remaining": "99"}
        with suppress(OSError):
            self.send_response(status)
            for name, text in {**usual, **headers}.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Log nothing."""


def _asker_of(server: NameServer) -> type[_Asker]:
    return type("AskerOfOne", (_Asker,), {"of": server})
