"""Our client against masters that are slow, strange or not there: one line of reason, and None."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nodes import PYTHON, free_port, patience

from darc.cli.darc_parser import make_parser, parset_text
from darc.control import main, send_command
from darc.node.command_client import ask

Handler = Callable[[socket.socket], None]
REPLY = {"status": "Success", "message": "x"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host on which no node was started."""
    monkeypatch.setenv("DARC_HOME", str(tmp_path))
    monkeypatch.setenv("DARC_HOSTNAME", "nobody")
    return tmp_path


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], int]]:
    """Serve one connection with a function: its port."""
    listeners = []
    over = threading.Event()

    def start(handle: Handler) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def accept() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(2**20)
                handle(connection)

        threading.Thread(target=accept, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    over.set()
    for listener in listeners:
        listener.close()


def sends(data: bytes) -> Handler:
    return lambda connection: connection.sendall(data)


def test_a_reply_of_any_length_in_parts(serve: Callable[[Handler], int]) -> None:
    reply = {"status": "Success", "message": {"long": "é" * 300_000}}

    def handle(connection: socket.socket) -> None:
        data = json.dumps(reply).encode() + b"\n"
        for start in range(0, len(data), 100_000):
            connection.sendall(data[start : start + 100_000])

    assert send_command(5, None, "status", host="127.0.0.1", port=serve(handle)) == reply


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Failed to connect to DARC master: it closed the connection without an answer"),
        (b"HTTP/1.1 400\r\n", "Failed to talk to DARC master: not the answer of a DARC master"),
        (b"[1]\n", "Failed to talk to DARC master: not the answer of a DARC master"),
        (b"{}\n", "Failed to talk to DARC master: not a reply"),
        (b'{"status": "Success"}\n', "Failed to talk to DARC master: not a reply"),
        (b'{"status": "Suc', "Failed to talk to DARC master: not the answer of a DARC master"),
        (b"\xff\xfe\n", "Failed to talk to DARC master: not the answer of a DARC master"),
    ],
)
def test_strange_answers(
    serve: Callable[[Handler], int],
    capsys: pytest.CaptureFixture[str],
    data: bytes,
    reason: str,
) -> None:
    assert send_command(5, None, "x", host="127.0.0.1", port=serve(sends(data))) is None
    out = capsys.readouterr().out
    assert out.startswith(reason)
    assert out.count("\n") == 1


@pytest.mark.parametrize("reply", [{"status": "Success", "message": {"processor": "it's up"}}])
def test_the_answer_of_an_old_master_is_understood(
    serve: Callable[[Handler], int], capsys: pytest.CaptureFixture[str], reply: dict[str, object]
) -> None:
    """It reads our line as the Python literal that it is, too, and answers with one."""
    port = serve(sends(str(reply).encode()))
    assert send_command(5, "processor", "status", host="127.0.0.1", port=port) == reply
    assert capsys.readouterr().out == f"status: Success\nmessage: {reply['message']}\n"
    port = serve(sends(b"{'status': __import__('os').getpid()}"))
    assert send_command(5, None, "status", host="127.0.0.1", port=port) is None
    assert "not the answer of a DARC master" in capsys.readouterr().out


def test_what_is_near_is_suggested(
    serve: Callable[[Handler], int], capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str) -> str:
        error = json.dumps({"status": "Error", "message": {"error": "x"}}).encode() + b"\n"
        port = str(serve(sends(error)))
        assert main(["--host", "127.0.0.1", "--port", port, *words]) == 1
        return capsys.readouterr().err

    assert said("--service", "lofar_triger", "status") == (
        "darc: no service lofar_triger: did you mean lofar_trigger?\n"
    )
    assert said("--service", "dada_trigger", "get_attr", "latncy") == (
        "darc: no attribute latncy of dada_trigger: did you mean latency?\n"
    )
    assert said("get_attr", "queue_depth") == (
        "darc: no attribute queue_depth: did you mean queue_depths?\n"
    )
    assert said("--service", "processor", "status") == ""
    assert said("--service", "quite_another", "status") == ""
    for word, near in (("wach", "watch"), ("statsu", "status"), ("restrat", "restart")):
        with pytest.raises(SystemExit):
            main([word])
        error = capsys.readouterr().err
        assert f"no command {word!r}: did you mean {near}" in error
        assert "lofar_enable" not in error


