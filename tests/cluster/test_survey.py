"""Survey control: real nodes of a cluster, each with an address of its own on this machine."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from nodes import PYTHON, Node, node, patience, wait_for

from darc.cli.observation_script import main
from darc.cluster import survey
from darc.cluster.survey import NodeAnswer, SurveyResult, observe, plan_observation
from darc.config.config import Config, ConfigError
from darc.model.observation import ObservationError
from darc.model.parset import embedded_parset, parse_parset
from darc.node.node_config import load_config

SCRIPT = Path(__file__).parents[2] / "bin" / "darc_observation"
#: Beams 0, 1, 2. Nobody listens at the last.
MASTER, *WORKERS = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"
UP = (MASTER, *WORKERS[:2])
REFUSED = "Failed to connect to DARC master: [Errno 111] Connection refused"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def cluster(test_run: str) -> Iterator[dict[str, Node]]:
    """A master node and two workers; leave them as you found them."""
    with ExitStack() as stack:
        nodes: dict[str, Node] = {}
        for name in UP:
            made = stack.enter_context(node(test_run, name, control={"bind": name}))
            nodes[name] = made
            made.configure(
                cluster={"master": MASTER, "workers": WORKERS},
                darc_master={
                    "port": nodes[MASTER].port,
                    "services_master_mix": ["processor"],
                    "services_worker_mix": ["processor"],
                },
            )
            made.run_dir.mkdir(parents=True, mode=0o700)
            secret = made.run_dir / "secret"
            secret.write_text("0123456789abcdef" * 4)
            secret.chmod(0o600)
        for made in nodes.values():
            made.call("darc_start_master").check_returncode()
        yield nodes


@pytest.fixture
def here(cluster: dict[str, Node], monkeypatch: pytest.MonkeyPatch) -> dict[str, Node]:
    """The cluster, its master node the one that this process finds."""
    for name in ("DARC_HOME", "DARC_HOSTNAME"):
        monkeypatch.setenv(name, cluster[MASTER].environment[name])
    monkeypatch.delenv("DARC_CONFIG", raising=False)
    return cluster


@pytest.fixture
def config(here: dict[str, Node]) -> Config:
    return load_config()


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a telescope's parset, of an observation in an hour."""
    (tmp_path / "amber.conf").write_text("opencl_device=[1, 2, 3]\n")

    def write(beams: str = "[0, 1]", **changes: Any) -> Path:
        start = datetime.fromtimestamp(time.time() + 3600, UTC)
        entries = {
            "task.taskID": f"survey{next(_numbers)}",
            "task.source.name": "B1933+16",
            "task.startTime": f"{start:%Y-%m-%d %H:%M:%S}",
            "task.duration": 60,
            "arts.survey.beams": beams,
            "ARTSSurveyControl.amber_dir": f"{tmp_path}/{{datetimesource}}/amber",
            "ARTSSurveyControl.output_dir": f"{tmp_path}/{{datetimesource}}",
            "ARTSSurveyControl.amber_config": "{home}/amber.conf",
            **changes,
        }
        path = tmp_path / "telescope.parset"
        path.write_text("".join(f"{key} = {value}\n" for key, value in entries.items()))
        return path

    return write


def task_of(parset: Path) -> str:
    return str(parse_parset(parset.read_text(), "t").values["task.taskID"])


def state_on(of: Node, parset: Path) -> str | None:
    answer = of.ask("get_attr", "observations")
    states: dict[str, str] = json.loads(answer.split(" = ", 1)[1].replace("'", '"'))
    return states.get(task_of(parset))


def answers(account: SurveyResult) -> dict[str, tuple[bool, str, str]]:
    return {one.node: (one.is_in, one.status, one.message) for one in account.nodes}


def everyone(*answer: Any) -> dict[str, tuple[Any, ...]]:
    return dict.fromkeys(UP, answer)


