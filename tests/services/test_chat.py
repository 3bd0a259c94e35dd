"""Messages through apprise: to servers that take them, and to such as behave badly."""

from __future__ import annotations

import base64
import importlib.util
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import free_port, patience

sys.path.insert(0, str(Path(__file__).parents[1] / "alarms"))

from receivers import Answer, Webhook, closes, drips, hangs

from darc.config.settings import ChatSettings
from darc.delivery import chat
from darc.delivery.chat import NO_ADDRESS, NOT_INSTALLED, ChatMessage
from darc.delivery.outbox import DeliveryError
from simulator.mailbox import Mailbox

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("apprise") is None, reason="the extra `chat` is not installed"
)
CANARY = "c4n4ryt0k3n"
MESSAGE = ChatMessage("Burst: S/N 21.5", "DM 560.2 pc/cm^3\nand more")


@pytest.fixture
def server() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


def settings(tmp_path: Path, timeout: float = 30.0, **targets: str) -> ChatSettings:
    path = tmp_path / "targets"
    path.touch(0o600)
    path.write_text("".join(f"{name} = {url}\n" for name, url in targets.items()))
    return ChatSettings(str(path), timeout, None)


def json_url(server: Webhook, more: str = "") -> str:
    return f"json://user:{CANARY}@127.0.0.1:{server.port}/{CANARY}{more}"


def test_each_kind_of_target_gets_the_message(tmp_path: Path, server: Webhook) -> None:
    with Mailbox() as mailbox:
        given = settings(
            tmp_path,
            program=json_url(server),
            team=f"mmost://127.0.0.1:{server.port}/{CANARY}",
            room=f"matrix://user:{CANARY}@127.0.0.1:{server.port}/?mode=slack",
            night=f"mailto://127.0.0.1:{mailbox.port}?from=darc@example.org&to=night@example.org",
        )
        names = ["program", "team", "room", "night"]
        assert chat.send(MESSAGE, names, given) == dict.fromkeys(names, "")
        (letter,) = mailbox.received
    assert letter.recipients == ("night@example.org",)
    assert letter.message["Subject"] == MESSAGE.title
    posted = dict(zip(server.asked, server.received, strict=True))
    room, program, team = (posted[path] for path in sorted(posted))
    assert (program["title"], program["message"]) == (MESSAGE.title, MESSAGE.text)
    assert room["attachments"][0]["text"] == MESSAGE.text
    assert team["text"].split("\r\n", 1) == [MESSAGE.title, MESSAGE.text]
    # Nothing of elsewhere is named, which the target would fetch.
    assert "github" not in json.dumps(server.received)


