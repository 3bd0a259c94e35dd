"""Orders to other nodes: what goes over the line, and what may come back."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from nodes import patience, wait_for

from darc import __version__
from darc.cluster import node_orders, remote, ssh
from darc.cluster.node_orders import NodePhase, NodeProgress, carry_out_on
from darc.cluster.node_table import ProgressTable, summary
from darc.cluster.remote import MARK, RemoteOrder, RemoteResult
from darc.cluster.ssh import UnreachedError, carry_out
from darc.config import typed
from darc.config.config import Config
from darc.node.node_config import load_config

SECRET = "0123456789abcdef" * 4
STOP = RemoteOrder("stop")
ACTIONS = ("start", "stop", "place secret", "tell secret")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
ORDERS = st.builds(RemoteOrder, st.sampled_from(ACTIONS), st.none() | TEXTS)
RESULTS = st.builds(
    RemoteResult,
    error=TEXTS,
    lines=st.lists(TEXTS).map(tuple),
    notes=st.lists(TEXTS).map(tuple),
    version=TEXTS,
    hostname=TEXTS,
    role=TEXTS,
    master=st.none() | TEXTS,
    began=NUMBERS,
    time=NUMBERS,
    secret=st.none() | TEXTS,
)
_DEFECT = """
import darc.node.secret

def replace_secret(path, secret):
    raise LookupError("a defect")

