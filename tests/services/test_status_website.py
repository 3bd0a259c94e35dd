"""The service that keeps the status page: whom it asks, what it writes, how it ends."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from nodes import free_port, patience, wait_for

from darc.config.config import ConfigError
from darc.monitor.alarms.alarm_manager import AlarmManager
from darc.monitor.page.page_files import WebDirectory
from darc.node.node_config import load_config
from darc.services.base.service import Service
from darc.services.status_website import service
from darc.services.status_website.service import StatusWebsite

sys.path.insert(0, str(Path(__file__).parents[1] / "monitor"))

import made_up

Make = Callable[..., StatusWebsite]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A service without a node: ``make(port=…)`` with settings, ``cluster=…``."""
    monkeypatch.setenv("DARC_HOME", str(tmp_path))
    monkeypatch.setenv("DARC_HOSTNAME", made_up.MASTER)
    made: list[StatusWebsite] = []
    managers: list[AlarmManager] = []

    def manager(*of: Any) -> AlarmManager:
        managers.append(AlarmManager(*of))
        return managers[-1]

    monkeypatch.setattr(service, "AlarmManager", manager)

    def make(cluster: dict[str, object] | None = None, **settings: object) -> StatusWebsite:
        section = {"web_dir": str(tmp_path / "web"), "interval": 0.1, "timeout": 1.0, "port": None}
        sections = {"status_website": section | settings, "cluster": cluster or {}}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(sections))
        website = StatusWebsite(load_config())
        made.append(website)
        return website

    yield make
    for website in made:
        website.publisher.stop()
    for one in managers:
        one.stop()


def page(website: StatusWebsite) -> str:
    return website.page.read_text() if website.page.exists() else ""


def test_every_node_is_asked_and_this_one_where_it_listens(make: Make) -> None:
    cluster = {"master": "arts041.example.org", "workers": ["arts[001-003]"]}
    settings = make(cluster).page_settings()
    asked = [(target.name, target.host, target.port) for target in settings.targets]
    assert asked[0] == ("arts041.example.org", "localhost", None)
    assert asked[1:] == [(f"arts00{n}", f"arts00{n}", 51000) for n in (1, 2, 3)]
    assert settings.own == "arts041.example.org"


def test_a_host_on_its_own_shows_itself(make: Make) -> None:
    website = make()
    website.recover({})
    wait_for(lambda: "1 problem" in page(website))
    assert "<h3>This node" in page(website)
    assert "darc_start_all_services" in page(website)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("colour_good", "green;}", "a colour"),
        ("port", 70000, "from 1 to 65535"),
        ("max_pages", 0, "from 1 to 1000"),
        ("bind", "", "not empty"),
    ],
)
def test_settings_that_cannot_be(make: Make, key: str, value: object, allowed: str) -> None:
    with pytest.raises(ConfigError, match=rf"status_website.{key}: .*{allowed}"):
        make(**{key: value})


def test_it_serves_what_it_writes(make: Make) -> None:
    port = free_port()
    website = make(port=port)
    website.recover({})
    assert website.url == f"http://127.0.0.1:{port}/"
    assert website.open_pages == website.refused_pages == 0
    wait_for(lambda: website.pages_written)
    with socket.create_connection(("127.0.0.1", port), timeout=patience(10.0)) as client:
        client.sendall(b"GET /status.json HTTP/1.1\r\n\r\n")
        with client.makefile("rb") as answer:
            body = answer.read().partition(b"\r\n\r\n")[2]
    assert json.loads(body)["nodes"][0]["name"] == made_up.MASTER


def test_without_a_port_there_are_files_only(make: Make) -> None:
    website = make(port=None)
    website.recover({})
    wait_for(lambda: website.pages_written)
    assert website.url is None
    assert page(website)


