"""Files of a sequence that are of an observation, among those of others in one directory."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from darc.data_files.data_source import paths_of, source_of
from darc.data_files.files_of_observation import of_observation
from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.filterbank_writer import FilterbankWriter
from darc.model.arrival import mjd_of, unix_of

START = unix_of(59000.0)
HEADER = FilterbankHeader(
    nchans=4, nbits=8, tsamp=0.1, fch1=1500.0, foff=-1.0, tstart=59000.0, source_name="A"
)


def write(
    directory: Path, name: str, begin: float, seconds: float = 10.0, source: str = "A"
) -> Path:
    """Write a file whose data begin at a time since the observation's start."""
    path = directory / name
    header = replace(HEADER, tstart=mjd_of(START + begin), source_name=source)
    with FilterbankWriter(path, header) as file:
        file.append(np.ones((round(seconds / HEADER.tsamp), 4), np.uint8))
    return path


def kept(*paths: Path) -> list[str]:
    return [path.name for path in paths_of(of_observation(source_of(paths), START, START + 30))]


def test_files_of_others_are_left_out(tmp_path: Path) -> None:
    yesterday = write(tmp_path, "0.fil", -86400.0)
    before = write(tmp_path, "1.fil", -10.0)
    own = [write(tmp_path, f"{2 + n}.fil", 10.0 * n) for n in range(3)]
    next_one = write(tmp_path, "5.fil", 45.0)
    assert kept(yesterday, before, *own, next_one) == ["2.fil", "3.fil", "4.fil"]


def test_one_that_goes_on_is_kept_and_the_next_observation_is_not(tmp_path: Path) -> None:
    own = write(tmp_path, "1.fil", -5.0, 36.0)  # it began before the observation
    more = write(tmp_path, "2.fil", 31.0, 4.0)
    other = write(tmp_path, "3.fil", 35.5, source="B")
    assert kept(own, more, other) == ["1.fil", "2.fil"]


def test_what_was_written_before_is_left_out_whatever_it_is(tmp_path: Path) -> None:
    old = tmp_path / "0.fil"
    old.write_bytes(b"no header")
    os.utime(old, (START - 1000, START - 1000))
    own = write(tmp_path, "1.fil", 0.0), write(tmp_path, "2.fil", 10.0)
    assert kept(old, *own) == ["1.fil", "2.fil"]
    begun = tmp_path / "3.fil"
    begun.touch()  # without a header yet: its reader knows what to make of it
    assert kept(*own, begun) == ["1.fil", "2.fil", "3.fil"]


@pytest.mark.parametrize("begin", [-86400.0, 86400.0])
def test_where_nothing_would_be_left_everything_is(tmp_path: Path, begin: float) -> None:
    """A header's date may be wrong: the reader names it."""
    paths = [write(tmp_path, f"{n}.fil", begin + 10.0 * n) for n in range(2)]
    assert kept(*paths) == ["0.fil", "1.fil"]


def test_a_file_that_grows_is_looked_at_again(tmp_path: Path) -> None:
    path, other = write(tmp_path, "1.fil", -10.0, 9.0), write(tmp_path, "2.fil", 5.0)
    assert kept(path, other) == ["2.fil"]
    path.unlink()
    write(tmp_path, "1.fil", -10.0, 15.0)
    assert kept(path, other) == ["1.fil", "2.fil"]
