"""`darc_process` as people run it: a file, its triggers, and a page; and everything wrong."""

from __future__ import annotations

import bz2
import gzip
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import psutil
import pytest
import yaml
from beams import HEADER, N_CHANNELS, burst, samples, settings
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from nodes import patience, wait_for
from process_here import RunHere

from darc.candidates.cluster_boxes import ClusterBoxes
from darc.candidates.file_observation import describe_file, header_pointing, oddities
from darc.candidates.past_triggers import read_and_cluster
from darc.candidates.pool_tasks import ReadingTask
from darc.candidates.results.candidate_file import read_candidate
from darc.candidates.results.trigger_lists import read_triggers
from darc.cli.process_file import files_of_before
from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.filterbank_reader import Filterbank
from darc.data_files.filterbank_writer import FilterbankWriter
from darc.runtime.paths import packaged
from darc.science.dedispersion import Band
from darc.science.same_burst import Scales
from darc.science.single_pulse import dm_stages
from darc.trigger_files.trigger_tables import TriggerTableError, is_amber, read_table

COMMAND = [sys.executable, str(Path(__file__).resolve().parents[2] / "bin" / "darc_process")]
PULSE = burst(3.0, dm=300.0)
AMBER = (
    "# beam_id batch_id sample_id integration_step compacted_integration_steps time DM_id DM"
    " compacted_DMs SNR\n3 2 238 4 2 3.0 600 300.0 10 30.0\n"
)
DARC = "#snr dm time downsamp sb\n30.00 300.00 3.000 4 3\n"
PRESTO = "# DM      Sigma      Time (s)     Sample    Downfact\n 300.00  30.00  3.000000  3000  4\n"
HEIMDALL = "30.0\t3000\t3.000\t2\t120\t300.0\t15\t2998\t3004\n"


def write(path: Path, header: FilterbankHeader = HEADER, seconds: float = 6.0) -> Path:
    """A filterbank with a pulse in it."""
    with FilterbankWriter(path, header) as file:
        file.append(samples([PULSE], round(seconds / header.tsamp), header))
    return path


@pytest.fixture
def fil(tmp_path: Path) -> Path:
    return write(tmp_path / "a file.fil")


def run(*words: object, **keys: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, words)]
    keys = {"capture_output": True, "text": True, "timeout": 110, **keys}
    return subprocess.run(command, check=False, **keys)


