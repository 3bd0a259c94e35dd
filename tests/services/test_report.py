"""What darc_monitor reads of a service, in one answer."""

from __future__ import annotations

import pytest

from darc.config.config import Config
from darc.monitor.service_answers import READERS, read_report
from darc.services.amber_listener.service import AMBERListener
from darc.services.base.service import REPORTED, Service


def test_all_that_it_has_is_in_it(config: Config) -> None:
    report = AMBERListener(config).monitor_report
    assert sorted(report) == ["last_error", "last_trigger", "losses", "metrics"]
    assert read_report(report)["metrics"].numbers["entries_completed"] == 0


def test_what_fails_takes_nothing_along(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Service[object]) -> object:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(Service, "metrics", property(fail))
    assert sorted(AMBERListener(config).monitor_report) == ["last_error", "last_trigger", "losses"]


def test_what_is_reported_is_read() -> None:
    assert list(REPORTED) == list(READERS)


def test_a_service_that_uses_the_names_differently_holds_up_no_other() -> None:
    assert read_report("<bound method Own.monitor_report>") == {}
    report = {"outcomes": "many", "send_events": True, "other": 1, 2: 3}
    assert read_report(report) == {"send_events": True}