darc.node.secret.replace_secret = replace_secret
"""
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=10,
)


# -- what goes over the line -----------------------------------------------------------------------


@given(ORDERS)
def test_an_order_is_one_line(order: RemoteOrder) -> None:
    line = json.dumps(typed.to_plain(order))
    assert "\n" not in line
    assert typed.from_plain(RemoteOrder, json.loads(line), "order") == order


@given(RESULTS, st.lists(st.text(st.characters(exclude_characters="\r\n", codec="ascii"))), TEXTS)
def test_a_result_is_found_among_what_a_login_shell_says(
    result: RemoteResult, before: list[str], after: str
) -> None:
    said = "".join(f"{line}\n" for line in before if not line.startswith(MARK))
    last = "" if MARK in after else after
    assert RemoteResult.from_output(f"{said}\n{result.to_line()}\n{last}") == result


@given(st.text())
def test_what_is_no_result_is_none(output: str) -> None:
    if MARK not in output:
        assert RemoteResult.from_output(output) is None


@given(JSON | st.text().filter(lambda text: "\n" not in text))
def test_a_result_that_cannot_be_read_is_an_error(plain: Any) -> None:
    # Told by what it has to have.
    if isinstance(plain, dict) and isinstance(plain.get("error"), str):
        return
    with pytest.raises(ValueError, match=r"result|Expecting|Extra data|Invalid|Unterminated"):
        RemoteResult.from_output(MARK + json.dumps(plain))


def test_another_version_may_say_more() -> None:
    plain = {**typed.to_plain(RemoteResult("", version="9.9")), "mood": "fine"}
    result = RemoteResult.from_output(MARK + json.dumps(plain))
    assert result
    assert result.version == "9.9"


def test_a_secret_is_not_in_a_text_of_an_order_or_result() -> None:
    for item in (RemoteOrder("start", SECRET), RemoteResult("", secret=SECRET)):
        assert SECRET not in f"{item} {item!r}"


# -- what comes in ---------------------------------------------------------------------------------


def give(monkeypatch: pytest.MonkeyPatch, line: bytes) -> RemoteResult:
    """Run the program on a line in this process: what it answers, and nothing beside."""
    out, err = io.StringIO(), io.StringIO()
    with monkeypatch.context() as here:
        here.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line)))
        here.setattr(sys, "stdout", out)
        here.setattr(sys, "stderr", err)
        here.setattr(remote, "carry_out", lambda order: pytest.fail(f"carried out: {order}"))
        assert remote.main() == 1
    assert err.getvalue() == ""
    (only,) = out.getvalue().splitlines()[1:]
    result = RemoteResult.from_output(only)
    assert result
    return result


def is_order(line: bytes) -> bool:
    try:
        typed.from_plain(RemoteOrder, json.loads(line), "order")
    except ValueError:
        return False
    return True


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary() | st.text().map(str.encode) | JSON.map(lambda plain: json.dumps(plain).encode()))
def test_rubbish_is_refused(monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    if not is_order(line.partition(b"\n")[0] + b"\n"):
        result = give(monkeypatch, line)
        assert result.error.startswith("not an order: ")
        assert (result.lines, result.notes, result.secret) == ((), (), None)


@pytest.mark.parametrize(
    "order",
    [
        f'{{"action": "start", "secret": "{SECRET}"',
        f'{{"action": "start", "secret": ["{SECRET}"]}}',
        f'{{"action": "start", "secrte": "{SECRET}"}}',
        f'{{"action": "{SECRET}"}}',
        f'"{SECRET}"',
        f'{{"action": "start", "secret": "{SECRET}{"x" * remote.MAX_ORDER_BYTES}"}}',
        "[" * (remote.MAX_ORDER_BYTES - 1),
        "",
    ],
)
def test_rubbish_is_not_echoed(monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    result = give(monkeypatch, order.encode() + b"\n")
    assert result.error.startswith("not an order: ")
    assert SECRET not in result.to_line()


def run_program(
    home: Path, order: RemoteOrder, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the program as ssh does."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "darc.cluster.remote"],
        input=json.dumps(typed.to_plain(order)) + "\n",
        env={**os.environ, "DARC_HOME": str(home), "DARC_HOSTNAME": "here", **variables},
        capture_output=True,
        text=True,
        timeout=patience(60),
        check=False,
    )


def program(home: Path, order: RemoteOrder) -> tuple[RemoteResult, str]:
    """Its result, and all that it wrote."""
    done = run_program(home, order)
    result = RemoteResult.from_output(done.stdout)
    assert result
    assert done.returncode == (1 if result.error else 0)
    return result, done.stdout + done.stderr


def test_the_secret_is_placed_and_told(tmp_path: Path) -> None:
    asked = time.time()
    made, _ = program(tmp_path, RemoteOrder("tell secret"))
    file = tmp_path / "run" / "here" / "secret"
    assert made.secret == file.read_text().strip()
    assert (made.hostname, made.role, made.master) == ("here", "standalone", None)
    assert asked <= made.began <= made.time <= time.time()
    again, _ = program(tmp_path, RemoteOrder("tell secret"))
    assert again.secret == made.secret

    result, said = program(tmp_path, RemoteOrder("place secret", SECRET))
    assert (result.error, result.secret, SECRET in said) == ("", None, False)
    assert file.read_text() == f"{SECRET}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    inode = file.stat().st_ino
    program(tmp_path, RemoteOrder("place secret", SECRET))
    assert file.stat().st_ino == inode

    result, said = program(tmp_path, RemoteOrder("place secret", "too short"))
    assert result.error == "not installed: not a secret of at least 32 characters"
    assert "too short" not in said
    assert file.read_text() == f"{SECRET}\n"
    file.write_bytes(b"\xff" * 40)
    result, _ = program(tmp_path, RemoteOrder("tell secret"))
    assert result.error == f"{file}: not a text in UTF-8"
    file.chmod(0o640)
    result, _ = program(tmp_path, RemoteOrder("tell secret"))
    assert "others can read it; repair with: chmod 600" in result.error


def test_a_broken_configuration_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("darc_master: {port: x}\n")
    result, said = program(tmp_path, RemoteOrder("start", SECRET))
    assert result.error.startswith(f"{tmp_path}/config.yaml:1: darc_master.port: 'x' is not")
    assert (result.version, result.hostname) == (__version__, "")
    assert SECRET not in said
    assert not (tmp_path / "run").exists()


def test_a_traceback_shows_no_secret(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_DEFECT)
    order = RemoteOrder("start", SECRET)
    done = run_program(tmp_path, order, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.endswith("\nLookupError: a defect\n")
    assert "Traceback" in done.stderr
    assert SECRET not in done.stdout + done.stderr


# -- ssh, played by a script -----------------------------------------------------------------------

_SSH = """#!/bin/sh
echo "$*" >> {directory}/called
cat > {directory}/order
{behaviour}
"""


class FakeSsh:
    """An `ssh` that does what it is told to, whichever node is meant."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def behave(self, behaviour: str) -> None:
        path = self._directory / "ssh"
        path.write_text(_SSH.format(directory=self._directory, behaviour=behaviour))
        path.chmod(0o755)

    def answer(self, result: RemoteResult, before: str = "") -> None:
        (self._directory / "answer").write_text(f"{before}\n{result.to_line()}\n")
        self.behave(f"cat {self._directory}/answer")

    @property
    def calls(self) -> list[str]:
        path = self._directory / "called"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def order(self) -> str:
        return (self._directory / "order").read_text()


