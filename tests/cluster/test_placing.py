"""An observation's configuration that comes with the command, and becomes a file of the node."""

from __future__ import annotations

import ast
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodes import Node, patience

from darc.master.placed_files import FileNameError, place
from darc.model.message import MAX_MESSAGE_BYTES, Request
from darc.model.observation import ObservationError
from darc.node.command_client import ask
from darc.node.read_observation import UnknownConfigType
from simulator.write_parsets import MadeObservation, write_observation

RUNNING_SERVICES = ("amber_listener", "dada_trigger")
WHEN = "2026-01-02-03:04:05.R1"
TEXT = f"datetimesource = {WHEN}\nbeam = 0\n"
BAD_NAMES = [
    *("/etc/x.parset", "../x.parset", "a/b.parset", ".x.parset", "..", "x y.parset", "x\n.parset"),
    *("x\0.parset", "é.parset", "~.parset", "a\\b.parset", f"{'x' * 101}.parset"),
]


def files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


# -- the file --------------------------------------------------------------------------------------


def test_it_is_there_whole_and_replaces_what_was(tmp_path: Path) -> None:
    for text in (TEXT, TEXT + "x = é\n"):
        path = place(tmp_path / "parsets", "w.parset", text)
        assert path == tmp_path / "parsets" / WHEN / "w.parset"
        assert path.read_text(encoding="utf-8") == text
        assert files(tmp_path / "parsets") == [WHEN, f"{WHEN}/w.parset"]


@pytest.mark.parametrize("name", ["w.yaml", "w.yml", "W.YAML"])
def test_yaml(tmp_path: Path, name: str) -> None:
    text = f"datetimesource: {WHEN}\n"
    assert place(tmp_path, name, text).read_text() == text


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_are_not_plain(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNameError, match="is not a plain file name"):
        place(tmp_path, name, TEXT)
    assert files(tmp_path) == []


@given(st.text(max_size=20), st.sampled_from([".parset", ".yaml", ""]))
def test_any_name_stays_where_it_belongs(
    tmp_path_factory: pytest.TempPathFactory, name: str, suffix: str
) -> None:
    directory = tmp_path_factory.mktemp("place")
    text = TEXT if suffix == ".parset" else f"datetimesource: {WHEN}\n"
    try:
        path = place(directory, name + suffix, text)
    except (FileNameError, UnknownConfigType):
        assert files(directory) == []
    else:
        assert files(directory) == [WHEN, f"{WHEN}/{name}{suffix}"]
        assert path.parent == directory / WHEN


@pytest.mark.parametrize("name", ["books.json", "w", "w.parset.txt", "w.parset~x"])
def test_kinds_that_are_not_known(tmp_path: Path, name: str) -> None:
    with pytest.raises((UnknownConfigType, FileNameError)):
        place(tmp_path, name, TEXT)
    assert files(tmp_path) == []


@pytest.mark.parametrize("where", ["", "../../etc", "/etc", f"{WHEN}/../../x", "2026-01-02"])
def test_a_place_that_is_none(tmp_path: Path, where: str) -> None:
    with pytest.raises(ObservationError, match=r"w.parset:1: datetimesource: "):
        place(tmp_path, "w.parset", f"datetimesource = {where}\n")
    assert files(tmp_path) == []


def test_text_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        place(tmp_path, "w.parset", TEXT + "x = \ud800\n")
    assert files(tmp_path) == []


def test_one_that_cannot_be_written_leaves_what_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place(tmp_path, "w.parset", TEXT)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        place(tmp_path, "w.parset", TEXT + "x = y\n")
    assert path.read_text() == TEXT
    assert files(tmp_path) == [WHEN, f"{WHEN}/w.parset"]


# -- the message -----------------------------------------------------------------------------------


