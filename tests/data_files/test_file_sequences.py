"""Files of one observation in sequence: read as one, whatever is missing, and found by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from psrfits_files import data_begin, write_psrfits

from darc.data_files.data_file_error import DataFileError, IncompleteFileError
from darc.data_files.data_source import PathSequence, paths_of, source_of
from darc.data_files.filterbank_header import FilterbankHeader
from darc.data_files.filterbank_paths import data_sources
from darc.data_files.filterbank_writer import FilterbankWriter
from darc.data_files.find_sequence import find_continuations
from darc.data_files.open_data_file import open_data_file

N_CHANNELS, PER_ROW = 16, 40
RAW = np.random.default_rng(1).integers(0, 256, (12, PER_ROW, 1, N_CHANNELS))
ALL = RAW.reshape(-1, N_CHANNELS)
HEADER = FilterbankHeader(
    nchans=N_CHANNELS, nbits=8, tsamp=1e-3, fch1=1500.0, foff=-1.0, tstart=58543.25
)


def written(directory: Path, rows: list[range], **keys: object) -> list[Path]:
    """Files of PSRFITS with these rows of one observation."""
    return [
        write_psrfits(
            directory / f"a_{number:04d}.sf",
            RAW[some.start : some.stop],
            subint={"NSUBOFFS": some.start},
            **keys,
        )
        for number, some in enumerate(rows, start=1)
    ]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_files_in_sequence_are_one(tmp_path, order):
    paths = written(tmp_path, [range(0, 5), range(5, 6), range(6, 12)])
    with open_data_file(PathSequence(tuple(paths[number] for number in order))) as file:
        assert paths_of(file.source) == tuple(paths)
        assert file.n_samples() == len(ALL)
        assert file.dtype == np.uint8
        assert file.remarks() == []
        assert file.header.arrival_reference.start == pytest.approx(1551426943.3605, abs=1e-6)
        assert (file.read(0, len(ALL)) == ALL).all()
        assert (file.read(190, 60, channels=(3, 7)) == ALL[190:250, 3:7]).all()
        assert (file.read(201, 5) == ALL[201:206]).all()
        with pytest.raises(DataFileError, match="no 481 samples from sample 0; there are 480"):
            file.read(0, 481)


@given(start=st.integers(0, 479), count=st.integers(1, 480))
def test_a_file_that_is_missing_is_zeros_and_told(tmp_path_factory, start, count):
    directory = tmp_path_factory.getbasetemp() / "missing"
    directory.mkdir(exist_ok=True)
    paths = [directory / f"a_{number:04d}.sf" for number in (1, 2)]
    if not paths[1].exists():
        written(directory, [range(0, 4), range(6, 12)])
    expected = ALL.copy()
    expected[4 * PER_ROW : 6 * PER_ROW] = 0
    with open_data_file(source_of(paths)) as file:
        count = min(count, 480 - start)
        assert (file.read(start, count) == expected[start : start + count]).all()
        assert file.remarks() == [
            "80 samples (0.08 s) are missing between a_0001.sf and a_0002.sf: zeros stand for them"
        ]


def test_the_last_one_grows(tmp_path):
    paths = written(tmp_path, [range(0, 4), range(4, 12)])
    begin, row = data_begin(paths[1])
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[: begin + 2 * row])
    with open_data_file(source_of(paths)) as file:
        assert file.n_samples() == 6 * PER_ROW
        paths[1].write_bytes(content)
        assert file.n_samples() == len(ALL)
        assert (file.read(0, len(ALL)) == ALL).all()


@pytest.mark.parametrize("there", [0, 100, 4000])
def test_one_that_has_just_been_begun_is_left_out(tmp_path, there):
    paths = written(tmp_path, [range(0, 4), range(4, 8), range(8, 12)])
    content = paths[2].read_bytes()
    paths[2].write_bytes(content[:there])
    with open_data_file(source_of(paths)) as file:
        assert (file.read(0, file.n_samples()) == ALL[: 8 * PER_ROW]).all()
        assert paths_of(file.source) == tuple(paths[:2])
        assert file.remarks() == ["a_0003.sf has no complete header: left out"]
    with open_data_file(source_of([paths[0], paths[2]])) as file:
        assert file.n_samples() == 4 * PER_ROW
    paths[1].write_bytes(b"")
    with open_data_file(source_of(paths)) as file:
        assert file.n_samples() == 4 * PER_ROW
    paths[2].write_bytes(content)  # no backend leaves one out
    with pytest.raises(IncompleteFileError, match=r"a_0002\.sf"):
        open_data_file(source_of(paths))
    with pytest.raises(IncompleteFileError, match=r"a_0002\.sf"):
        open_data_file(source_of([paths[1], paths[1]]))


def test_the_only_one_that_has_begun_may_have_no_start(tmp_path):
    paths = [tmp_path / "a_1.sf", tmp_path / "a_2.sf"]
    write_psrfits(paths[0], RAW, primary={"STT_IMJD": 0})
    paths[1].touch()
    with open_data_file(source_of(paths)) as file:
        assert file.n_samples() == len(ALL)


def test_one_of_which_is_scaled(tmp_path):
    paths = written(tmp_path, [range(0, 5), range(5, 12)])
    write_psrfits(paths[0], RAW[:5], scales=2.0)
    with open_data_file(source_of(paths)) as file:
        assert file.dtype == np.float32
        for first, count in ((0, 480), (0, 10), (300, 10)):
            factor = np.where(np.arange(first, first + count) < 200, 2.0, 1.0)[:, np.newaxis]
            found = file.read(first, count)
            assert found.dtype == np.float32
            assert (found == ALL[first : first + count] * factor).all()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"subint": {"NSUBOFFS": 3}}, "starts 0.08 s before the end of .*a_0001.sf: the same data"),
        ({"subint": {"NSUBOFFS": 500}}, "starts 19.8 s after the end of .*, more than there is in"),
        ({"subint": {"NSUBOFFS": 5}, "tsamp": 2e-3}, r"tsamp: 0\.002, but 0\.001 in .*a_0001\.sf"),
        ({"subint": {"NSUBOFFS": 5}, "primary": {"SRC_NAME": "other"}}, "source_name: 'other', bu"),
        ({"primary": {"STT_IMJD": 0}}, "when it starts is not known"),
    ],
)
def test_files_that_are_not_of_one_observation_are_named(tmp_path, keys, words):
    first, second = written(tmp_path, [range(0, 5), range(5, 12)])
    write_psrfits(second, RAW[5:], **keys)
    with pytest.raises(DataFileError, match=rf"a_0002\.sf: {words}"):
        open_data_file(source_of([first, second]))


def test_filterbanks_in_sequence(tmp_path):
    paths = [tmp_path / "a1.fil", tmp_path / "a2.fil"]
    for path, part in ((paths[0], ALL[:100]), (paths[1], ALL[100:])):
        late = 0.0 if part is ALL[:100] or len(part) == 100 else 0.1
        with FilterbankWriter(path, replace(HEADER, tstart=58543.25 + late / 86400)) as file:
            file.append(part)
    with open_data_file(source_of(paths)) as file:
        assert (file.read(0, 480) == ALL).all()
    assert find_continuations(paths[0]) == [paths[1]]
    assert find_continuations(paths[1]) == []


# -- found by name ---------------------------------------------------------------------------------


def test_what_continues_a_file_is_found(tmp_path):
    rows = [range(number, number + 1) for number in range(12)]
    paths = written(tmp_path, rows)
    assert find_continuations(paths[0]) == paths[1:]
    assert find_continuations(paths[7]) == paths[8:]
    paths[4].unlink()  # of the same observation are those behind it, too
    assert find_continuations(paths[0]) == [*paths[1:4], *paths[5:]]
    # Another observation, an unfinished file, and others of such names.
    write_psrfits(paths[9], RAW[9:10], primary={"STT_IMJD": 58544})
    assert find_continuations(paths[0]) == [*paths[1:4], *paths[5:9], *paths[10:]]
    (tmp_path / "a_0001.txt").write_text("remarks")
    (tmp_path / "a_0009.sf").write_bytes(b"SIMPLE  =")
    assert find_continuations(paths[0]) == [*paths[1:4], *paths[5:8], *paths[10:]]


def test_files_of_another_beam_continue_none(tmp_path):
    paths = [tmp_path / f"b{beam}_{number}.sf" for beam in (1, 2) for number in (1, 2)]
    for path in paths:
        begin = 6 * (int(path.stem[-1]) - 1)
        write_psrfits(path, RAW[begin : begin + 6], subint={"NSUBOFFS": begin})
    assert find_continuations(paths[0]) == [paths[1]]


def test_a_file_without_a_number_has_none_that_continue_it(tmp_path):
    path = write_psrfits(tmp_path / "a.sf", RAW)
    write_psrfits(tmp_path / "a_0002.sf", RAW)
    assert find_continuations(path) == []


# -- found by the patterns of the configuration ----------------------------------------------------


def test_data_by_patterns(tmp_path):
    patterns = ("CB{cb:02d}.fil", "uwl_b{cb}_*.sf", "{cb:02d}/TAB{tab:02d}_*.dada")
    assert data_sources(tmp_path, 3, 1, patterns) == [tmp_path / "CB03.fil"]
    for number in (10, 9, 1):
        (tmp_path / f"uwl_b3_{number}.sf").touch()
    (tmp_path / "uwl_b31_1.sf").touch()
    several = PathSequence(tuple(tmp_path / f"uwl_b3_{number}.sf" for number in (1, 9, 10)))
    assert data_sources(tmp_path, 3, 1, patterns) == [several]
    (tmp_path / "03").mkdir()
    (tmp_path / "03" / "TAB01_0.dada").touch()
    # Of several TABs, each has its name in that of its files.
    assert data_sources(tmp_path, 3, 2, patterns) == [
        tmp_path / "03" / "TAB00_*.dada",
        tmp_path / "03" / "TAB01_0.dada",
    ]
    (tmp_path / "CB03.fil").touch()
    assert data_sources(tmp_path, 3, 1, patterns) == [tmp_path / "CB03.fil"]