@pytest.fixture
def fake_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSsh:
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(ssh, "clients", ssh.SshClients())
    return FakeSsh(directory)


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """The configuration of a cluster's master node, here."""
    monkeypatch.setenv("DARC_HOME", str(tmp_path))
    monkeypatch.setenv("DARC_HOSTNAME", "head")
    monkeypatch.delenv("DARC_CONFIG", raising=False)

    def make(**cluster: Any) -> Config:
        section = {"master": "head", "workers": ["node[1-4]"], **cluster}
        (tmp_path / "config.yaml").write_text(json.dumps({"cluster": section}))
        return load_config()

    return make


def worker(**changes: Any) -> RemoteResult:
    """What a worker answers where all is well."""
    now = time.time()
    fine = RemoteResult("", ("fine",), role="worker", master="head", began=now, time=now)
    return replace(fine, **changes)


def one(config: Config, order: RemoteOrder = STOP, timeout: float = 60.0) -> NodeProgress:
    (progress,) = carry_out_on(config, ["node2"], order, timeout, lambda _: None)
    return progress


def test_the_words_of_ssh(configured: Callable[..., Config], fake_ssh: FakeSsh) -> None:
    fake_ssh.answer(worker())
    config = configured(
        user="arts", ssh_port=2222, ssh_options=["-F", "/x y"], python="/opt/py", darc_home="/d h"
    )
    assert one(config, RemoteOrder("start", SECRET)).is_good
    (call,) = fake_ssh.calls
    assert call.startswith("-F /x y -o BatchMode=yes -o ConnectTimeout=10 ")
    ending = " -p 2222 -l arts -- node2 env 'DARC_HOME=/d h' /opt/py -P -m darc.cluster.remote"
    assert call.endswith(ending)
    # The secret goes where nobody else looks.
    assert json.loads(fake_ssh.order) == {"action": "start", "secret": SECRET}
    assert one(configured()).is_good
    assert fake_ssh.calls[1].endswith(f" -- node2 {sys.executable} -P -m darc.cluster.remote")


def test_what_a_shell_says_before_does_not_matter(
    configured: Callable[..., Config], fake_ssh: FakeSsh
) -> None:
    fake_ssh.answer(worker(), before="Welcome!\n\x1b]0;node2\x07")
    assert one(configured()).detail == "fine"


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        ("echo welcome; echo noise >&2; echo 'no route' >&2; exit 255", "no route"),
        ("echo 'sh: python: not found'; exit 127", "sh: python: not found"),
        ("exit 3", "status 3"),
        (
            f'echo \'{MARK}{{"error": 1, "secret": "{SECRET}"}}\'',
            "node2: its reply cannot be read: result: error: 1 is not a text; allowed: a text",
        ),
        (
            f'echo \'{MARK}{{"secret": "{SECRET}\'',
            "node2: its reply cannot be read: Unterminated string starting at: line 1 column 12"
            " (char 11)",
        ),
    ],
)
def test_why_there_is_no_answer(
    configured: Callable[..., Config], fake_ssh: FakeSsh, behaviour: str, why: str
) -> None:
    fake_ssh.behave(behaviour)
    progress = one(configured())
    assert (progress.phase, progress.detail) == (NodePhase.UNREACHED, why)
    assert len(fake_ssh.calls) == 1  # nobody is asked twice


def test_a_node_that_goes_silent_later_is_given_up(
    configured: Callable[..., Config], fake_ssh: FakeSsh
) -> None:
    fake_ssh.behave("exec sleep 60")
    progress = one(configured(), timeout=0.5)
    assert (progress.phase, progress.detail) == (
        NodePhase.UNREACHED,
        "node2: no answer within 0.5 s",
    )


def test_without_ssh(
    configured: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert one(configured()).detail == "ssh: No such file or directory"


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        ({"version": "0.0.9"}, f"has DARC 0.0.9, here it is {__version__}"),
        ({"role": "master"}, "is a worker in the configuration here, and a master in its own"),
        ({"master": "node1"}, "the master is head here, and node1 in its configuration"),
        ({"master": None}, "the master is head here, and none in its configuration"),
    ],
)
def test_what_differs_is_remarked(
    configured: Callable[..., Config], fake_ssh: FakeSsh, changes: dict[str, Any], remark: str
) -> None:
    fake_ssh.answer(worker(**changes))
    progress = one(configured())
    assert (progress.phase, progress.remarks) == (NodePhase.DONE, (remark,))
    assert not progress.is_good
    # One that failed may do so just because of that.
    fake_ssh.answer(worker(error="it failed", **changes))
    failed = one(configured())
    assert (failed.phase, failed.detail, failed.remarks) == (
        NodePhase.FAILED,
        "it failed",
        (remark,),
    )


