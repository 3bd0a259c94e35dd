"""The edges of programs: options, home, what writes and who listens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from darc.cli.darc_parser import make_parser
from darc.config.host_names import same_host

ROOT = Path(__file__).resolve().parents[1]
#: A user without an entry, as in a container: the tests' own Python need not be for others to read.
NOBODY = """
import pwd
def missing(uid):
    raise KeyError(uid)
pwd.getpwuid = missing
"""


@pytest.mark.parametrize(
    "words",
    [
        ["--timeout", "inf"],
        ["--timeout", "nan"],
        ["--timeout", "-1"],
        ["--timeout", "1e30"],
        ["--timeout", "soon"],
        ["--port", "99999"],
        ["--port", "0"],
        ["--port", "-1"],
        ["--port", "1e3"],
        ["--port", "9" * 5000],
    ],
)
def test_options_have_limits(words, capsys):
    with pytest.raises(SystemExit) as ended:
        make_parser().parse_args(["status", *words])
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {words[0]}: " in said
    assert "number from " in said
    assert len(said) < 200


@pytest.mark.parametrize(
    "words",
    [
        ["bin/darc_start_master"],
        ["bin/darc_start_all_services"],
        ["bin/darc_stop_all_services"],
        ["bin/darc_stop_master"],
        ["bin/darc_kill_all"],
        ["bin/darc_systemd_unit"],
        ["bin/darc_observation", "start", "a.parset"],
        ["bin/start_full_pipeline"],
        ["bin/stop_full_pipeline"],
        ["-m", "darc.control", "--service", "all", "status"],
        ["-m", "darc.control", "logs", "all"],
        ["-m", "darc.control", "observations"],
    ],
)
def test_without_a_home_there_is_one_line(words):
    """Neither HOME nor an entry of the user."""
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    begin = (
        f"{NOBODY}\nimport runpy, sys\nsys.path.insert(0, {str(ROOT)!r})\nwords = {words!r}\n"
        "sys.argv = words[1:] if words[0] == '-m' else words\n"
    )
    run = (
        "runpy.run_module(words[1], run_name='__main__')"
        if words[0] == "-m"
        else f"runpy.run_path({str(ROOT / words[0])!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", begin + run],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    said = (done.stdout + done.stderr).strip()
    assert done.returncode == 1
    assert "set DARC_HOME" in said
    assert said.count("\n") <= 1, said  # darc_kill_all says which stop_timeout it takes


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("arts041", "ARTS041", True),
        ("arts041", "arts041.apertif", True),
        ("ARTS041.apertif", "arts041", True),
        ("arts041.apertif", "arts041.Apertif.", True),
        ("arts041.apertif", "arts041.lofar", False),
        ("arts041", "arts04", False),
    ],
)
def test_names_of_the_same_host(one, other, same):
    assert same_host(one, other) is same


CLOSED = [">&-", "2>&-", "<&-", "<&- >&- 2>&-"]


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("words", ["bin/darc_process --help", "-m darc.control samples --help"])
def test_closed_streams_are_no_reason_to_fail(words, closed):
    ended = subprocess.run(
        f"{sys.executable} {words} {closed}",
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_what_is_opened_does_not_become_a_closed_stream():
    """Else a node's log goes into a socket or a file of the program that started it."""
    program = (
        "import os\nfrom darc.runtime.program import as_program\n"
        "@as_program\ndef main():\n    assert os.open('/etc/hosts', os.O_RDONLY) > 2\n"
        "    child = os.popen('echo heard').read()\n    return 7 if child == 'heard\\n' else 1\n"
        "raise SystemExit(main())\n"
    )
    ended = subprocess.run(
        f'{sys.executable} -c "$PROGRAM" <&- >&- 2>&-',
        shell=True,
        cwd=ROOT,
        env={**os.environ, "PROGRAM": program},
        check=False,
    )
    assert ended.returncode == 7


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_a_full_disk_does_not_take_is_told_in_one_line(unbuffered):
    program = (
        "from darc.runtime.program import as_program\nraise SystemExit(as_program(print)('words'))"
    )
    ended = subprocess.run(
        f'{sys.executable} -c "{program}" >/dev/full',
        shell=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr == "-c: the output cannot be written: [Errno 28] No space left on device\n"