def test_start_and_stop(here: dict[str, Node], write: Write, tmp_path: Path) -> None:
    parset = write()
    account = observe("start", parset, home=str(tmp_path))
    assert account.complete
    assert answers(account) == everyone(True, "Success", "Observation started")
    assert [(one.node, one.beam) for one in account.nodes] == list(
        zip(UP, (None, 0, 1), strict=True)
    )
    assert account.task_id == task_of(parset)
    names = ("darc_master.parset", "darc_CB00.parset", "darc_CB01.parset")
    for (beam, made), name in zip(enumerate(here.values(), -1), names, strict=True):
        assert state_on(made, parset) == "pending"
        directory = made.home / "parsets" / account.datetimesource
        assert [path.name for path in directory.iterdir()] == [name]
        placed = parse_parset((directory / name).read_text(), name)
        assert placed.values.get("beam", -1) == beam
        carried = embedded_parset(placed)
        assert carried
        assert carried.values == parse_parset(parset.read_text(), "t").values
    # Again, as one does when a node was not in.
    again = f"Observation {account.task_id} is running already"
    account = observe("start", parset, home=str(tmp_path))
    assert account.complete
    assert answers(account) == everyone(True, "Error", again)
    account = observe("stop", parset, home=str(tmp_path))
    assert answers(account) == everyone(True, "Success", "Stopped observation")
    assert {state_on(made, parset) for made in here.values()} == {None}
    account = observe("abort", parset, home=str(tmp_path))
    not_running = f"Observation {account.task_id} is not running"
    assert answers(account) == everyone(True, "Warning", not_running)


def test_abort(here: dict[str, Node], write: Write, tmp_path: Path) -> None:
    parset = write()
    observe("start", parset, home=str(tmp_path))
    account = observe("abort", parset, home=str(tmp_path))
    assert answers(account) == everyone(True, "Success", "Aborted observation")
    assert {state_on(made, parset) for made in here.values()} == {None}


def test_the_config_that_is_given_is_used(config: Config, write: Write, tmp_path: Path) -> None:
    fewer = replace(config, cluster=replace(config.cluster, workers=(WORKERS[0],)))
    parset = write()
    account = observe("start", parset, fewer, home=str(tmp_path))
    assert [one.node for one in account.nodes] == [MASTER, WORKERS[0]]
    assert account.without_node == (1,)
    assert observe("abort", parset, fewer, home=str(tmp_path)).complete


def test_who_cannot_be_reached_is_not_in_and_keeps_nobody_out(
    config: Config, here: dict[str, Node], write: Write, tmp_path: Path
) -> None:
    parset = write("[0, 1, 2]")
    account = observe("start", parset, home=str(tmp_path))
    assert not account.complete
    assert answers(account) == {
        **everyone(True, "Success", "Observation started"),
        WORKERS[2]: (False, "", REFUSED),
    }
    # One that accepts, and never says a word.
    with socket.create_server((WORKERS[2], config.master.port)):
        limit = patience(2.0)
        account = observe("abort", parset, home=str(tmp_path), timeout=limit)
    assert not account.complete
    assert answers(account) == {
        **everyone(True, "Success", "Aborted observation"),
        WORKERS[2]: (False, "", f"Failed to connect to DARC master: no answer within {limit:g} s"),
    }


def test_a_node_that_refuses_is_not_in(here: dict[str, Node], write: Write) -> None:
    # This node has no such file, the master needs none.
    parset = write("[0]", **{"ARTSSurveyControl.amber_config": "/none/amber.conf"})
    account = observe("start", parset)
    master, worker = account.nodes
    assert (master.is_in, worker.is_in, worker.status) == (True, False, "Error")
    what = "amber_config: '/none/amber.conf' is invalid; allowed: a file that can be read (No such"
    assert what in worker.message
    assert not account.complete
    observe("abort", parset, nodes=[MASTER])


