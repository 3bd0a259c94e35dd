"""Alarms at an Alertmanager: the real one, where it is installed, and such as behave badly."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from nodes import free_port, patience, wait_for

sys.path.insert(0, str(Path(__file__).parent))

from receivers import Answer, Webhook, hangs
from test_alarm_manager import Cluster, Configure, configure, desks

from darc.monitor.alarms import alertmanager as module
from darc.monitor.alarms.alarm_manager import AlarmManager
from darc.monitor.alarms.alarm_messages import MessageOrigin
from darc.monitor.alarms.alarm_states import ALARM, OVER, UPDATE, AlarmItem, AlarmMessage
from darc.monitor.alarms.alertmanager import Alertmanagers

__all__ = ["configure", "desks"]  # fixtures

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
needs_program = pytest.mark.skipif(
    PROGRAM is None, reason="no Alertmanager (Debian: prometheus-alertmanager)"
)
WAIT = 20.0  # s
PAGE = "https://darc.example.org/"
DAY = 86400.0


def message(kind: str = ALARM, number: int = 1, **changes: Any) -> AlarmMessage:
    item = AlarmItem(
        "processor on arts003 failed", ("arts003",), None, "<!channel> @here: MemoryError", "darc …"
    )
    now = time.time()
    made = AlarmMessage(
        id=f"service processor/{number}/1",
        alarm=f"service processor/{number}",
        kind=kind,
        time=now,
        title="processor on arts003 failed",
        hosts=("arts003",),
        service="processor",
        grave=True,
        since=now - 10,
        items=() if kind == OVER else (item,),
        over=(item,) if kind == OVER else (),
    )
    return replace(made, **changes)


class Real:
    """An Alertmanager on a port of its own, without anybody whom it would notify."""

    def __init__(self, directory: Path, resolve_timeout: str = "5m") -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._directory = directory
        (directory / "am.yml").write_text(
            f"global: {{resolve_timeout: {resolve_timeout}}}\n"
            "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, place: str = "data") -> None:
        assert PROGRAM
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    PROGRAM,
                    f"--config.file={self._directory}/am.yml",
                    f"--storage.path={self._directory}/{place}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--cluster.listen-address=",
                ],
                stdout=log,
                stderr=log,
            )

        def answers() -> bool:
            try:
                self.alerts()
            except OSError:
                return False
            return True

        wait_for(answers, WAIT)

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def alerts(self) -> list[dict[str, Any]]:
        """What is open there."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=patience(5)) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Real]:
    one = Real(tmp_path)
    one.start()
    yield one
    one.stop()


@pytest.fixture
def made() -> Iterator[Callable[..., Alertmanagers]]:
    every: list[Alertmanagers] = []

    def make(*urls: str, plain: list[Any] | None = None, timeout: float = 5.0) -> Alertmanagers:
        one = Alertmanagers(lambda: None)
        one.configure(urls, timeout, lambda: MessageOrigin("arts041", PAGE))
        one.book.recall(plain or [])
        every.append(one)
        return one

    yield make
    for one in every:
        one.close()


def pumped(one: Alertmanagers, condition: Callable[[], Any]) -> Any:
    def look() -> Any:
        assert one.pump(DAY) == []
        return condition()

    return wait_for(look, WAIT)


# -- the real one ----------------------------------------------------------------------------------


@needs_program
def test_an_alarm_from_its_start_to_its_end(real: Real, made: Callable[..., Alertmanagers]) -> None:
    one = made(f"{real.url}/")
    first = message()
    one.add(first)
    (alert,) = pumped(one, real.alerts)
    assert alert["labels"] == {
        "alertname": "DarcAlarm",
        "alarm": "service processor",
        "cluster": "arts041",
        "service": "processor",
        "severity": "critical",
    }
    assert alert["annotations"] == {
        "summary": first.title,
        "description": "\u2039!channel\u203a \uff20here: MemoryError",
        "hosts": "arts003",
        "command": "darc …",
    }
    assert alert["generatorURL"] == PAGE
    assert first.since is not None
    assert abs(datetime.fromisoformat(alert["startsAt"]).timestamp() - first.since) < 0.01
    one.add(message(UPDATE, hosts=("arts003", "arts004"), since=time.time()))
    (later,) = pumped(
        one, lambda: [one for one in real.alerts() if one["annotations"]["hosts"] != "arts003"]
    )
    assert (later["fingerprint"], later["startsAt"]) == (alert["fingerprint"], alert["startsAt"])
    one.add(message(OVER))
    pumped(one, lambda: not real.alerts())
    pumped(one, lambda: one.book.to_plain() == [] and one.waiting() == [])


@needs_program
def test_what_gets_worse_is_one_alert(real: Real, made: Callable[..., Alertmanagers]) -> None:
    one = made(real.url)
    one.add(message(grave=False))
    pumped(one, real.alerts)
    one.add(message(UPDATE))

    def severities() -> bool:
        return [alert["labels"]["severity"] for alert in real.alerts()] == ["critical"]

    pumped(one, severities)


