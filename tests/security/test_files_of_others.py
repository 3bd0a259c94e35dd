"""Files that others wrote or named: none but a regular one is read, and no link shows another."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest
from default_config import CONFIG
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parents[1] / "results"))

from nodes import Node
from results_made_up import ARRIVAL, results

from darc.candidates.results.collect_results import ResultsRequest, gather
from darc.candidates.results.results_site import write_observation_page
from darc.candidates.results.trigger_lists import HEADER, write_summary
from darc.model.observation import ObservationError
from darc.model.processing_outcome import ProcessingSummary
from darc.model.results import BeamState, ObservationResults
from darc.node.read_observation import MAX_FILE, read_observation
from darc.runtime.untrusted_files import NotRegularError, open_regular, read_regular
from darc.services.base.mails import attach
from simulator.write_parsets import write_observation

RUNNING_SERVICES = ("amber_listener",)
INSTRUMENT = CONFIG.instrument
SECRET = b"nobody else may read this"


@pytest.fixture
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # a socket's path has to be short
    return tmp_path


def in_time(work: Callable[[], object]) -> None:
    """It ends: what holds a thread for ever does not."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20.0)
    assert not thread.is_alive()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.mkdir()


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


def to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def to_itself(path: Path) -> None:
    path.symlink_to(path)


def to_messages(path: Path) -> None:
    path.symlink_to("/proc/kmsg")  # would wait for the next one


NOT_FILES = (fifo, directory, unix_socket, to_device, to_itself)


@pytest.mark.parametrize("make", NOT_FILES)
def test_what_is_no_regular_file(short: Path, make: Callable[[Path], None]) -> None:
    path = short / "x.parset"
    make(path)
    caught: list[OSError] = []

    def read() -> None:
        try:
            read_regular(path, 100)
        except OSError as error:
            caught.append(error)

    in_time(read)
    assert str(path) in str(caught[0])
    assert isinstance(caught[0], NotRegularError) or make is to_itself


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x" * 100)
    (tmp_path / "link").symlink_to(path)
    assert read_regular(tmp_path / "link", 100) == b"x" * 100
    with pytest.raises(OSError, match="larger than 99 bytes"):
        read_regular(path, 99)


def test_links_below_a_directory_are_not_followed(tmp_path: Path) -> None:
    shared, private = tmp_path / "shared", tmp_path / "private"
    for one in (shared, shared / "CB00", private):
        one.mkdir()
    (private / "x").write_bytes(SECRET)
    (shared / "CB00" / "good").write_bytes(b"good")
    (shared / "CB00" / "link").symlink_to(private / "x")
    (shared / "CB01").symlink_to(private)
    (private / "x").chmod(0o600)
    os.link(private / "x", shared / "CB00" / "hard")
    (tmp_path / "way").symlink_to(shared)
    with open_regular(tmp_path / "way" / "CB00" / "good", tmp_path / "way") as file:
        assert file.read() == b"good"
    for name in ("CB00/link", "CB01/x", "CB00/hard", "CB00"):
        with pytest.raises(NotRegularError):
            open_regular(shared / name, shared)
    with pytest.raises(ValueError, match="not in the subpath"):
        open_regular(private / "x", shared)


# -- an observation's files ------------------------------------------------------------------------


def parset(directory: Path, **changes: str) -> Path:
    made = write_observation(directory, task_id="x1", source="BLANK", start=1.7e9, duration=10.0)
    text = made.parset.read_text()
    made.parset.write_text(text + "".join(f"{key} = {value}\n" for key, value in changes.items()))
    return made.parset


@pytest.mark.parametrize("make", [*NOT_FILES, to_messages])
def test_an_observations_files(short: Path, make: Callable[[Path], None]) -> None:
    """The parset itself, AMBER's configuration, and the master's parset."""
    caught: list[Exception] = []
    (short / "m" / "parset").mkdir(parents=True)
    places = (short / "x.parset", short / "a.conf", short / "m" / "parset" / "darc_master.parset")
    asked = (
        places[0],
        parset(short / "o", amber_config=str(places[1])),
        parset(short / "p", master_dir=str(short / "m")),
    )
    for place, file in zip(places, asked, strict=True):
        os.chdir(place.parent)
        make(place)

        def read(file: Path = file) -> None:
            try:
                read_observation(file, INSTRUMENT)
            except (OSError, ObservationError) as error:
                caught.append(error)

        in_time(read)
    if make in (fifo, directory, unix_socket, to_device):
        assert len(caught) == 3
        assert all("not a regular file" in str(error) for error in caught)


def test_what_cannot_be_a_path(tmp_path: Path) -> None:
    for key in ("amber_config", "master_dir"):
        for number, value in enumerate(("a\0b", "x" * 5000)):
            file = parset(tmp_path / f"{key}{number}", **{key: value})
            with pytest.raises(ObservationError, match=f":[0-9]+: {key}: .*; allowed: a path"):
                read_observation(file, INSTRUMENT)


def test_a_large_file_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.parset"
    path.write_bytes(b"\n" * (MAX_FILE + 1))
    with pytest.raises(ObservationError, match="too large"):
        read_observation(path, INSTRUMENT)


