"""`darc_process` as people run it: a file, its triggers, and a page; and everything wrong."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from beams import HEADER, N_CHANNELS, burst, samples
from hypothesis import given
from hypothesis import strategies as st

from darc.filterbank.writer import FilterbankWriter
from darc.model.filterbank_header import FilterbankHeader
from darc.processing.file_observation import header_pointing
from darc.processing.trigger_tables import TriggerTableError, is_amber, read_table
from darc.results.candidate_file import read_candidate
from darc.results.lists import read_triggers
from darc.science.dedispersion import Band
from darc.science.single_pulse import dm_stages
from darc.scripts.process import _of_before

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


# -- files and formats -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nbits", "ascending", "text"),
    [(8, False, AMBER), (8, True, PRESTO), (32, False, HEIMDALL), (32, True, DARC)],
)
def test_a_file_and_its_triggers_become_a_page(tmp_path, nbits, ascending, text):
    header = replace(HEADER, nbits=nbits, src_raj=53431.9, src_dej=220052.0, source_name="a/b <c>")
    if ascending:
        header = replace(header, fch1=header.f_lowest, foff=-header.foff)
    out = tmp_path / "out"
    done = run(write(tmp_path / "x.fil", header), triggers(tmp_path, text), "--output", out)
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


def test_without_triggers_the_file_is_searched(tmp_path, fil):
    mask = tmp_path / "mask.conf"
    mask.write_text("0 1\n2\n")
    words = ("--dm-max", 400, "--mask", mask, "--jobs", 2)
    done = run(fil, "--output", tmp_path / "out", *words)
    assert done.returncode == 0, done.stderr
    rows = read_triggers(tmp_path / "out" / "CB00_triggers.txt")
    assert any(abs(row.time - 3.0) < 0.02 and abs(row.dm - 300) < 10 for row in rows)
    # Not a terminal: lines, and no bar.
    assert done.stderr.count("\n") == 2
    assert "\x1b" not in done.stderr
    again = run(fil, triggers(tmp_path, DARC), "--output", tmp_path / "out")
    assert again.returncode == 0, again.stderr
    assert len(list((tmp_path / "out" / "data").glob("*.hdf5"))) == 1, "what was before is gone"


def test_of_an_earlier_run_all_goes_that_the_page_would_show(tmp_path):
    page = tmp_path / "site" / "20260102" / "2026-01-02-03:04:05.x"
    shown = [page / "index.html", page / "files" / "CB00.pdf", page / "pictures" / "CB00_TOA1_SNR9"]
    ours = [*shown, tmp_path / "CB00.pdf", tmp_path / "data" / "TOA1_SNR9.hdf5"]
    theirs = [tmp_path / "notes.txt", page / "files" / "notes.txt"]
    for path in (*ours, *theirs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert sorted(_of_before(tmp_path)) == sorted(ours)


def test_the_real_crab(shared_data, tmp_path):
    """Its brightest pulse here is in a third of the band alone, which the classifier dislikes."""
    path = shared_data / "filterbank" / "parkes_8bit_1.fil"
    config = tmp_path / "c.yaml"
    config.write_text("processor: {classifier: {thresh_freqtime: 0.0}}\n")
    text = "# DM Sigma Time (s) Sample Downfact\n56.77 12.0 1.792 3500 2\n"
    out = tmp_path / "out"
    done = run(path, triggers(tmp_path, text), "--output", out, "--config", config)
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
def test_a_file_that_is_none(fil, tmp_path, content, what):
    good = fil.read_bytes()
    content = {b"cut": good[:60], b"nothing behind": good[:-384_000]}.get(content, content)
    fil.write_bytes(content)
    done = run(fil, "--output", tmp_path / "out")
    assert (done.returncode, done.stdout) == (1, "")
    assert what in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_lines_are_told_and_the_rest_is_used(tmp_path, fil):
    """One of them lies behind the file's end."""
    bad = "nan 300 3.0 4 0\n30 -5 3.0 4 0\n30 300 999 4 0\n"
    done = run(fil, triggers(tmp_path, DARC + bad), "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "triggers.txt:3: SNR: 'nan' is not a number" in done.stderr
    assert "triggers.txt:4: DM: '-5'; allowed: 0 to 100000" in done.stderr
    assert "candidates 1 (1 not in data)" in done.stdout


def test_wrong_words_and_files(tmp_path, fil):
    out = ("--output", tmp_path / "out")
    assert run(fil, "--dm-min", "-3", *out).returncode == 2
    mask = tmp_path / "mask.conf"
    mask.write_text(f"3\n{N_CHANNELS}\n")
    for words, what in (
        (("--mask", mask), f"mask.conf:2: there is no channel {N_CHANNELS}"),
        ((triggers(tmp_path, "a b c\n1 2 3\n"),), "triggers.txt:1: 'a b c'"),
        (("--dm-min", 50, "--dm-max", 40), "no DM from 50 to 40"),
    ):
        done = run(fil, *words, *out)
        assert done.returncode == 1
        assert what in done.stderr
        assert "Traceback" not in done.stderr


def test_a_directory_of_others_is_left_alone(tmp_path, fil):
    theirs = tmp_path / "theirs"
    (theirs / "data").mkdir(parents=True)
    (theirs / "data" / "TOA_SNR.hdf5").write_text("precious")
    done = run(fil, triggers(tmp_path, DARC), "--output", theirs)
    assert done.returncode == 1
    assert "not empty" in done.stderr
    assert [path.name for path in theirs.iterdir()] == ["data"]
    done = run(fil, triggers(tmp_path, DARC), "--output", theirs, "--force")
    assert done.returncode == 0, done.stderr
    assert (theirs / "data" / "TOA_SNR.hdf5").read_text() == "precious"


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
        deadline = time.monotonic() + 100
        while not list(out.glob("data/*.hdf5")):
            assert command.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        children = psutil.Process(command.pid).children(recursive=True)
        assert children
        # As a terminal does: to all of them.
        os.killpg(command.pid, signal.SIGINT)
        _, said = command.communicate(timeout=60)
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
    (one,) = read_table(path).candidates
    assert (one["downsampling"], one["time"], one["dm"], one["snr"]) == (4, 3.0, 300.0, 30.0)


@given(
    text=st.text(
        alphabet="0123456789.-+e# \tnaDMSigmaTimeDownfactsnrdmtimedownsamp\n", max_size=200
    )
)
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = triggers(tmp_path_factory.getbasetemp(), DARC + text)
    with suppress(TriggerTableError):
        found = read_table(path).candidates
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