@needs_program
def test_it_is_sent_again_before_it_expires(
    tmp_path: Path, made: Callable[..., Alertmanagers], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_timeout = patience(2.0)
    real = Real(tmp_path, resolve_timeout=f"{round(1e3 * resolve_timeout)}ms")
    real.start()
    try:
        one = made(real.url)
        one.add(message())
        pumped(one, real.alerts)
        # The usual interval is too long for this one: it takes it for resolved.
        pumped(one, lambda: not real.alerts())
        monkeypatch.setattr(module, "RESEND_SECONDS", 0.3)
        pumped(one, real.alerts)
        until = time.monotonic() + 2 * resolve_timeout
        while time.monotonic() < until:
            one.pump(DAY)
            assert real.alerts()
            time.sleep(0.1)
    finally:
        real.stop()


@needs_program
def test_one_that_has_forgotten_it_hears_it_again(
    real: Real, made: Callable[..., Alertmanagers], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESEND_SECONDS", 0.5)
    one = made(real.url)
    one.add(message())
    pumped(one, real.alerts)
    real.stop()
    pumped(one, lambda: any("Connection refused" in line for line in one.waiting()))
    real.start("empty")
    pumped(one, real.alerts)


@needs_program
def test_the_end_is_told_after_a_restart(real: Real, made: Callable[..., Alertmanagers]) -> None:
    one = made(real.url)
    one.add(message())
    pumped(one, real.alerts)
    one.close()
    one.add(message(OVER))
    plain = json.loads(json.dumps(one.book.to_plain()))
    other = made(real.url, plain=plain)
    pumped(other, lambda: not real.alerts())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    one = Real(tmp_path_factory.mktemp("alertmanager"))
    one.start()
    yield one
    one.stop()


@needs_program
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(max_size=40), st.floats(-1e12, 1e12), st.booleans())
@example("", 0.0, True)
@example("a", -1e12, True)
@example("\ud800\x00\n{{ .Labels }}", 1e12, False)
def test_any_text_and_time_is_taken(shared: Real, text: str, since: float, over: bool) -> None:
    one = Alertmanagers(lambda: None)
    one.configure([shared.url], 10.0, lambda: MessageOrigin(text, PAGE))
    item = AlarmItem(text, (text,), since, text, text)
    ours = {"title": text, "hosts": (text,), "service": text, "alarm": text, "items": (item,)}
    now = datetime.now(UTC)
    # Alertmanager tells whole milliseconds, and may have it within one.
    before = now.replace(microsecond=now.microsecond // 1000 * 1000)

    def has_it() -> bool:
        if over:  # it is forgotten once its end has been taken
            return not one.book.to_plain()
        return any(datetime.fromisoformat(it["updatedAt"]) >= before for it in shared.alerts())

    try:
        one.add(message(since=since, **ours))
        if over:
            one.add(message(OVER, time=since, **ours))
        pumped(one, lambda: has_it() and not one.waiting())
    finally:
        one.close()


# -- those that behave badly -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "why"),
    [(500, "HTTP 500"), (400, "HTTP 400"), (302, "redirects"), (hangs, "not sent within 0.5 s")],
)
def test_one_that_does_not_take_it_is_named(
    made: Callable[..., Alertmanagers], answer: Answer, why: str
) -> None:
    with Webhook() as bad, Webhook() as good:
        bad.answers = [answer] * 100
        one = made(f"http://127.0.0.1:{bad.port}", f"http://127.0.0.1:{good.port}", timeout=0.5)
        one.add(message())
        pumped(one, lambda: len(one.waiting()) == 1 and why in one.waiting()[0])
        assert good.received
        assert one.waiting()[0].startswith(f"Alertmanager at 127.0.0.1:{bad.port}: ")
        one.add(message(OVER))

        def ends() -> list[bool]:
            alerts: Any = good.received[-1]
            return [bool(alert.get("endsAt")) for alert in alerts]

        pumped(one, lambda: ends() == [True])
        bad.answers = []
        pumped(one, lambda: bad.received and not one.waiting() and not one.book.to_plain())


def test_what_is_not_taken_for_long_is_given_up_and_sent_all_the_same(
    made: Callable[..., Alertmanagers],
) -> None:
    with Webhook() as bad:
        bad.answers = [500] * 100
        one = made(f"http://127.0.0.1:{bad.port}")
        one.add(message())
        lost: list[tuple[str, str]] = []

        def gone() -> bool:
            lost.extend(one.pump(patience(1.5)))
            return bool(lost)

        wait_for(gone, WAIT)
        assert lost[0][0] == f"Alertmanager at 127.0.0.1:{bad.port}: alarms"
        assert "HTTP 500" in lost[0][1]
        bad.answers = []
        wait_for(lambda: one.pump(DAY) == [] and bad.received, WAIT)


def test_the_alarms_of_a_cluster_come_there(
    configure: Configure, desks: list[AlarmManager]
) -> None:
    with Webhook() as server:
        cluster = Cluster()
        config = configure(alertmanagers=f"http://127.0.0.1:{server.port}", clear=1)
        desk = AlarmManager(config, lambda: cluster)
        desks.append(desk)
        desk.start({})
        wait_for(lambda: server.received, WAIT)
        first: Any = server.received[0]
        assert server.asked[0] == "/api/v2/alerts"
        assert first[0]["labels"]["alarm"] == "service processor"
        assert "endsAt" not in first[0]
        cluster.is_ill = False
        wait_for(lambda: "endsAt" in json.dumps(server.received), WAIT)