def triggers(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "triggers.txt"
    path.write_text(text)
    return path


@pytest.mark.parametrize("table", [DARC, PRESTO, HEIMDALL])
def test_remarks_may_come_first(tmp_path: Path, table: str) -> None:
    path = triggers(tmp_path, f"# of the night of 12 May\n\n# beams 0 to 3\n{table}# the end\n")
    assert not is_amber(path)
    assert read_table(path, 1e-3).candidates["snr"].tolist() == [30.0]
    assert is_amber(triggers(tmp_path, f"# of the night of 12 May\n{AMBER}"))


def test_what_may_be_meant_for_a_header_is_named(tmp_path: Path) -> None:
    path = triggers(tmp_path, "# of a night\n# S/N DM t w\n30 300 3.0 4\n")
    with pytest.raises(TriggerTableError, match=r"triggers\.txt:2: '# S/N DM t w': not a header"):
        read_table(path, 1e-3)


@pytest.mark.parametrize(
    ("header", "same"), [("DM Sigma DM", "DM and DM"), ("DM Sigma SNR", "Sigma and SNR")]
)
def test_a_column_that_is_named_twice_is_refused(tmp_path: Path, header: str, same: str) -> None:
    path = triggers(tmp_path, f"# {header} Time (s) Sample Downfact\n300 30 31 3.0 3000 4\n")
    with pytest.raises(TriggerTableError, match=f"triggers.txt:1: .*columns {same} are equal"):
        read_table(path, 1e-3)


def test_a_file_that_ends_within_a_sample_is_told(fil: Path, tmp_path: Path) -> None:
    with fil.open("ab") as file:
        file.write(bytes(5))
    told: list[str] = []
    with Filterbank(fil) as filterbank:
        describe_file(filterbank, tmp_path, told.append)
    assert any(f"ends with 5 of a sample's {N_CHANNELS} bytes: it is cut short" in a for a in told)


def test_triggers_of_which_none_can_be_used_are_no_night_without_pulses(
    fil: Path, tmp_path: Path, run_here: RunHere
) -> None:
    path = triggers(tmp_path, AMBER.replace(" 300.0 ", " 1e9 "))
    ended = run_here(fil, path, "--output", tmp_path / "out")
    assert ended.returncode == 1
    assert "no line is usable:\n" in ended.stderr
    assert f"{path}: line 2 " in ended.stderr


def test_an_output_that_can_be_no_directory_is_named(fil: Path, run_here: RunHere) -> None:
    for place in (str(fil), f"{fil}/below", "/proc/darc"):
        ended = run_here(fil, "--output", place)
        assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
        assert ended.stderr.startswith(f"--output {place}: no directory can be made there: ")


# -- files and formats -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nbits", "ascending", "text"),
    [(8, False, AMBER), (32, False, HEIMDALL), (32, True, DARC)],
)
def test_a_file_and_its_triggers_become_a_page(tmp_path, nbits, ascending, text, run_here):
    header = replace(HEADER, nbits=nbits, src_raj=53431.9, src_dej=220052.0, source_name="a/b <c>")
    if ascending:
        header = replace(header, fch1=header.f_lowest, foff=-header.foff)
    out = tmp_path / "out"
    done = run_here(write(tmp_path / "x.fil", header), triggers(tmp_path, text), "--output", out)
    assert done.returncode == 0, done.stderr
    assert "raw 1, clusters 1, strong enough 1, candidates 1" in done.stdout
    (row,) = read_triggers(out / "CB00_triggers.txt")
    assert row.dm == 300.0
    assert abs(row.time - 3.0) < 0.02
    (file,) = (out / "data").glob("*.hdf5")
    assert 15 < read_candidate(file).measured.snr < 35
    site = out / "site"
    assert done.stdout.splitlines()[-1] == str(site / "index.html")
    (page,) = site.glob("*/*/index.html")
    shown = page.read_text()
    assert "a/b &lt;c&gt;" in shown
    (picture,) = page.parent.glob("pictures/*.png")
    assert f'src="pictures/{picture.name}"' in shown
    # The Milky Way's DM in that direction, by YMW16; so the border is that of what is beyond.
    assert "beyond" in shown
    summary = yaml.safe_load((out / "CB00_summary.yaml").read_text())
    assert list(summary.values()) == [1, 1, 1, 1]
    assert (out / "CB00.pdf").stat().st_size > 5000
    # There is one copy of each picture and candidate, and the page leads to all of them.
    files = [path for path in out.rglob("*") if path.is_file() and path.stat().st_size]
    wanted = {path.resolve() for path in files if path.suffix in (".hdf5", ".png", ".pdf")}
    assert sorted(path.suffix for path in wanted) == [".hdf5", ".pdf", ".png"]
    links = set(re.findall(r'(?:href|src)="([^"#]+)"', shown))
    there = {(page.parent / unquote(link)).resolve() for link in links}
    assert all(path.exists() for path in there), there
    assert wanted <= there


@pytest.mark.parametrize("kind", ["amber", "presto"])
def test_several_trigger_files_are_one_search(tmp_path, kind, run_here):
    """AMBER writes one for each step of integration; a pulse in two of them is one."""
    upwards = replace(HEADER, fch1=HEADER.f_lowest, foff=-HEADER.foff)
    fil = write(tmp_path / "x.fil", upwards if kind == "presto" else HEADER)
    header, line = (AMBER if kind == "amber" else PRESTO).splitlines()
    weaker = line.replace(" 30.0", " 21.0").replace(" 30.00", " 21.00")
    paths = []
    for number, lines in enumerate((line, weaker)):
        paths.append(tmp_path / f"CB03_step{number + 1}.trigger")
        paths[-1].write_text(f"{header}\n{lines}\n")
    done = run_here(fil, "--output", tmp_path / "out", *paths)
    assert done.returncode == 0, done.stderr
    assert "raw 2, clusters 1, strong enough 1, candidates 1" in done.stdout
    other = triggers(tmp_path, DARC if kind == "amber" else AMBER)
    done = run_here(fil, *paths, other, "--output", tmp_path / "other")
    assert done.returncode == 1
    assert "one kind at a time" in done.stderr


