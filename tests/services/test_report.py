"""What darc_monitor reads of a service, in one answer."""

from __future__ import annotations

import pytest

from darc.config.config import Config
from darc.monitor.service_answers import READERS, read_answer
from darc.services.amber_listener.service import AMBERListener
from darc.services.base.service import REPORTED, Service


def test_all_that_it_has_is_in_it(config: Config) -> None:
    report = AMBERListener(config).report
    assert sorted(report) == ["last_error", "last_trigger", "losses", "metrics"]
    read = {name: read_answer(name, value) for name, value in report.items()}
    assert read["metrics"].numbers["entries_completed"] == 0


def test_what_fails_takes_nothing_along(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Service[object]) -> object:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(Service, "metrics", property(fail))
    assert sorted(AMBERListener(config).report) == ["last_error", "last_trigger", "losses"]


def test_what_is_reported_is_read() -> None:
    assert list(REPORTED) == list(READERS)
