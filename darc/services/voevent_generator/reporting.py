"""How a report is handed in, and its answer asked for: attempts, in the thread of their outbox.

The TNS takes a report and names the burst later. Where it may have a report whose answer was lost,
it is asked for the internal name before anything is sent again; and what it refuses since it has
the same report counts as taken.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from darc.config.records import Struct
from darc.delivery.credentials import CredentialsError, read_credentials
from darc.delivery.outbox import DeliveryError
from darc.delivery.tns_errors import (
    Bot,
    ReportKnownError,
    ReportRefusedError,
    ReportUnsureError,
)
from darc.model.name_report import ReportState
from darc.runtime.clock import Instant
from darc.services.voevent_generator.pending_report import PendingReport
from darc.services.voevent_generator.settings import TnsSettings

if TYPE_CHECKING:
    from darc.delivery.tns_client import TNSClient

#: Name of the key in the file of credentials.
API_KEY = "api_key"


class ReportStep(Struct, frozen=True):
    """What an attempt has brought.

    :param text: number of the report, name of the burst, or reason of the refusal
    """

    state: ReportState
    text: str


def api_key(path: str) -> str:
    """Return the bot's key.

    :raises CredentialsError: it cannot be read; the text says why, and what to do
    """
    values = read_credentials(Path(path)).values()
    if API_KEY not in values:
        raise CredentialsError(f"{path}: no line `{API_KEY} = …`")
    return values[API_KEY]


class Reporter:
    """Attempts of a service.

    :param settings: returns the present ones
    :param why_not: why a part may not go on; empty: it may
    """

    def __init__(
        self, settings: Callable[[], TnsSettings], why_not: Callable[[PendingReport], str]
    ) -> None:
        self._settings = settings
        self._why_not = why_not
        self._lock = threading.Lock()
        self._steps: dict[str, ReportStep] = {}  # by part
        self._unsure: set[str] = set()  # likewise: the TNS may have it
        self._known: dict[str, ReportKnownError] = {}  # likewise: it has said that it has it
        self._kept_back: dict[str, str] = {}  # likewise: why its last attempt was not to be made
        self._left_alone: dict[str, Instant] = {}  # until when, by address; in the outbox's thread

    def doubt(self, item: PendingReport) -> None:
        """Note that the TNS may have a report, for all that is known: of an earlier process."""
        self._unsure.add(item.part)

    def may_have_left(self, item: PendingReport) -> bool:
        """Whether the TNS may have a report."""
        return bool(item.number) or item.part in self._unsure

    def why_kept_back(self, part: str) -> str:
        """Return why the last attempt of a part was not to be made; empty: it was made."""
        with self._lock:
            return self._kept_back.get(part, "")

    def step(self, part: str) -> ReportStep | None:
        """Take what a part has brought; None: nothing, it was given up."""
        with self._lock:
            self._kept_back.pop(part, None)
            self._unsure.discard(part)
            self._known.pop(part, None)
            return self._steps.pop(part, None)

    def attempt(self, item: PendingReport) -> None:
        """Go on with a part, until it has brought something.

        :raises DeliveryError: it has not; to be tried again
        """
        self._keep_back(item)
        wait = self._left_alone[item.url].left() if item.url in self._left_alone else 0.0
        if wait > 0:
            why = f"{item.url} was asked too often (HTTP 429): again in {wait:.0f} s"
            raise DeliveryError(why, wait=wait)
        settings = self._settings()
        if settings.missing:
            raise DeliveryError(not_configured(settings))
        try:
            key = api_key(str(settings.credentials))
        except CredentialsError as error:
            raise DeliveryError(str(error)) from None
        from darc.delivery.tns_client import TNSClient  # noqa: PLC0415 - http, ssl, email

        bot = Bot(settings.bot_id or 0, settings.bot_name or "", key)
        client = TNSClient(item.url, bot, settings.timeout)
        try:
            found = self._asked(client, item) if item.number else self._handed_in(client, item)
        except ReportRefusedError as error:
            found = ReportStep(ReportState.REFUSED, str(error))
        except DeliveryError as error:
            if error.wait > 0:
                self._left_alone[item.url] = Instant.now().after(error.wait)
            raise
        with self._lock:
            self._steps[item.part] = found

    def _keep_back(self, item: PendingReport) -> None:
        if why := self._why_not(item):
            with self._lock:
                self._kept_back[item.part] = why
            raise DeliveryError(why, permanent=True)

    def _handed_in(self, client: TNSClient, item: PendingReport) -> ReportStep:
        if known := self._known.get(item.part):
            return _found(client, item, known)
        if item.part in self._unsure and (name := client.find(item.internal_name)):
            return _named(name, item)
        self._keep_back(item)  # meanwhile
        already = item.part in self._unsure
        self._unsure.add(item.part)  # a defect, too, may come after it has left
        try:
            return ReportStep(ReportState.SUBMITTED, client.submit(item.content))
        except ReportKnownError as error:
            self._known[item.part] = error
            return _found(client, item, error)
        except ReportUnsureError:
            raise
        except DeliveryError:
            if not already:
                self._unsure.discard(item.part)
            raise

    def _asked(self, client: TNSClient, item: PendingReport) -> ReportStep:
        try:
            return _named(client.name_given(item.number), item)
        except ReportKnownError as error:
            return _found(client, item, error)


def not_configured(settings: TnsSettings) -> str:
    """Return what is missing."""
    return f"voevent_generator.tns is not complete: {', '.join(settings.missing)} (docs/tns.md)"


def _found(client: TNSClient, item: PendingReport, error: ReportKnownError) -> ReportStep:
    """Return the name by which the TNS knows a report that it would not take again."""
    if name := client.find(item.internal_name):
        return _named(name, item)
    raise DeliveryError(f"{error}; it does not say under which name yet") from None


def _named(name: str, item: PendingReport) -> ReportStep:
    """Return a name; one of other days is of another burst, and goes into no notice."""
    try:
        named = datetime.strptime(name.removeprefix("FRB ")[:8], "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        raise DeliveryError(f"the TNS answers with {name}, which is of no day") from None
    if abs(named - day_of(item.content)) > timedelta(days=1):
        why = f"the TNS answers with {name}, which is of another day: ask the TNS"
        return ReportStep(ReportState.REFUSED, why)
    return ReportStep(ReportState.NAMED, name)


def day_of(report: bytes) -> datetime:
    """Return the day of a report's burst."""
    moment = json.loads(report)["frb_report"]["0"]["discovery_datetime"]
    return datetime.fromisoformat(moment[:10]).replace(tzinfo=UTC)