def test_candidates_are_matched_with_known_sources(tmp_path, run_here):
    path = write(tmp_path / "a.fil", replace(HEADER, src_raj=123456.0, src_dej=220052.0))
    sources, broken = tmp_path / "ours.yaml", tmp_path / "broken.yaml"
    sources.write_text("frbs: {R9: 300.3}\npositions: {R9: [188.7, 22.1]}\n")
    broken.write_text("frbs: 3\n")
    config = tmp_path / "config.yaml"
    config.write_text(
        yaml.safe_dump({"amber_clustering": {"match_files": [str(broken), str(sources)]}})
    )
    words = path, triggers(tmp_path, DARC), "--output", tmp_path / "out", "--config", config
    ended = run_here(*words)
    (page,) = (tmp_path / "out" / "site").glob("*/*/index.html")
    assert "R9" in page.read_text()
    assert "in a beam of 0.50 deg" in ended.stdout + ended.stderr
    # What is broken is said, as else that fails though the rest is done.
    assert f"not matched with all known sources: {broken}:1: frbs" in ended.stderr
    assert ended.returncode == 1


def test_on_a_terminal_it_shows_how_far_the_drawing_is(tmp_path, fil):
    rows = "".join(f"30.00 {dm} {t} 4 3\n" for dm, t in ((300, 3.0), (310, 3.1), (250, 2.0)))
    path = triggers(tmp_path, DARC.splitlines()[0] + "\n" + rows)
    config = tmp_path / "c.yaml"
    config.write_text(
        "processor: {classifier: {thresh_freqtime: 0.0}, extractor: {snr_min_local: 0.0,"
        " snr_dm0_filter: false},"
        " visualizer: {nplot_per_side: 1}}\n"
    )
    ours, its = pty.openpty()
    words = [*COMMAND, str(fil), str(path), "--output", str(tmp_path / "out"), "--jobs", "1"]
    with subprocess.Popen(
        [*words, "--config", str(config)], stderr=its, stdout=subprocess.PIPE
    ) as process:
        os.close(its)
        said = b""
        with suppress(OSError):  # its end
            while part := os.read(ours, 65536):
                said += part
        assert process.wait(timeout=patience(100)) == 0, said
    os.close(ours)
    counts = re.findall(rb"drawing .*?(\d+)/(\d+)", said)
    assert len({done for done, _ in counts}) > 1, counts  # not at its end alone
    assert len({total for _, total in counts}) == 1


def test_without_triggers_the_file_is_searched(tmp_path, fil, run_here):
    mask = tmp_path / "mask.conf"
    mask.write_text("0 1\n2\n")
    done = run_here(fil, "--output", tmp_path / "out", "--dm-max", 400, "--mask", mask)
    assert done.returncode == 0, done.stderr
    rows = read_triggers(tmp_path / "out" / "CB00_triggers.txt")
    assert any(abs(row.time - 3.0) < 0.02 and abs(row.dm - 300) < 10 for row in rows)
    # Not a terminal: lines, and no bar.
    assert done.stderr.count("\n") == 3
    assert "topocentric; widths: samples of " in done.stderr, "what times refer to"
    assert "\x1b" not in done.stderr


