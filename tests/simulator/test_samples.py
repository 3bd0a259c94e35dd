"""The samples that come with DARC are what our generator makes, and what they say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from nodes import SCRIPTS, patience

from darc.candidates.results.candidate_file import read_candidate
from darc.candidates.results.trigger_lists import read_triggers
from darc.cli.interactive import run_word
from darc.model.parset import parse_parset
from darc.runtime.paths import packaged
from simulator import make_samples as samples
from simulator.demo_candidate import shaded


def test_they_are_made_and_small(tmp_path: Path) -> None:
    samples.write_samples(tmp_path)
    there = packaged("conf/samples")
    names = {samples.FILTERBANK, samples.TRIGGERS, samples.PARSET}
    assert {path.name for path in there.iterdir()} == {path.name for path in tmp_path.iterdir()}
    assert {path.name for path in there.iterdir()} == names
    for name in (samples.TRIGGERS, samples.PARSET):
        assert (there / name).read_text() == (tmp_path / name).read_text()
    text = (there / samples.PARSET).read_text()
    assert parse_parset(text, samples.PARSET).values["taskid"] == "190518009"
    made, kept = ((one / samples.FILTERBANK).stat().st_size for one in (tmp_path, there))
    assert made == kept < 300_000


def test_who_has_darc_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_word("samples", []) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    done = subprocess.run(
        [str(SCRIPTS / "darc_process"), samples.FILTERBANK, samples.TRIGGERS],
        capture_output=True,
        text=True,
        timeout=patience(110),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "raw 2, clusters 1, strong enough 1, candidates 1" in done.stdout
    (row,) = read_triggers(tmp_path / "sample_darc" / "CB00_triggers.txt")
    assert row.dm == samples.DM
    assert abs(row.time - samples.TIME) < 0.01
    (file,) = (tmp_path / "sample_darc" / "data").glob("*.hdf5")
    lines = shaded(read_candidate(file).freq_time[::-1])
    assert {len(line) for line in lines} == {64}
    # The pulse stands upright in the middle.
    middle = [line[32 - 3 : 32 + 4] for line in lines]
    assert sum("█" in part or "▓" in part for part in middle) >= len(lines) // 2
    # What is there is left alone.
    assert run_word("samples", []) == 1
    assert "exists already" in capsys.readouterr().err