@pytest.mark.parametrize("service", ["all", "processor"])
def test_what_concerns_the_node_takes_no_service(
    service: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--service", service, "stop_master"])
    assert ended.value.code == 2
    assert "concerns the whole node" in capsys.readouterr().err


def test_a_reader_that_has_enough_is_no_error() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(2**20)
            reply = {"status": "Success", "message": "x" * 2**20}
            connection.sendall(json.dumps(reply).encode() + b"\n")

    threading.Thread(target=accept, daemon=True).start()
    port = listener.getsockname()[1]
    code = f"from darc.control import main; main(['--port', '{port}', 'get_attr', 'overview'])"
    with subprocess.Popen(
        [PYTHON, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    listener.close()


def test_a_reason_sent_before_the_message_was_read_is_heard() -> None:
    """What a master does that has too many connections."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(json.dumps(REPLY).encode() + b"\n")

    threading.Thread(target=accept, daemon=True).start()
    port = int(listener.getsockname()[1])
    long = "x" * 30 * 2**20  # more than the kernel takes before the connection is closed
    assert send_command(10, long, "x", host="127.0.0.1", port=port) == REPLY
    listener.close()


def test_the_timeout_is_of_the_whole_exchange(
    serve: Callable[[Handler], int], capsys: pytest.CaptureFixture[str]
) -> None:
    over = threading.Event()

    def trickle(connection: socket.socket) -> None:
        while not over.wait(0.05):
            connection.sendall(b" ")

    began = time.monotonic()
    assert send_command(0.5, None, "x", host="127.0.0.1", port=serve(trickle)) is None
    assert 0.4 < time.monotonic() - began < patience(1.5)
    over.set()
    assert capsys.readouterr().out == ("Failed to connect to DARC master: no answer within 0.5 s\n")


def test_a_challenge_that_cannot_be_answered_is_explained(
    serve: Callable[[Handler], int], capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    port = serve(sends(b'{"challenge": "00"}\n'))
    assert send_command(5, None, "x", host="127.0.0.1", port=port) is None
    assert capsys.readouterr().out == (
        "Failed to talk to DARC master: the command has to be signed, and cannot be:"
        f" {home}/run/nobody/secret: No such file or directory\n"
    )


def test_a_damaged_endpoint_file_is_named(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    path = home / "run" / "nobody" / "endpoint.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert send_command(5, None, "x") is None
    assert str(path) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ({"status": "Success", "message": "x"}, 0),
        ({"status": "Warning", "message": "x"}, 0),
        ({"status": "Error", "message": "x"}, 1),
    ],
)
def test_exit_statuses(
    serve: Callable[[Handler], int],
    capsys: pytest.CaptureFixture[str],
    reply: dict[str, str],
    status: int,
) -> None:
    for option in ((), ("--json",)):
        port = serve(sends(json.dumps(reply).encode() + b"\n"))
        words = [*option, "--host", "127.0.0.1", "--port", str(port), "lofar_status"]
        assert main(words) == status
        out = capsys.readouterr().out
        if option:
            assert json.loads(out) == reply
        else:
            assert out == f"status: {reply['status']}\nmessage: x\n"


def test_exit_status_without_a_reply(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host", "127.0.0.1", "--port", str(free_port()), "lofar_status"]) == 1
    assert "Connection refused" in capsys.readouterr().out


def test_a_payload_here_is_sent_as_an_absolute_path(
    serve: Callable[[Handler], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    listener = socket.create_server(("127.0.0.1", 0))
    received: list[dict[str, str]] = []

    def accept() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                received.append(json.loads(connection.recv(65536)))
                connection.sendall(json.dumps(REPLY).encode() + b"\n")

    threading.Thread(target=accept, daemon=True).start()
    port = str(listener.getsockname()[1])
    for option in ("--parset", "--config"):
        words = ["--host", "127.0.0.1", "--port", port, option, "a.parset", "stop_observation"]
        assert main(words) == 0
    listener.close()
    assert [request["payload"] for request in received] == [f"{tmp_path}/a.parset"] * 2


def test_a_question_loads_neither_yaml_nor_numpy() -> None:
    code = (
        "import sys; from darc.control import main;"
        "main(['--port', '1', 'lofar_status']);"
        "heavy = {'yaml', 'numpy', 'astropy', 'msgpack', 'multiprocessing', 'psutil'};"
        "heavy.add('dataclasses');"
        "sys.exit(', '.join(heavy & set(sys.modules)))"
    )
    result = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=False)
    assert result.stderr == "\n"  # of the empty list


def test_an_answer_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darc.node.command_client.MAX_REPLY", 2**20)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):  # it hangs up
                while True:
                    connection.sendall(b"x" * 65536)

        talking = threading.Thread(target=talk)
        talking.start()
        reply, reason = ask(
            patience(20.0), None, "get_attr version", port=listener.getsockname()[1]
        )
        talking.join()
    assert reply is None
    assert "an answer of more than 1048576 bytes" in reason


def test_an_observation_is_described_key_by_key() -> None:
    words = ["--key", "taskid=a1", "--key", "start=now", "--key", "x = a=b", "start_observation"]
    options = make_parser().parse_args(words)
    name, text = parset_text(options.key, now=1790000000.25)
    assert name == "a1.parset"
    assert text == "taskid = a1\nstart = 1790000000.250\nx = a=b\n"


@pytest.mark.parametrize("word", ["taskid", "=1", "a=1\nb=2", "a=1#2"])
def test_a_key_that_is_no_line_of_a_parset_is_refused(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(["--key", word, "start_observation"])
    assert "is not KEY=VALUE" in capsys.readouterr().err
