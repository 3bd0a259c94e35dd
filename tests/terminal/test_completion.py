"""``darc completion`` in real shells."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from nodes import SCRIPTS

from darc.control import COMMANDS, TERMINAL
from darc.terminal.completion import Words, bash, fish, zsh
from darc.terminal.run import run_word

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
        timeout=60,
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
        timeout=60,
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
    assert offers("logs", "dar") == ["darc_master"]
    assert offers("logs", "darc_master", "--fo") == ["--follow"]
    assert offers("logs", "all", "--host", "arts002") == ["arts002"]
    assert offers("logs", "--grep", "") == []
    assert offers("watch", "--o") == ["--once"]
    assert offers("get_attr", "queue") == ["queue_depths"]
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
        timeout=60,
        check=True,
    )
    assert result.stdout == "complete -F _darc darc\n"


def test_every_option_of_every_word_is_in_it() -> None:
    words = Words.of(None)
    for script in (bash(words), zsh(words)):
        for options in words.options.values():
            assert all(option in script for option in options)
    assert all(
        f"-l '{option[2:]}'" in fish(words)
        for options in words.options.values()
        for option in options
        if option.startswith("--")
    )


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_it(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    path = tmp_path / "script"
    path.write_text(printed(tmp_path, shell))
    subprocess.run([shell, "-n", str(path)], check=True, timeout=60)


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