def test_a_port_that_is_taken_is_said_once_and_waited_for(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        website = make(port=port)
        website.recover({})
        wait_for(lambda: website.pages_written >= 2)
        said = [record for record in caplog.records if "not served at" in record.message]
        assert [record.levelno for record in said] == [logging.WARNING]
        assert website.url is None
    wait_for(lambda: website.url)


def test_files_that_cannot_be_written_are_a_problem_on_the_page(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darc.monitor.page.publisher.FILES_SECONDS", 0.01)
    website = make()
    website.recover({})
    wait_for(lambda: website.pages_written)
    before = page(website)
    directory = website.page.parent
    # between two writes, which make the directory anew
    wait_for(lambda: _made(directory))

    def shown() -> str:
        return website.publisher.live.read("index.html") or ""

    wait_for(lambda: "The files of this page cannot be written" in shown())
    assert f"df -h {directory}" in shown()
    said = [r.message for r in caplog.records if "the previous one stays" in r.message]
    # each reason once, not each attempt: there may be one between the two steps of _made
    assert said
    assert len(said) == len(set(said))
    directory.unlink()
    wait_for(lambda: "cannot be written" not in shown() and website.page.exists())
    assert page(website) != before


def _made(path: Path) -> bool:
    """Whether a file stands in the way of a directory now."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)  # the writer may be faster
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (SystemExit(0), "The status website was stopped."),
        (ValueError("defect"), "The status website has ended."),
    ],
)
def test_its_end_is_said_on_the_page(
    make: Make, monkeypatch: pytest.MonkeyPatch, end: BaseException, said: str
) -> None:
    website = make()
    website.recover({})
    wait_for(lambda: website.pages_written)

    def run(self: object) -> None:
        raise end

    monkeypatch.setattr(Service, "run", run)
    with pytest.raises(type(end)):
        website.run()
    assert f"<strong>{said}</strong>" in page(website)
    assert "darc --service status_website start" in page(website)
    assert json.loads((website.page.parent / "status.json").read_text())["stopped"] == said


def test_one_that_has_shown_nothing_says_nothing_at_its_end(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page may be another process's, which is at work."""
    website = make()

    def run(self: object) -> None:
        raise SystemExit(0)

    monkeypatch.setattr(Service, "run", run)
    with pytest.raises(SystemExit):
        website.run()
    assert not website.page.parent.exists()


def test_a_new_configuration_is_taken_up(make: Make, tmp_path: Path) -> None:
    website = make()
    website.recover({})
    wait_for(lambda: website.pages_written)
    port = free_port()
    section = {"web_dir": str(tmp_path / "other"), "port": port, "colour_bad": "#123456"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"status_website": section}))
    website.reload_config()
    website.reloaded()
    assert website.url == f"http://127.0.0.1:{port}/"
    wait_for((tmp_path / "other" / "index.html").exists)
    assert "#123456" in page(website)


def test_what_it_shows_moves_on_without_any_change(make: Make) -> None:
    website = make()
    website.recover({})

    def written() -> float:
        found = page(website).partition('data-now="')[2].partition('"')[0]
        return float(found or 0)

    wait_for(written)
    first = written()
    assert first <= time.time()
    wait_for(lambda: written() > first)


def test_the_loop_stands_still_while_the_page_does(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it counts as unresponsive: a file system that hangs, for instance."""
    monkeypatch.setattr("darc.services.status_website.service.SEEN_SECONDS", 0.3)
    website = make()
    hanging, inside = threading.Event(), threading.Event()
    monkeypatch.setattr(
        WebDirectory, "write", lambda *_: (inside.set(), hanging.wait(patience(20.0)))
    )
    website.recover({})
    assert inside.wait(patience(10.0))
    passed = threading.Event()

    def idle() -> None:
        for _ in range(5):
            website.idle()
            time.sleep(0.1)
        passed.set()

    threading.Thread(target=idle, daemon=True).start()
    assert not passed.wait(1.5)
    hanging.set()
    assert passed.wait(patience(10.0))


def test_a_defect_ends_the_process(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    website = make()

    def fail(*arguments: object) -> None:
        raise ValueError("defect")

    monkeypatch.setattr(website.publisher.live, "touch", fail)
    website.recover({})

    def ended() -> bool:
        try:
            website.idle()
        except ValueError as error:
            return str(error) == "defect"
        return False

    wait_for(ended)