def test_of_an_earlier_run_all_goes_that_the_page_would_show(tmp_path):
    page = tmp_path / "site" / "20260102" / "2026-01-02-03:04:05.x"
    shown = [page / "index.html", page / "files" / "CB00.pdf", page / "pictures" / "CB00_TOA1_SNR9"]
    ours = [*shown, tmp_path / "CB00.pdf", tmp_path / "data" / "TOA1_SNR9.hdf5"]
    theirs = [tmp_path / "notes.txt", page / "files" / "notes.txt"]
    for path in (*ours, *theirs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert sorted(files_of_before(tmp_path)) == sorted(ours)


def test_the_real_crab(shared_data, tmp_path, run_here):
    """Its brightest pulse here is in a third of the band alone, which the classifier dislikes."""
    path = shared_data / "filterbank" / "parkes_8bit_1.fil"
    config = tmp_path / "c.yaml"
    config.write_text("processor: {classifier: {thresh_freqtime: 0.0}}\n")
    text = "# DM Sigma Time (s) Sample Downfact\n56.77 12.0 1.792 3500 2\n"
    out = tmp_path / "out"
    done = run_here(path, triggers(tmp_path, text), "--output", out, "--config", config)
    assert done.returncode == 0, done.stderr
    (row,) = read_triggers(out / "CB00_triggers.txt")
    assert abs(row.time - 1.792) < 0.01
    (page,) = (out / "site").glob("*/*/index.html")
    assert "J0534+2200" in page.read_text()


# -- what is wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "a file.fil"),
        (b"no filterbank" * 100, "a file.fil"),
        (b"cut", "a file.fil"),
        (b"nothing behind", "no samples"),
    ],
)
def test_a_file_that_is_none(fil, tmp_path, content, what, run_here):
    good = fil.read_bytes()
    content = {b"cut": good[:60], b"nothing behind": good[:-384_000]}.get(content, content)
    fil.write_bytes(content)
    done = run_here(fil, "--output", tmp_path / "out")
    assert (done.returncode, done.stdout) == (1, "")
    assert what in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_lines_are_told_and_the_rest_is_used(tmp_path, fil, run_here):
    """One of them lies behind the file's end."""
    bad = "nan 300 3.0 4 0\n30 -5 3.0 4 0\n30 300 999 4 0\n"
    done = run_here(fil, triggers(tmp_path, DARC + bad), "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "triggers.txt:3: snr: 'nan' is not a number" in done.stderr
    assert "triggers.txt:4: dm: '-5'; allowed: 0 to 100000" in done.stderr
    assert "candidates 1 (1 not in data)" in done.stdout


def test_wrong_words_and_files(tmp_path, fil, run_here):
    out = ("--output", tmp_path / "out")
    assert run_here(fil, "--dm-min", "-3", *out).returncode == 2
    mask = tmp_path / "mask.conf"
    mask.write_text(f"3\n{N_CHANNELS}\n")
    for words, what in (
        (("--mask", mask), f"mask.conf:2: there is no channel {N_CHANNELS}"),
        ((triggers(tmp_path, "a b c\n1 2 3\n"),), "triggers.txt:1: 'a b c'"),
        (("--dm-min", 50, "--dm-max", 40), "empty DM range: 50 to 40"),
    ):
        done = run_here(fil, *words, *out)
        assert done.returncode == 1
        assert what in done.stderr
        assert "Traceback" not in done.stderr


def test_a_directory_of_others_is_left_alone(tmp_path, fil, run_here):
    theirs = tmp_path / "theirs"
    (theirs / "data").mkdir(parents=True)
    (theirs / "data" / "TOA_SNR.hdf5").write_text("precious")
    done = run_here(fil, triggers(tmp_path, DARC), "--output", theirs)
    assert done.returncode == 1
    assert "not empty" in done.stderr
    assert [path.name for path in theirs.iterdir()] == ["data"]
    done = run_here(fil, triggers(tmp_path, DARC), "--output", theirs, "--force")
    assert done.returncode == 0, done.stderr
    assert (theirs / "data" / "TOA_SNR.hdf5").read_text() == "precious"


def test_where_nothing_was_begun_nothing_is_removed(tmp_path, fil, run_here):
    theirs = tmp_path / "theirs" / ".TOA_SNR.hdf5.new"
    theirs.parent.mkdir()
    theirs.write_text("precious")
    for words in (("--output", theirs.parent), ("--mask", "nowhere", "--output", theirs.parent)):
        assert run_here(fil, *words).returncode == 1
        assert theirs.read_text() == "precious"


def test_two_at_once_in_one_directory(tmp_path, fil, run_here):
    """The second says so, and takes nothing of the first; after it, the directory is free."""
    table, out = triggers(tmp_path, DARC), tmp_path / "out"
    with subprocess.Popen([*COMMAND, fil, table, "--output", out], stderr=subprocess.PIPE) as first:
        wait_for((out / "darc_process.log").exists, 60.0)
        second = run_here(fil, table, "--output", out)
        assert second.returncode == 1
        assert f"{out}: another darc_process is at work there; " in second.stderr
        first.communicate(timeout=patience(100))
        assert first.returncode == 0
    assert list(out.glob("data/*.hdf5"))
    assert run_here(fil, table, "--output", out).returncode == 0


def test_a_disk_that_is_full(tmp_path, fil):
    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))

    out = tmp_path / "out"
    done = run(fil, triggers(tmp_path, DARC), "--output", out, preexec_fn=full)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (out / "CB00_summary.yaml").exists()
    assert not list(out.rglob(".*.new"))