def test_one_that_was_stopped_and_is_not_over_is_not_started_again(
    here: dict[str, Node], write: Write, tmp_path: Path
) -> None:
    """It takes nothing in any more: that is not being in."""
    now = datetime.fromtimestamp(time.time(), UTC)
    parset = write("[0]", **{"task.startTime": f"{now:%Y-%m-%d %H:%M:%S}"})
    only = {"nodes": [MASTER], "home": str(tmp_path)}
    observe("start", parset, **only)
    wait_for(lambda: state_on(here[MASTER], parset) == "running", 20.0)
    # Its processor does not run, and so is not done with it.
    here[MASTER].darc("--service", "processor", "stop")
    observe("stop", parset, **only)
    (answer,) = observe("start", parset, **only).nodes
    message = f"Observation {task_of(parset)} was stopped before, and is not over yet"
    assert answer == NodeAnswer(MASTER, None, False, "Error", message)
    assert observe("abort", parset, **only).complete


def test_a_host_on_its_own_gets_the_first_beams(
    make_node: Callable[..., Node],
    monkeypatch: pytest.MonkeyPatch,
    write: Write,
    tmp_path: Path,
) -> None:
    alone = make_node("alone")
    alone.configure(darc_master={"services_master_mix": [], "services_worker_mix": ["processor"]})
    alone.call("darc_start_master").check_returncode()
    for name in ("DARC_HOME", "DARC_HOSTNAME"):
        monkeypatch.setenv(name, alone.environment[name])
    parset = write("[3, 5]")
    account = observe("start", parset, home=str(tmp_path))
    assert account.nodes == (NodeAnswer("alone", 3, True, "Success", "Observation started"),)
    assert account.without_node == (5,)
    directory = alone.home / "parsets" / account.datetimesource
    assert [path.name for path in directory.iterdir()] == ["darc_CB03.parset"]
    assert observe("abort", parset, home=str(tmp_path)).complete


# -- without nodes -------------------------------------------------------------------------------