def test_content_is_for_messages_that_say_their_protocol() -> None:
    plain = {"command": "start_observation", "payload": "w.parset", "content": TEXT}
    request = Request.from_plain({"protocol": 1, **plain})
    assert (request.payload, request.content) == ("w.parset", TEXT)
    with pytest.raises(ValueError, match="content is for messages that say their protocol"):
        Request.from_plain(plain)
    with pytest.raises(ValueError, match="content is not text"):
        Request.from_plain({"protocol": 1, **plain, "content": ["x"]})


# -- a node ----------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path: Path) -> MadeObservation:
    return write_observation(
        tmp_path / "obs", task_id="placed", source="R1", start=time.time() + 3600, duration=60
    )


def order(verb: str, name: str, content: str | None) -> Any:
    reply, reason = ask(patience(10), None, f"{verb}_observation", name, content=content)
    assert reply, reason
    return reply


def test_a_node_starts_and_stops_what_comes_with_the_command(
    here: Node, made: MadeObservation
) -> None:
    text = made.parset.read_text()
    assert order("start", "w.parset", text) == {
        "status": "Success",
        "message": "Observation started",
    }
    (path,) = (here.home / "parsets").glob("*/w.parset")
    assert path.read_text() == text
    assert "placed" in here.ask("get_attr", "observations")
    assert "no copy" not in here.log("darc_master")
    path.unlink()
    assert order("stop", "w.parset", text)["message"] == "Stopped observation"
    assert path.read_text() == text
    assert order("abort", "w.parset", text)["status"] == "Warning"
    assert "placed" not in here.ask("get_attr", "observations")


@pytest.mark.parametrize("verb", ["start", "stop", "abort"])
@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_node_refuses_other_names(
    here: Node, made: MadeObservation, verb: str, name: str
) -> None:
    before = files(here.home / "parsets")
    reply = order(verb, name, made.parset.read_text())
    assert reply["status"] == "Error"
    assert reply["message"]["error"].endswith("is not a plain file name")
    assert files(here.home / "parsets") == before


def test_a_node_says_what_is_wrong_with_it(here: Node) -> None:
    assert order("start", "w.txt", TEXT)["message"] == "Failed: unknown config file type"
    error = order("start", "w.parset", "datetimesource = x\nbeam = 0\n")["message"]["error"]
    assert error.startswith("w.parset:1: datetimesource: 'x' is invalid; allowed: a time such as")
    error = order("start", "w.parset", TEXT)["message"]["error"]
    assert f"{here.home}/parsets/{WHEN}/w.parset: startpacket: missing" in error
    reply, reason = ask(patience(10), None, "start_observation", content=TEXT)
    assert reply == {"status": "Error", "message": {"error": "Payload missing"}}, reason


def test_a_message_of_more_than_1_mib_is_refused(here: Node) -> None:
    before = files(here.home / "parsets")
    error = order("start", "big.parset", TEXT + "#" * MAX_MESSAGE_BYTES)["message"]["error"]
    assert error == f"Cannot parse message: longer than {MAX_MESSAGE_BYTES} bytes"
    assert files(here.home / "parsets") == before


def test_old_clients_cannot_place(make_node: Callable[..., Node], made: MadeObservation) -> None:
    """Not even from an address that may change things."""
    node = make_node(control={"allow_unsigned_from": ["127.0.0.1"]})
    node.configure(darc_master={"services_master_mix": [], "services_worker_mix": ["processor"]})
    node.call("darc_start_master").check_returncode()
    old = {"service": "None", "command": "start_observation", "payload": "w.parset"}
    with socket.create_connection(("127.0.0.1", node.port), timeout=patience(10)) as client:
        client.sendall(repr({**old, "content": made.parset.read_text()}).encode())
        reply = ast.literal_eval(client.recv(1024).decode())
    assert reply["message"]["error"].startswith("Cannot parse message: content is for messages")
    assert list((node.home / "parsets").glob("*/*")) == []
    with socket.create_connection(("127.0.0.1", node.port), timeout=patience(10)) as client:
        client.sendall(repr({**old, "payload": str(made.parset)}).encode())
        reply = ast.literal_eval(client.recv(1024).decode())
    assert reply["message"] == "Observation started"