def test_ctrl_c_leaves_no_process_and_no_half_file(tmp_path, fil):
    lines = [f"20.00 300.00 {n / 50 + 1:.3f} 4 0" for n in range(200)]
    path = triggers(tmp_path, DARC + "\n".join(lines) + "\n")
    config = tmp_path / "c.yaml"
    config.write_text("processor: {clustering: {clustering_window: 0.01}}\n")
    out = tmp_path / "out"
    words = [*COMMAND, fil, path, "--output", out, "--config", config, "--jobs", "2"]
    with subprocess.Popen(
        list(map(str, words)), stderr=subprocess.PIPE, text=True, process_group=0
    ) as command:
        deadline = time.monotonic() + patience(100)
        while not list(out.glob("data/*.hdf5")):
            assert command.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        children = psutil.Process(command.pid).children(recursive=True)
        assert children
        # As a terminal does: to all of them.
        os.killpg(command.pid, signal.SIGINT)
        _, said = command.communicate(timeout=patience(60))
    assert command.returncode == 130
    assert said.splitlines()[-1].startswith("interrupted: ")
    assert "Traceback" not in said
    assert not any(child.is_running() for child in children)
    assert not list(out.rglob(".*.new"))
    for file in (out / "data").glob("*.hdf5"):
        read_candidate(file)
    assert not (out / "CB00_summary.yaml").exists()


# -- parts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [DARC, PRESTO, HEIMDALL])
def test_tables_say_the_same(tmp_path, text):
    path = triggers(tmp_path, text)
    assert not is_amber(path)
    (one,) = read_table(path, 1e-3).candidates
    assert (one["downsampling"], one["time"], one["dm"], one["snr"]) == (4, 3.0, 300.0, 30.0)


@pytest.mark.parametrize("text", [AMBER, DARC, PRESTO, HEIMDALL])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_table_is_one_without_its_last_line_break_and_behind_a_mark(tmp_path, text, mark):
    """The rule of a file that grows is not that of one that is finished."""
    path = triggers(tmp_path, mark + text.rstrip("\n"))
    if text is AMBER:
        assert is_amber(path)
        boxes = ClusterBoxes(0.5, 10_000.0, 100.0, Scales(1e-3, 1e-3))
        job = ReadingTask("x", (path,), 1.024, 1e-3, settings(), None, boxes)
        assert read_and_cluster(job).n_candidates == 1
    else:
        assert len(read_table(path, 1e-3).candidates) == 1


AMBER_LINE = "0 2 238 8 2 3.0 600 100.0 10 30.0\n"


@pytest.mark.parametrize(
    "text",
    [
        AMBER_LINE,
        "9 5 3 8 2 3 600 4 10 30\n",  # whole numbers throughout
        "30.0\t3000\t3.000\t25\t120\t300.0\t15\t2998\t3004\n",  # no such width
        "30.0\t3000\t3.000\t2\t120\t300.0\t15\t3001\t3004\n",  # a peak outside of its pulse
        "30.0\t3000\t9.000\t2\t120\t300.0\t15\t2998\t3004\n",  # another sampling time
        "-3.0\t3000\t3.000\t2\t120\t300.0\t15\t2998\t3004\n",
    ],
)
def test_what_only_looks_like_heimdalls_is_refused(tmp_path, text):
    with pytest.raises(TriggerTableError, match=r"triggers\.txt:1: .* not a header of triggers"):
        read_table(triggers(tmp_path, text), 1e-3)