def test_a_picture_goes_with_it(tmp_path: Path, server: Webhook) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(100)
    message = ChatMessage("a", "b", picture)
    assert chat.send(message, ["program"], settings(tmp_path, program=json_url(server))) == {
        "program": ""
    }
    (attached,) = server.received[0]["attachments"]
    assert base64.b64decode(attached["base64"]) == picture
    assert attached["mimetype"] == "image/png"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (500, "HTTP 500"),
        (404, "HTTP 404"),
        (302, "it redirects, which is not followed"),
        (307, "it redirects, which is not followed"),
        (closes, "ConnectionError"),
        (hangs, "not taken within LIMIT s"),
        (drips, "not taken within LIMIT s"),
    ],
)
def test_what_is_not_taken_is_said_without_a_secret(
    tmp_path: Path,
    server: Webhook,
    answer: Answer,
    why: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """And one target that is away keeps no other from its message."""
    caplog.set_level(logging.DEBUG)
    server.answers = [answer]
    # The process shares its two cores with others; it is waited for only where nobody answers.
    limit = patience(1.5 if "LIMIT" in why else 20.0)
    with Webhook() as other:
        given = settings(tmp_path, limit, bad=json_url(server), good=json_url(other))
        began = time.monotonic()
        answers = chat.send(MESSAGE, ["bad", "good"], given)
        assert other.received
    assert answers == {"bad": why.replace("LIMIT", f"{limit:g}"), "good": ""}
    assert time.monotonic() - began < limit + chat.START_SECONDS
    assert len(server.asked) == 1
    assert CANARY not in caplog.text + "".join(capfd.readouterr())


def test_a_mail_server_that_refuses(tmp_path: Path) -> None:
    with Mailbox() as mailbox:
        mailbox.refused = None
        url = f"mailto://127.0.0.1:{mailbox.port}?from=darc@example.org&to=night@example.org"
        assert chat.send(MESSAGE, ["night"], settings(tmp_path, night=url)) == {"night": "SMTP 550"}


def test_nobody_there(tmp_path: Path) -> None:
    urls = (
        f"json://{CANARY}@127.0.0.1:{free_port()}/",
        f"mailto://127.0.0.1:{free_port()}?from=a@b.org",
    )
    given = settings(tmp_path, program=urls[0], night=urls[1])
    answers = chat.send(MESSAGE, ["program", "night"], given)
    assert answers == dict.fromkeys(["program", "night"], "Connection refused")


def test_an_address_that_asks_for_redirections_gets_none(tmp_path: Path, server: Webhook) -> None:
    server.answers = [307]
    given = settings(tmp_path, bad=json_url(server, "?redirect=yes"))
    assert chat.send(MESSAGE, ["bad"], given) == {"bad": "it redirects, which is not followed"}
    assert len(server.asked) == 1


def test_proxies_of_the_environment_are_not_used(
    tmp_path: Path, server: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert chat.send(MESSAGE, ["a"], settings(tmp_path, a=json_url(server))) == {"a": ""}


@pytest.mark.parametrize(
    "url", ["nonsense", f"nosuch://{CANARY}", f"slack://{CANARY}", "file:///etc"]
)
def test_what_is_no_address(tmp_path: Path, url: str, server: Webhook) -> None:
    given = settings(tmp_path, bad=url, good=json_url(server))
    assert chat.troubles(["bad", "good"], given) == {"bad": NO_ADDRESS, "good": ""}
    assert chat.send(MESSAGE, ["bad", "good"], given) == {"bad": NO_ADDRESS, "good": ""}
    assert len(server.asked) == 1  # nothing is sent to examine one


def test_what_is_wrong_with_the_file(tmp_path: Path) -> None:
    given = settings(tmp_path, a=f"json://{CANARY}@127.0.0.1/")
    path = Path(given.targets or "")
    assert chat.send(MESSAGE, ["b"], given) == {"b": f"{path} has no line for it"}
    with path.open("a") as file:
        file.write(f"a = json://{CANARY}@127.0.0.2/")
    with pytest.raises(DeliveryError, match="targets:2: line 1 has this name, too"):
        chat.send(MESSAGE, ["a"], given)
    path.chmod(0o640)
    with pytest.raises(DeliveryError, match=r"others can read it \(mode 0640\)"):
        chat.send(MESSAGE, ["a"], given)
    path.unlink()
    with pytest.raises(DeliveryError, match="No such file"):
        chat.send(MESSAGE, ["a"], given)
    with pytest.raises(DeliveryError, match=r"chat\.targets is null"):
        chat.send(MESSAGE, ["a"], ChatSettings(None, 10.0, None))


def test_a_text_longer_than_a_service_takes_comes_in_parts(tmp_path: Path, server: Webhook) -> None:
    """Mattermost takes 4000 characters: an alarm about many hosts may have more."""
    lines = [f"line {number:03d} \u0436\u6f22 of many" for number in range(400)]
    url = f"mmost://127.0.0.1:{server.port}/{CANARY}"
    given = settings(tmp_path, team=url, short=f"{url}?overflow=truncate")
    assert chat.send(ChatMessage("ALARM", "\n".join(lines)), ["team"], given) == {"team": ""}
    texts = [posted["text"] for posted in server.received]
    assert len(texts) > 1
    assert max(map(len, texts)) <= 4000
    told = "".join(texts)
    assert [line for line in lines if line not in told] == []
    assert chat.send(ChatMessage("ALARM", "\n".join(lines)), ["short"], given) == {"short": ""}
    assert len(server.received) == len(texts) + 1


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os; os.kill(os.getpid(), 9)", "apprise's process was ended by signal 9"),
        ("import os; os._exit(3)", "apprise's process ended with status 3"),
        ("raise ValueError", NOT_INSTALLED),
    ],
)
def test_a_process_that_dies_is_no_target_that_is_away(
    tmp_path: Path, server: Webhook, monkeypatch: pytest.MonkeyPatch, code: str, why: str
) -> None:
    (tmp_path / "apprise.py").write_text(f"{code}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert chat.send(MESSAGE, ["a"], settings(tmp_path, a=json_url(server))) == {"a": why}


def test_without_apprise_it_is_said(
    tmp_path: Path, server: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "apprise.py").write_text("raise ImportError('none')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answers = chat.send(MESSAGE, ["a"], settings(tmp_path, a=json_url(server)))
    assert answers == {"a": NOT_INSTALLED}


@pytest.mark.parametrize("where", ["Apprise.instantiate", "Apprise.notify", "AppriseAsset"])
def test_no_secret_leaves_by_a_defect_of_apprise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither in an error, nor a log, a traceback, or what it prints."""
    name, _, method = where.partition(".")
    stub = f"""
import logging, sys
real = sys.path.pop(0)
del sys.modules["apprise"]
import apprise
sys.path.insert(0, real)
def broken(*words, **options):
    logging.getLogger("apprise").critical("%s", "{CANARY}")
    print("{CANARY}", file=sys.stderr)
    raise KeyError("{CANARY}")
owner = getattr(apprise, "{name}")
setattr(*((owner, "{method}") if "{method}" else (apprise, "{name}")), broken)
sys.modules["apprise"] = apprise
"""
    (tmp_path / "apprise.py").write_text(stub)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    url = f"json://{CANARY}@127.0.0.1:{free_port()}/"
    (answer,) = chat.send(MESSAGE, ["a"], settings(tmp_path, patience(2.0), a=url)).values()
    assert answer
    assert CANARY not in answer + "".join(capfd.readouterr())


def test_no_secret_is_on_the_command_line_or_in_the_environment(
    tmp_path: Path, server: Webhook
) -> None:
    seen: list[bytes] = []

    def look(handler: object) -> None:
        for path in Path("/proc").glob("[0-9]*"):
            try:
                words = (path / "cmdline").read_bytes()
                if b"darc.delivery.chat_process" in words:
                    seen.append(words + (path / "environ").read_bytes())
            except OSError:
                continue

    server.answers = [look]
    chat.send(MESSAGE, ["a"], settings(tmp_path, a=json_url(server)))
    assert seen
    assert not any(CANARY.encode() in one for one in seen)


def test_nothing_is_left_of_a_process_that_hangs(tmp_path: Path, server: Webhook) -> None:
    server.answers = [hangs]
    chat.send(MESSAGE, ["a"], settings(tmp_path, 1.0, a=json_url(server)))
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    words = [Path(f"/proc/{one}/cmdline").read_bytes() for one in children]
    assert not any(b"chat_process" in one for one in words)