@pytest.mark.parametrize(("offset", "way"), [(100.0, "ahead of"), (-100.0, "behind")])
def test_another_clock_is_remarked(
    configured: Callable[..., Config], fake_ssh: FakeSsh, offset: float, way: str
) -> None:
    now = time.time() + offset
    fake_ssh.answer(worker(began=now, time=now))
    (remark,) = one(configured()).remarks
    assert remark.endswith(f" s or more {way} the one here")
    # That it takes long, on the way or there, is no difference between clocks.
    now = time.time()
    fake_ssh.answer(worker(began=now + 1.0, time=now - 100.0))
    assert one(configured()).is_good


def test_notes_are_told_and_no_failure(
    configured: Callable[..., Config], fake_ssh: FakeSsh
) -> None:
    config = configured(paralel=3)
    (warning,) = config.warnings
    # What is said of the configuration here was said already.
    fake_ssh.answer(worker(notes=(f"warning: {warning}", "warning: another")))
    progress = one(config)
    assert progress.notes == ("warning: another",)
    assert progress.is_good
    assert progress.summary == "fine; warning: another"


def test_so_many_at_a_time(
    configured: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    two, three = threading.Barrier(2, timeout=patience(30)), threading.Barrier(3, timeout=0.5)
    crowded = threading.Event()

    def carry_out(*_: Any) -> RemoteResult:
        two.wait()  # each has another one beside it
        with suppress(threading.BrokenBarrierError):
            three.wait()
            crowded.set()
        return worker()

    monkeypatch.setattr(node_orders.ssh, "carry_out", carry_out)
    hosts = [f"node{number}" for number in (1, 2, 3, 4)]
    seen: list[NodeProgress] = []
    ended = carry_out_on(configured(parallel=2), hosts, STOP, 60.0, seen.append)
    assert not crowded.is_set()
    assert [one.host for one in ended] == hosts
    assert sorted(one.host for one in seen if one.ended) == hosts


def test_a_defect_is_not_swallowed(
    configured: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> RemoteResult:
        raise LookupError("a defect")

    monkeypatch.setattr(node_orders.ssh, "carry_out", broken)
    with pytest.raises(LookupError, match="a defect"):
        one(configured())


def test_who_hangs_up_starts_nobody_any_more(
    configured: Callable[..., Config], fake_ssh: FakeSsh
) -> None:
    fake_ssh.behave("exec sleep 60")
    config = configured(parallel=1)
    ended: list[NodeProgress] = []
    hosts = ["node1", "node2"]
    arguments = (config, hosts, RemoteOrder("start", SECRET), 600.0, ended.append)
    thread = threading.Thread(target=carry_out_on, args=arguments, daemon=True)
    thread.start()
    wait_for(lambda: fake_ssh.calls and fake_ssh.order)
    ssh.clients.hang_up()
    thread.join(patience(30))
    assert not thread.is_alive()
    assert len(fake_ssh.calls) == 1
    assert {one.phase for one in ended if one.ended} == {NodePhase.UNREACHED}
    with pytest.raises(UnreachedError, match="interrupted"):
        carry_out(config, "node1", STOP, 60.0)


# -- what is shown ---------------------------------------------------------------------------------


def test_the_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = [NodeProgress("head", "master"), NodeProgress("node1", "worker")]
    with ProgressTable(waiting, "Trying") as table:
        table.update(replace(waiting[0], phase=NodePhase.AT_WORK))
        table.update(replace(waiting[0], phase=NodePhase.DONE, seconds=1.25, detail="fine"))
        failed = replace(
            waiting[1], phase=NodePhase.FAILED, detail="not\nthe end", remarks=("odd",)
        )
        table.update(failed)
    table.update(replace(waiting[0], phase=NodePhase.UNREACHED))  # too late to be shown
    out = capsys.readouterr().out
    assert out == "head   done            1.2 s  fine\nnode1  failed          0.0 s  not; odd\n"


def test_the_summary_names_whom_it_concerns() -> None:
    ended = [
        NodeProgress("head", "master", NodePhase.DONE, notes=("a note",)),
        NodeProgress("node1", "worker", NodePhase.FAILED, detail="because\nof this"),
        NodeProgress("node2", "worker", NodePhase.UNREACHED, detail="no route"),
        NodeProgress("node3", "worker", NodePhase.UNREACHED, detail="no route"),
        NodeProgress("node4", "worker", NodePhase.DONE, remarks=("its clock",)),
    ]
    assert summary(ended, "run").splitlines() == [
        "2 of 5 nodes run.",
        "failed: node1",
        "  node1: because",
        "    of this",
        "not reached: node2 node3",
        "  node2: no route",
        "  node3: no route",
        "head: a note",
        "node4: its clock",
    ]
    assert [one.is_good for one in ended] == [True, False, False, False, False]