def test_a_width_that_is_written_as_a_float(tmp_path):
    path = triggers(tmp_path, DARC.replace(" 4 ", " 4.0 "))
    assert read_table(path, 1e-3).candidates["downsampling"] == 4
    with pytest.raises(TriggerTableError, match=r"downsamp: '4\.5' is not a whole number"):
        read_table(triggers(tmp_path, DARC.replace(" 4 ", " 4.5 ")), 1e-3)


@pytest.mark.parametrize(
    ("pack", "what"),
    [(gzip.compress, "gunzip it first"), (bz2.compress, "bunzip2 it first")],
)
def test_what_is_compressed_is_named(tmp_path, fil, pack, what, run_here):
    path = tmp_path / "packed"
    for content, words in ((PRESTO.encode(), (fil, path)), (fil.read_bytes(), (path,))):
        path.write_bytes(pack(content))
        done = run_here(*words, "--output", tmp_path / "out")
        assert done.returncode == 1
        assert what in done.stderr
        assert "\ufffd" not in done.stderr


def test_nothing_to_search_is_an_error(tmp_path, fil, run_here):
    mask = tmp_path / "mask"
    mask.write_text(" ".join(map(str, range(N_CHANNELS))))
    done = run_here(fil, "--mask", mask, "--output", tmp_path / "out")
    assert done.returncode == 1
    assert f"{mask}: no channel is left: all are masked" in done.stderr


def test_results_of_one_file_are_not_removed_for_another(tmp_path, run_here):
    table = triggers(tmp_path, PRESTO)
    for day in ("day1", "day2"):
        (tmp_path / day).mkdir()
        write(tmp_path / day / "beam00.fil")
    first = run("day1/beam00.fil", table, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    second = run_here("day2/beam00.fil", table, cwd=tmp_path)
    assert second.returncode == 1
    assert f"holds what came of {tmp_path}/day1/beam00.fil" in second.stderr
    assert list((tmp_path / "beam00_darc" / "data").glob("*.hdf5"))
    # The same file again, from somewhere else, is none of that; what was before is gone.
    other = triggers(tmp_path, DARC.replace(" 3.000 ", " 3.001 "))
    (before,) = (tmp_path / "beam00_darc" / "data").glob("*.hdf5")
    inode = before.stat().st_ino
    again = run("../beam00.fil", other, "--output", "../../beam00_darc", cwd=_inside(tmp_path))
    assert again.returncode == 0, again.stderr
    (after,) = (tmp_path / "beam00_darc" / "data").glob("*.hdf5")
    assert after.stat().st_ino != inode


def _inside(tmp_path: Path) -> Path:
    place = tmp_path / "day1" / "inside"
    place.mkdir()
    return place


def test_a_file_whose_name_is_no_text(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff\xe9.fil"))
    write(path)
    table = triggers(tmp_path, PRESTO)
    done = subprocess.run([*COMMAND, path, table], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "b___darc" / "data").glob("*.hdf5"))
    assert b"Traceback" not in done.stderr


def test_a_users_style_changes_nothing(tmp_path, fil, run_here):
    table = triggers(tmp_path, PRESTO)
    style = tmp_path / "matplotlibrc"
    style.write_text("text.usetex: True\nfigure.facecolor: black\n")
    environment = {
        **os.environ,
        "MATPLOTLIBRC": str(style),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    pictures = []
    for number, done in enumerate(
        (
            run_here(fil, table, "--output", tmp_path / "out0"),
            run(fil, table, "--output", tmp_path / "out1", env=environment),
        )
    ):
        assert done.returncode == 0, done.stderr
        (picture,) = (tmp_path / f"out{number}").rglob("*.png")
        pictures.append(picture.read_bytes())
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"refdm": 100.0}, "refdm: 100: taken for a remark"),
        ({"nsamples": 100}, "nsamples: 100, and 6000 are there: all are used"),
        ({"nsamples": 9000}, "6000 samples are there of 9000: it is cut short"),
        ({"tsamp": 1000.0}, "long for a sample"),
        ({"fch1": 1.5, "foff": -0.001}, "no band of a radio telescope"),
        ({"tstart": 17_000.0}, "is wanted as MJD"),
        ({"barycentric": 1}, "those at the barycentre"),
        ({}, None),
    ],
)
def test_header_values_that_do_not_belong_together_are_told(changes, what):
    header = replace(HEADER, **({"tstart": 60_000.0} | changes))
    told = oddities(header, 6000)
    assert [what in one for one in told] == [True] if what else told == []


