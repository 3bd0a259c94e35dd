"""Logging of services to standard output, which supervisord captures, without ever blocking."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType

from darc.config.records import Struct
from darc.model.observation import task_id_of

# Writes of up to PIPE_BUF bytes to a pipe are atomic.
MAX_LINE_BYTES = 4096
#: Environment variable of services with the format: text or json.
FORMAT = "DARC_LOG_FORMAT"

_observation: ContextVar[str] = ContextVar("observation", default="")


@contextmanager
def about(observation: str) -> Iterator[None]:
    """Add the observation's id to log lines within this context.

    :param observation: task id, or key of a run
    """
    token = _observation.set(task_id_of(observation))
    try:
        yield
    finally:
        _observation.reset(token)


def observation_now() -> str:
    """Return the observation id that log lines have here; empty if none."""
    return _observation.get()


def printable(text: str) -> str:
    """Return text that is safe for a terminal: control characters escaped, further lines indented.

    Log lines start at the margin, so external text cannot be mistaken for one.
    """
    plain = "".join(
        letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1]
        for letter in text.expandtabs()
    )
    return plain.replace("\n", "\n    ")


class LineFormatter(logging.Formatter):
    """``2026-05-18 23:51:13.042 INFO amber_listener [190518009]: text``, in UTC."""

    converter = staticmethod(time.gmtime)

    def __init__(self, service: str) -> None:
        super().__init__(datefmt="%Y-%m-%d %H:%M:%S")
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        moment = f"{self.formatTime(record, self.datefmt)}.{int(record.msecs):03d}"
        observation = _observation.get()
        place = f"{self._service} [{observation}]" if observation else self._service
        return f"{moment} {record.levelname} {place}: {printable(self.message_of(record))}"

    def message_of(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class JsonFormatter(LineFormatter):
    """Formatter of a JSON object per line: time, level, service, observation, message."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "service": self._service,
            "observation": _observation.get() or None,
            "message": self.message_of(record),
        }
        text = json.dumps(line)
        if len(text) < MAX_LINE_BYTES:
            return text
        # Shortened such that the object stays valid; a character may take twelve bytes.
        short = self.message_of(record)[: (MAX_LINE_BYTES - 300) // 12] + " ..."
        return json.dumps(line | {"message": short})


class NonBlockingHandler(logging.Handler):
    """Handler that writes to a descriptor; lines that would block are dropped and counted."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.dropped = 0
        self._unreported = 0
        os.set_blocking(descriptor, False)

    def emit(self, record: logging.LogRecord) -> None:
        if self._unreported:
            note = f"({self._unreported} log lines could not be written and were dropped)"
            if self._write(note):
                self._unreported = 0
        if not self._write(self.format(record)):
            self.dropped += 1
            self._unreported += 1

    def _write(self, text: str) -> bool:
        data = text.encode(errors="backslashreplace")
        if len(data) >= MAX_LINE_BYTES:
            data = data[: MAX_LINE_BYTES - 5] + b" ..."
        try:
            os.write(self._descriptor, data + b"\n")
        except OSError:  # the pipe is full or closed: the service continues
            return False
        return True


#: As `extra` of a log line about a trigger.
ABOUT_TRIGGER = {"about_trigger": True}


class SaidLine(Struct, frozen=True):
    """A line that was logged.

    :param time: Unix s
    :param text: its message; of an exception, with the last line of its traceback
    """

    time: float
    text: str


class LastLines(logging.Handler):
    """Keeps the last error and the last line about a trigger, for those who ask this process."""

    def __init__(self) -> None:
        super().__init__()
        self.error: SaidLine | None = None
        self.trigger: SaidLine | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            self.error = _said(record)
        elif getattr(record, "about_trigger", False):
            self.trigger = _said(record)


def _said(record: logging.LogRecord) -> SaidLine:
    first, *below = printable(record.getMessage()).splitlines() or [""]
    if record.exc_info:
        below = printable(logging.Formatter().formatException(record.exc_info)).splitlines()
    return SaidLine(record.created, f"{first}: {below[-1].strip()}" if below else first)


def last_lines() -> LastLines:
    """Those of this process; none where its logging is not set up."""
    handlers = logging.getLogger().handlers
    return next((one for one in handlers if isinstance(one, LastLines)), LastLines())


def lines_dropped() -> int:
    """Return the number of log lines of this process that could not be written."""
    handlers = logging.getLogger().handlers
    return sum(one.dropped for one in handlers if isinstance(one, NonBlockingHandler))


def set_up_logging(service: str) -> NonBlockingHandler:
    """Send all log lines of this process, and the error that ends it, to standard output."""
    handler = NonBlockingHandler(sys.stdout.fileno())
    formatter = JsonFormatter if os.environ.get(FORMAT) == "json" else LineFormatter
    handler.setFormatter(formatter(service))
    logging.basicConfig(level=logging.INFO, handlers=[handler, LastLines()], force=True)

    def log_end(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        logging.getLogger(service).critical("ends", exc_info=(kind, error, traceback))

    sys.excepthook = log_end
    return handler