def test_a_node_answers_at_once(running_node: Node, tmp_path: Path) -> None:
    """And does what it is asked next."""
    pipe, bomb = tmp_path / "pipe.parset", tmp_path / "bomb.yaml"
    os.mkfifo(pipe)
    bomb.write_text(
        "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    )
    far = parset(tmp_path / "far", duration="1e11")
    late = parset(tmp_path / "late", startpacket="8600000000000000")
    for file, what in (
        (pipe, "a pipe, not a regular file"),
        (bomb, "more than 20000 values"),
        (far, "duration: '1e11"),
        (late, "startpacket: '860000"),
    ):
        reply = running_node.ask("start_observation", "--parset", str(file))
        assert what in str(reply).replace("100000000000.0", "1e11"), reply


# -- results ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made_results(tmp_path_factory: pytest.TempPathFactory) -> ObservationResults:
    return results(tmp_path_factory.mktemp("results"), 3)


@pytest.fixture
def private(tmp_path: Path) -> Path:
    path = tmp_path / "private"
    path.write_bytes(SECRET)
    return path


def published(site: Path) -> bytes:
    return b"".join(path.read_bytes() for path in site.rglob("*") if path.is_file())


def test_a_link_is_not_published(
    tmp_path: Path,
    private: Path,
    made_results: ObservationResults,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of candidates and of beams; the rest is."""
    shared = tmp_path / "shared"
    (shared / "CB00").mkdir(parents=True)
    (shared / "CB01").symlink_to(tmp_path)
    link, pdf, pipe = shared / "CB00" / "x.png", shared / "CB00.pdf", shared / "CB02.pdf"
    link.symlink_to(private)
    pdf.symlink_to(private)
    os.mkfifo(pipe)
    first, second, third, *_ = made_results.candidates
    candidates = (
        replace(first, picture=link),
        replace(second, picture=shared / "CB01" / private.name),
        third,
    )
    beam = next(one for one in made_results.beams if one.files)
    beams = (replace(beam, files=(pdf, pipe, *beam.files)),)
    made = replace(made_results, candidates=candidates, beams=beams)
    page = write_observation_page(tmp_path / "site", made)
    assert SECRET not in published(tmp_path / "site")
    assert third.picture
    assert third.picture.name in page.read_text()
    for path in (link, pdf, pipe, shared / "CB01" / private.name):
        assert f"'{path}'" in caplog.text


def test_what_a_beam_has_brought_is_read_without_links(
    tmp_path: Path,
    private: Path,
    made_results: ObservationResults,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    for cb in range(6):
        write_summary(shared / f"CB{cb:02d}_summary.yaml", ProcessingSummary(1, 1, 1, 1), ARRIVAL)
        (shared / f"CB{cb:02d}_triggers.txt").write_text(HEADER + "\n")
    (shared / "CB05_triggers.txt").write_text(HEADER + "\n05 9.00 1.00 1.0000 1 1 0.50\n")
    for name, make in (
        ("CB00_summary.yaml", lambda path: path.symlink_to(private)),
        ("CB01_triggers.txt", lambda path: path.symlink_to(private)),
        ("CB02_summary.yaml", fifo),
        ("CB03_triggers.txt", fifo),
        ("CB04_triggers.txt", lambda path: path.write_bytes(b"x" * (16 * 2**20 + 1))),
    ):
        (shared / name).unlink()
        make(shared / name)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "TOA1.0000_DM1.00_DS1_SNR9.png").write_bytes(SECRET)
    (shared / "CB05").symlink_to(elsewhere)
    wanted = ResultsRequest(made_results.observation, shared, tuple(range(6)), 0.0, ARRIVAL)
    gathered = gather(wanted, (), {}, (), 0.0)
    states = [beam.state for beam in gathered.beams]
    assert states == [BeamState.FAILED] * 5 + [BeamState.DONE]
    assert [one.picture for one in gathered.candidates] == [None]
    assert caplog.text.count("counts as failed") == 5
    (shared / "CB05").unlink()
    (shared / "CB05").mkdir()
    for name in ("TOA1.0000_DM1.00_DS1_SNR9.png", "TOA1.0000_DM1.00_DS1_SNR\n9.png"):
        shutil.copy(elsewhere / "TOA1.0000_DM1.00_DS1_SNR9.png", shared / "CB05" / name)
    (shown,) = gather(wanted, (), {}, (), 0.0).candidates
    assert shown.picture
    assert shown.picture.name == "TOA1.0000_DM1.00_DS1_SNR9.png"


def test_a_link_is_not_sent_by_mail(tmp_path: Path, private: Path) -> None:
    message = EmailMessage()
    message.set_content("text")
    (tmp_path / "CB00.pdf").symlink_to(private)
    os.mkfifo(tmp_path / "CB01.pdf")
    (tmp_path / "CB02.pdf").write_bytes(b"good")
    attach(message, [tmp_path / f"CB{cb:02d}.pdf" for cb in range(3)])
    assert SECRET not in bytes(message)
    assert [part.get_filename() for part in message.iter_attachments()] == [
        *("CB02.pdf", "not_attached.txt")
    ]