@given(
    text=st.text(
        alphabet="0123456789.-+e# \tnaDMSigmaTimeDownfactsnrdmtimedownsamp\n", max_size=200
    )
)
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = triggers(tmp_path_factory.getbasetemp(), DARC + text)
    with suppress(TriggerTableError):
        found = read_table(path, 1e-3).candidates
        assert np.isfinite(found["snr"]).all()
        assert (found["dm"] >= 0).all()


@pytest.mark.parametrize(
    ("ra", "dec", "place"),
    [
        (53431.9, 220052.0, (83.6329, 22.0144)),
        (53431.9, -3052.0, (83.6329, -0.5144)),
        (0.0, 0.0, None),
        (53499.9, 220052.0, None),
        (250000.0, 0.0, None),
        (None, 5.0, None),
        (83.633, 22.0145, None),  # degrees
        (53.43, 22.0145, None),
    ],
)
def test_where_a_header_points(ra, dec, place):
    found = header_pointing(replace(HEADER, src_raj=ra, src_dej=dec))
    if place is None:
        assert found is None
    else:
        assert (found.longitude_deg, found.latitude_deg) == pytest.approx(place, abs=1e-4)


def test_trials_are_as_close_as_samples_ask_for():
    band = Band(HEADER.f_lowest, HEADER.channel_width, HEADER.nchans)
    stages = dm_stages(band, HEADER.tsamp, 0.0, 3000.0)
    assert [stage.factor for stage in stages] == [1, 2, 4, 8, 16]
    dms = np.concatenate([stage.dms for stage in stages])
    samples_long = np.concatenate([[stage.factor] * len(stage.dms) for stage in stages])
    assert dms[0] == 0
    assert (np.diff(dms) > 0).all()
    across = np.diff(dms) * float(band.delays([1.0]).max())
    smearing = np.array([band.smearing(dm) for dm in dms])
    assert (samples_long[1:] * HEADER.tsamp <= np.maximum(smearing[1:] / 2, HEADER.tsamp)).all()
    assert (across <= 1.01 * np.hypot(samples_long * HEADER.tsamp, smearing)[:-1]).all()
    with pytest.raises(ValueError, match="trial DMs"):
        dm_stages(Band(1200.0, 1e-4, 3_000_000), 1e-6, 0.0, 3000.0)


def test_the_example_of_the_docs_is_what_the_sample_gives(tmp_path: Path) -> None:
    docs = Path(__file__).resolve().parents[2] / "docs" / "processing.md"
    block = docs.read_text(encoding="utf-8").partition("$ darc_process sample.fil sample.trigger\n")
    told = block[2].partition("\n\n")[0].split("\n")
    there = packaged("conf/samples")
    output = tmp_path / "sample_darc"
    result = run(there / "sample.fil", there / "sample.trigger", "--output", output)
    assert result.returncode == 0, result.stderr
    lines = [line.strip() for line in result.stdout.splitlines()]
    timeless = [re.sub(r"; [0-9.]+ s$", "", line.strip()) for line in told]
    assert re.sub(r"; [0-9.]+ s$", "", lines[0]) == timeless[0]
    assert timeless[1].endswith("/sample_darc/site/index.html")
    assert lines[1] == f"{output}/site/index.html"