def test_all_are_told_at_once(
    config: Config, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(4, timeout=patience(20))

    def ask(*arguments: Any, values: bool = False) -> tuple[dict[str, Any], str]:
        together.wait()
        return {"status": "Success", "message": "x"}, ""

    monkeypatch.setattr(survey, "ask", ask)
    assert observe("start", write("[0, 1, 2]"), config).complete


def test_a_name_that_takes_for_ever_to_look_up(
    config: Config, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = threading.Event()

    def ask(
        timeout: float, *arguments: Any, values: bool = False
    ) -> tuple[dict[str, Any] | None, str]:
        if WORKERS[0] in arguments:
            found.wait(patience(30))
            return None, "late"
        return {"status": "Success", "message": "x"}, ""

    monkeypatch.setattr(survey, "ask", ask)
    monkeypatch.setattr(survey, "GRACE_SECONDS", 0.05)
    limit = patience(0.5)
    account = observe("start", write(), config, timeout=limit)
    found.set()
    assert answers(account) == {
        MASTER: (True, "Success", "x"),
        WORKERS[0]: (False, "", f"no answer within {limit:g} s"),
        WORKERS[1]: (True, "Success", "x"),
    }


def test_nobody_is_told_when_the_parset_or_the_nodes_are_wrong(
    config: Config, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "ask", lambda *_: pytest.fail("a node was told"))
    with pytest.raises(ObservationError, match=r"telescope.parset:5: arts.survey.beams"):
        observe("start", write("[0, 77]"), config)
    with pytest.raises(ConfigError, match="not in the cluster: arts001"):
        observe("start", write(), config, nodes=["arts001"])
    with pytest.raises(ObservationError, match=f"not observed with {WORKERS[2]}"):
        observe("start", write(), config, nodes=[MASTER, WORKERS[2]])
    with pytest.raises(FileNotFoundError):
        observe("start", tmp_path / "none.parset", config)
    (tmp_path / "bad").write_bytes(b"\xff")
    with pytest.raises(ObservationError, match=r"bad: file: not UTF-8; allowed: text in UTF-8"):
        observe("start", tmp_path / "bad", config)
    (tmp_path / "bad").write_bytes(b"\n" * (2**20 + 1))
    with pytest.raises(ObservationError, match=r"bad: file: too large"):
        observe("start", tmp_path / "bad", config)
    with pytest.raises(ValueError, match="'begin' is not one of start, stop, abort"):
        observe("begin", write(), config)  # type: ignore[arg-type]


def test_some_nodes_alone(config: Config, write: Write) -> None:
    plan = plan_observation(write(), config, nodes=[WORKERS[1]])
    (share,) = plan.shares
    assert (share.node, share.beam, share.name) == (WORKERS[1], 1, "darc_CB01.parset")
    # The others are observed all the same.
    assert parse_parset(share.text, "n").values["beams"] == (0, 1)


# -- the command ---------------------------------------------------------------------------------


def command(of: Node, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYTHON, str(SCRIPT), *words],
        env=of.environment,
        capture_output=True,
        text=True,
        timeout=patience(60),
        check=False,
    )


def test_the_command(here: dict[str, Node], write: Write, tmp_path: Path) -> None:
    parset = write()
    words = (str(parset), "--home", str(tmp_path))
    result = command(here[MASTER], "start", *words)
    assert (result.returncode, result.stderr) == (0, "")
    *lines, last = result.stdout.splitlines()
    assert lines == [
        "127.0.0.1  master  in  Observation started",
        "127.0.0.2  CB00    in  Observation started",
        "127.0.0.3  CB01    in  Observation started",
    ]
    assert last.startswith("start of ")
    assert last.endswith(f".B1933+16 ({task_of(parset)}): 3 of 3 nodes in")
    result = command(here[MASTER], "stop", *words, "--json", "--nodes", *UP)
    account = json.loads(result.stdout)
    assert (account["action"], account["complete"], account["without_node"]) == ("stop", True, [])
    assert account["nodes"][1] == {
        **{"node": WORKERS[0], "beam": 0, "in": True, "status": "Success"},
        "message": "Stopped observation",
    }
    result = command(here[MASTER], "stop", *words)
    assert result.returncode == 0
    assert "in  Warning: Observation" in result.stdout


def test_the_command_says_who_is_not_in(
    here: dict[str, Node], write: Write, tmp_path: Path
) -> None:
    parset = write("[0, 1, 2, 8, 9]")
    words = (str(parset), "--home", str(tmp_path), "--timeout", "5")
    result = command(here[MASTER], "start", *words)
    assert result.returncode == 1
    assert f"127.0.0.4  CB02    NOT IN  {REFUSED}" in result.stdout
    assert "3 of 4 nodes in" in result.stdout
    assert result.stderr == "warning: 2 beams are observed without a node: CB08, CB09\n"
    command(here[MASTER], "abort", *words)


def test_a_dry_run_tells_nobody(
    here: dict[str, Node],
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(survey, "ask", lambda *_: pytest.fail("a node was told"))
    parset = write("[0]")
    monkeypatch.setattr(sys, "argv", ["x", "start", str(parset), "--dry-run"])
    assert main() == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:4] == [
        WORKERS[0],
        "CB00",
        "would",
        "get",
    ]
    monkeypatch.setattr(sys, "argv", ["x", "start", str(parset), "--dry-run", "--json"])
    assert main() == 0
    nodes = json.loads(capsys.readouterr().out)["nodes"]
    assert [entry["name"] for entry in nodes] == ["darc_master.parset", "darc_CB00.parset"]
    assert parse_parset(nodes[1]["content"], "n").values["beam"] == 0


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["begin", "x.parset"], 2),
        (["start"], 2),
        (["start", "x.parset", "--timeout", "0"], 2),
        (["start", "none.parset"], 1),
    ],
)
def test_wrong_usage(
    here: dict[str, Node],
    words: list[str],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["darc_observation", *words])
    try:
        found = main()
    except SystemExit as error:
        found = int(error.code or 0)
    assert found == status
    said = capsys.readouterr().err
    if status == 1:
        assert said.endswith("none.parset: No such file or directory\n")
        assert "Errno" not in said
    else:
        assert said.startswith("usage: darc_observation")
