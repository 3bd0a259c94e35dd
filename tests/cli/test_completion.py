"""``darc completion`` in real shells."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from nodes import SCRIPTS, patience

from darc.cli.completion import Completions, bash, fish, zsh
from darc.cli.darc_parser import TERMINAL
from darc.cli.interactive import run_word
from darc.model.vocabulary import COMMANDS

CONFIG = """\
darc_master: {services_master_mix: [lofar_trigger, processor, '$(touch made)']}
cluster: {master: arts041, workers: ['arts[001-003]']}
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    """What is printed on the master node of a cluster, for bash."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    return printed(tmp_path, "bash")


def printed(home: Path, shell: str) -> str:
    environment = {**os.environ, "DARC_HOME": str(home), "DARC_HOSTNAME": "arts041"}
    environment.pop("DARC_CONFIG", None)
    result = subprocess.run(
        [str(SCRIPTS / "darc"), "completion", shell],
        env=environment,
        capture_output=True,
        text=True,
        timeout=patience(60),
        check=True,
    )
    assert result.stderr == ""
    return result.stdout


def completed(script: str, directory: Path, *words: str) -> list[str]:
    """What bash offers for the last of the words, with no program to be found."""
    program = f"""{script}
    PATH=/nowhere
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _darc && printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    result = subprocess.run(
        [shutil.which("bash") or "bash", "-c", program, "bash", *words],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=patience(60),
        check=False,
    )
    assert result.stderr == ""
    return [line for line in result.stdout.splitlines() if line]


def test_bash_completes_commands_options_services_hosts_and_files(
    script: str, tmp_path: Path
) -> None:
    (tmp_path / "my obs.parset").touch()

    def offers(*words: str) -> list[str]:
        return completed(script, tmp_path, "darc", *words)

    assert set(offers("")) >= {*COMMANDS, *TERMINAL, "--service", "--help"}
    assert offers("stop_") == ["stop_observation", "stop_master"]
    assert offers("--host", "") == ["localhost", "all", "arts041", "arts001", "arts002", "arts003"]
    assert offers("--host", "arts041", "do") == ["doctor"]
    assert offers("--service", "lo") == ["lofar_trigger"]
    assert offers("--service", "all", "sta") == ["status", "start", "start_observation"]
    assert offers("logs", "dar") == ["darc_master", "darc_monitor"]
    assert offers("logs", "darc_master", "--fo") == ["--follow"]
    assert offers("logs", "all", "--host", "arts002") == ["arts002"]
    assert offers("logs", "--grep", "") == []
    assert offers("watch", "--o") == ["--once"]
    assert offers("get_attr", "queue") == ["queue_depths"]
    assert offers("--service", "lofar_trigger", "get_attr", "pack") == ["packets_waiting"]
    assert offers("get_attr", "--service", "lofar_trigger", "late")[0] == "latency"
    assert offers("--service", "processor", "get_attr", "pack") == []
    assert offers("--service", "processor", "get_attr", "fat") == ["fates"]
    assert offers("get_attr", "--js") == ["--json"]
    assert offers("status", "--s") == ["--service"]
    assert offers("completion", "")[:3] == ["bash", "zsh", "fish"]
    assert offers("--parset", "my") == ["my obs.parset"]
    assert "for-another" not in script
    assert not (tmp_path / "made").exists()


def test_bash_knows_it(script: str) -> None:
    result = subprocess.run(
        ["bash", "-c", f"{script}\ncomplete -p darc"],
        capture_output=True,
        text=True,
        timeout=patience(60),
        check=True,
    )
    assert result.stdout == "complete -F _darc darc\n"


def test_every_option_of_every_word_is_in_it() -> None:
    words = Completions.of(None)
    for script in (bash(words), zsh(words)):
        for options in words.options.values():
            assert all(option in script for option in options)
    assert all(
        f"-l '{option[2:]}'" in fish(words)
        for options in words.options.values()
        for option in options
        if option.startswith("--")
    )


def test_every_attribute_is_in_it() -> None:
    """Those that a running service would answer."""
    words = Completions.of(None)
    for name, known in words.attributes.items():
        assert known, name
        for script in (bash(words), zsh(words), fish(words)):
            assert " ".join(known) in script
    assert {"losses", "overview", "queue_depths"} <= set(words.attributes[""])
    assert "waiting" not in words.attributes[""]
    assert "send_events" in words.attributes["voevent_generator"]
    assert "mails_waiting" in words.attributes["processor"]  # of that of the master node


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_it(shell: str, other_scripts: dict[str, Path]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    subprocess.run([shell, "-n", str(other_scripts[shell])], check=True, timeout=patience(60))


@pytest.fixture(scope="module")
def other_scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By shell, what is printed on the master node of a cluster."""
    home = tmp_path_factory.mktemp("home")
    (home / "config.yaml").write_text(CONFIG)
    paths = {}
    for shell in ("zsh", "fish"):
        paths[shell] = home / f"darc.{shell}"
        paths[shell].write_text(printed(home, shell))
    return paths


#: What zsh's own `compadd` is told, for the words of a line; the last is being typed.
ZSH = """
compadd() { print -rl -- "$@" }
_describe() { print -rl -- ${(P)2} }
compdef() { }
source "$1"
shift
words=("$@") CURRENT=$# PREFIX=$words[-1]
_darc
"""


@pytest.mark.parametrize(
    ("typed", "offered", "not_offered"),
    [
        (("",), ("watch:",), ("--timeout",)),
        (("--",), ("--timeout", "--service"), ()),
        (("completion", ""), ("bash", "fish"), ("--help",)),
        (("--service", "processor", "get_attr", ""), ("clusters_waiting",), ("--timeout",)),
        (("logs", "--"), ("--since", "--follow"), ()),
    ],
)
def test_zsh_offers_options_once_one_is_begun(
    other_scripts: dict[str, Path],
    typed: tuple[str, ...],
    offered: tuple[str, ...],
    not_offered: tuple[str, ...],
) -> None:
    """Of two TABs, the second takes the first that is offered."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not here")
    result = subprocess.run(
        ["zsh", "-f", "-c", ZSH, "zsh", str(other_scripts["zsh"]), "darc", *typed],
        capture_output=True,
        text=True,
        timeout=patience(60),
        check=True,
    )
    assert result.stderr == ""
    assert all(word in result.stdout for word in offered), result.stdout
    assert not any(word in result.stdout for word in not_offered), result.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("darc wat", ["watch"]),
        ("darc --service processor get_attr clusters_w", ["clusters_waiting"]),
        ("darc completion ", ["bash", "fish", "zsh"]),
        ("darc --host arts04", ["arts041"]),
    ],
)
def test_fish_offers_what_is_configured(
    tmp_path: Path, other_scripts: dict[str, Path], typed: str, offered: list[str]
) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not here")
    result = subprocess.run(
        ["fish", "--no-config", "-c", f"source {other_scripts['fish']}; complete -C '{typed}'"],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=patience(60),
        check=True,
    )
    assert [line.partition("\t")[0] for line in result.stdout.splitlines()] == offered


def test_without_a_configuration_that_can_be_read_the_commands_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("darc_master: {port: none}\n")
    monkeypatch.setenv("DARC_HOME", str(tmp_path))
    monkeypatch.delenv("DARC_CONFIG", raising=False)
    assert run_word("completion", ["bash"]) == 0
    said = capsys.readouterr()
    assert "stop_master" in said.out
    assert "config.yaml:1: " in said.err
